"""The pinned streams: who exists already, and what happens to them. Pure; a function of the numbers given."""

import random
from collections.abc import Iterator

from core.sdk import Maker, Payload, from_ms
from schemas.entities import Call, Conversation, Identifier, Line, Party, Person, Reference
from schemas.event import Event

START = 1_767_225_600_000
HUBSPOT, INTERCOM, AIRCALL = Maker("hubspot"), Maker("intercom", 1000), Maker("aircall", 1000)
_TEXT = "The parcel is marked as delivered but never arrived; the neighbours have not seen it either. " * 2


def customers(count: int) -> Iterator[Event]:
    """`count` customers as two sources know them: a contact in the CRM, one in the helpdesk, joined by e-mail.

    A second address stands for the phone: of numbers reserved for fiction there are too few.
    """
    for number in range(count):
        payload = Payload("bench", {}, "bench", True, START + number)
        name = f"Customer {number:06d} Example"
        email = Identifier(kind="email", value=f"customer{number}@example.com", class_="recorded", primary=True)
        phone = Identifier(kind="email", value=_phone(number), class_="recorded")
        person = Person(role="customer", display_name=name, identifiers=[email, phone], language="en", country="US")
        yield _of(HUBSPOT.upserted(payload, "contact", number, person, clock=START))
        user = Person(role="customer", display_name=name, identifiers=[email])
        yield _of(INTERCOM.upserted(payload, "contact", number, user, clock=START))


def events(count: int, existing: int, *, skewed: bool, seed: int = 1, received: int = START) -> Iterator[Event]:
    """What happens to them: mostly conversations and calls, of about 600 bytes each.

    Uniform: everybody alike. Skewed, as in life: a fifth of the customers, and few of those, make most events (Zipf).
    """
    chance = random.Random(seed)
    for number in range(count):
        who = _zipf(chance, existing) if skewed else chance.randrange(existing)
        now = START + 60_000 + number
        payload = Payload("bench", {}, "bench", True, received + number // 10)
        if chance.random() < 0.75:
            thread = f"{who}-{chance.randrange(8)}"
            shape = Conversation(
                kind="email",
                channel="email",
                subject=f"Parcel {thread}",
                preview=_TEXT[:180],
                status=chance.choice(("open", "open", "closed")),
                priority="normal",
                at=from_ms(START + chance.randrange(86_400_000)),
                created_at=from_ms(START),
                updated_at=from_ms(now),
                waiting_since=from_ms(now),
                assignee=Reference(key="intercom/bench/admin/1", name="Maya"),
                parties=[Party(role="requester", person=f"intercom/bench/contact/{who}")],
            )
            yield _of(INTERCOM.upserted(payload, "conversation", thread, shape, clock=now))
        else:
            call = Call(
                direction="inbound",
                status=chance.choice(("ringing", "in_progress", "answered", "missed")),
                line=Line(key="aircall/bench/number/1", name="Support line", number="+12025550199"),
                at=from_ms(now),
                ring_seconds=12,
                parties=[Party(role="caller", identifier=Identifier(kind="email", value=_phone(who)))],
            )
            thread = f"{who}-{chance.randrange(4)}"
            yield _of(AIRCALL.upserted(payload, "call", thread, call, clock=now, mode="patch"))


def _phone(number: int) -> str:
    return f"phone{number}@example.com"


def _zipf(chance: random.Random, existing: int) -> int:
    """80 % of events to 20 % of customers, again and again within those."""
    low, high = 0, existing
    while high - low > 4 and chance.random() < 0.8:
        high = low + max(4, (high - low) // 5)
    return chance.randrange(low, high)


def _of(event: Event) -> Event:
    return event.model_copy(update={"connection": event.source.partition("/")[0]})
