"""Random worlds of events for tests: several sources, few identifiers, so that people meet, part, merge and vanish."""

import random
import zlib
from collections.abc import Sequence

from core.bus import Bus, Message
from core.bus.codec import Origin, encode
from core.bus.topics import PAST
from core.sdk import Maker, Payload, from_ms
from core.store import Store
from schemas.entities import Call, Conversation, Identifier, Party, Person, Rating, Task
from schemas.entities import Message as Said
from schemas.event import Event

START = 1_767_225_600_000  # 2026-01-01
NAMES = ("Dana Reyes", "D. Reyes", "Ben Ode", "Bea Ode", "Noor Haddad", "Max Weber", "")
VENDORS = (Maker("hubspot", 1), Maker("intercom", 1000), Maker("aircall", 1000))


def world(seed: int, *, people: int = 6, steps: int = 40) -> list[Event]:
    """The events of one world in the order in which they happened."""
    chance, twice, said = random.Random(seed), random.Random(seed), random.Random(f"said {seed}")
    events: list[Event] = []
    for step in range(steps):
        maker = chance.choice(VENDORS)
        now = START + step * chance.choice((400, 1_000, 60_000))
        pushed = chance.random() < 0.6
        payload = Payload("test", {}, "acme", pushed, now + 10_000 + chance.randrange(2_000))
        person = f"{maker.vendor}/acme/contact/{chance.randrange(people)}"
        number = person.rpartition("/")[2]
        clock = now if chance.random() < 0.9 else now - 120_000
        match chance.choices(("person", "conversation", "call", "task", "delete", "merge"), (8, 6, 6, 3, 1, 1))[0]:
            case "person":
                shape = _person(chance)
                events.append(maker.upserted(payload, "contact", number, shape, clock=clock))
            case "conversation":
                shape_c = Conversation(
                    subject=f"about {step}",
                    status=chance.choice(("open", "closed")),
                    at=from_ms(START + step),
                    waiting_since=from_ms(now) if chance.random() < 0.5 else None,
                    parties=[Party(role="requester", person=person)],
                )
                events.append(maker.upserted(payload, "conversation", chance.randrange(6), shape_c, clock=clock))
            case "call":
                party = Party(role="caller", identifier=_phone(chance))
                if chance.random() < 0.3:
                    party = Party(role="caller", person=person, identifier=_phone(chance))
                shape_k = Call(
                    status=chance.choice(("ringing", "in_progress", "answered", "missed")),
                    direction="inbound",
                    at=from_ms(START + step),
                    parties=[party],
                )
                events.append(maker.upserted(payload, "call", chance.randrange(6), shape_k, clock=clock, mode="patch"))
            case "task":
                shape_t = Task(title=f"do {step}", state="open", parties=[Party(role="requester", person=person)])
                events.append(maker.upserted(payload, "task", chance.randrange(3), shape_t, clock=clock))
            case "delete":
                kind, shape_d = chance.choice((("contact", Person), ("conversation", Conversation), ("call", Call)))
                final, erased = chance.random() < 0.3, shape_d is Person and chance.random() < 0.2
                events.append(maker.deleted(payload, kind, number, shape_d, clock=clock, final=final, erased=erased))
                if twice.random() < 0.5:  # told once more of the same moment, by another word
                    final, erased = not final, shape_d is Person and twice.random() < 0.5
                    events.append(
                        maker.deleted(payload, kind, number, shape_d, clock=clock, final=final, erased=erased)
                    )
            case "merge":
                into = str((int(number) + 1) % people)
                events.append(maker.merged(payload, "contact", number, Person, into=into, clock=clock))
                if twice.random() < 0.4:  # and the other way round, so that nobody remains
                    events.append(maker.merged(payload, "contact", into, Person, into=number, clock=clock))
        if said.random() < 0.4:
            events.append(_said(said, maker, payload, person, step, clock))
        if said.random() < 0.15:  # some that nobody told of otherwise
            final, erased = said.random() < 0.2, said.random() < 0.2
            gone = said.randrange(8)
            events.append(
                maker.deleted(payload, "conversation", gone, Conversation, clock=clock, final=final, erased=erased)
            )
    return [event.model_copy(update={"connection": "test"}) for event in events]


def _said(said: random.Random, maker: Maker, payload: Payload, person: str, step: int, clock: int) -> Event:
    """A message or rating of a conversation, at times by somebody who appears nowhere else; or its end."""
    number, id = said.randrange(8), said.randrange(3)
    conversation = f"{maker.vendor}/acme/conversation/{number}"
    address = Identifier(kind="email", value=f"only{said.randrange(3)}@example.com", class_="claimed")
    parties = [
        Party(role="requester", person=person) if said.random() < 0.5 else Party(role="requester", identifier=address)
    ]
    at = from_ms(START + step)
    if said.random() < 0.2:
        shape_r = Rating(score=id, subject=conversation, comment=f"rated {step}", at=at, parties=parties)
        return maker.upserted(payload, "rating", number, shape_r, clock=clock)
    if said.random() < 0.1:
        return maker.deleted(payload, "part", f"{number}:{id}", Said, clock=clock)
    shape = Said(conversation=conversation, body=f"said {step}", at=at, parties=parties)
    return maker.upserted(payload, "part", f"{number}:{id}", shape, clock=clock)


def _person(chance: random.Random) -> Person:
    identifiers = []
    if chance.random() < 0.7:
        identifiers.append(Identifier(kind="email", value=f"p{chance.randrange(5)}@example.com", class_="recorded"))
    if chance.random() < 0.6:
        identifiers.append(_phone(chance))
    if chance.random() < 0.3:
        value = str(chance.randrange(3))
        identifiers.append(Identifier(kind="external_id", namespace="customer", value=value, class_="recorded"))
    return Person(role="customer", display_name=chance.choice(NAMES), identifiers=identifiers)


def _phone(chance: random.Random) -> Identifier:
    return Identifier(kind="phone", value=f"+1 202 555 01{chance.randrange(4):02d}", class_="recorded")


async def publish(bus: Bus, events: Sequence[Event], *, fetched: bool = True) -> None:
    """With `fetched` a third of them as a first fetch brings them."""
    await bus.publish([_fetched(event) if fetched and _third(event) else encode(event) for event in events])


def _third(event: Event) -> bool:
    return zlib.crc32(event.id.encode()) % 3 == 0


def _fetched(event: Event) -> Message:
    return encode(event, Origin("backfill"), PAST)


async def records(store: Store) -> dict[str, bytes]:
    """All live records by customer id, without version."""
    found: dict[str, bytes] = {}
    after = 0
    while True:
        _, rows = await store.changes(after, 500)
        if not rows:
            return found
        found.update((row.id, row.record) for row in rows if row.status == "live")
        after = rows[-1].seq
