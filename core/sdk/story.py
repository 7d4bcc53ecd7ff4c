"""The endless coherent story that all mock worlds play. Pure and deterministic: a function of the seed, no clock.

`opening(seed)` is the world as it stands when the story begins (negative offsets over the past 30 days: what a backfill
finds, no webhooks); `beats(seed, begin)` goes on from there for ever. Beat n is always the same: `n // STRIDE` is its
cycle, so numbers rise with gaps; opening beats have negative numbers. A cycle lasts CYCLE seconds and shows in its first
half a ring, a merge (a caller gets an Aircall contact with their number), a call from the shared office phone, a split
(two external ids) and a refusal. Cycle 0 does it with Dana Reyes and Ben and Bea Ode; each later one with fresh people
whom the second half of the cycle before has introduced. People of long ago are deleted, so that numbers come free again.

A mock reacts to the beats whose `vendor` is its own. `ref` names the object (stable, unique per vendor and family of
kinds); ids are derived from it by `number` and `uuid`. Fields named `person`, `by`, `to`, `owner` hold refs: a source
person's ref in the same vendor, or a colleague's slug (`cast.STAFF`); `by: "customer"` is the conversation's own person.
`organization` is a slug in `cast.ORGANIZATIONS`. What a beat leaves out stays as it was.

| kind (vendor) | ref | data |
| --- | --- | --- |
| person.upsert (intercom, aircall, hubspot) | person | given, family, email, phone, language, country, organization, external_id (intercom), role: user or lead (intercom; default user), owner (hubspot) |
| person.delete (all three) | person | |
| person.merge (intercom: lead into user; hubspot) | the one that goes | into: person; new: ref of the record that remains (hubspot makes a new id; intercom keeps `into`) |
| conversation.open (intercom) | conversation | person, subject, text, channel: chat or email, assignee (may lack), team (slug in cast.TEAMS) |
| conversation.reply | conversation | by, text |
| conversation.note, .assign, .close, .reopen, .snooze, .rate, .tag | conversation | by; note: text · assign: to · reopen: text · snooze: seconds · rate: score 1-5, text · tag: tag |
| call.ring (aircall) | call | phone (E.164 or "anonymous"), direction: inbound or outbound, person (a contact, where Aircall has one), by (who makes an outbound call) |
| call.answer, .miss, .voicemail, .end | call | answer: by · miss: reason (Aircall's missed_call_reason) · voicemail: seconds · end: nothing (the last beat of every call) |
| call.transfer, .comment, .tag | call | by; transfer: to · comment: text · tag: tag |
| call.choose, .join, .outside, .voice_agent, .archive, .unarchive (aircall) | call | choose (the line's menu): title, key · join: by, person (a contact) or phone · outside (passed on there): phone · voice_agent: what (started, escalated, ended), reason, ending |
| message.write, .status (aircall) | message | write: phone, text, direction, channel (whatsapp or none), proxy (of a number in proxy mode) · status: status |
| deal.upsert (hubspot), deal.delete | deal | title, person, organization, amount (decimal as text), currency, stage (one of STAGES), owner, closes_in_days |
| task.upsert (hubspot), task.delete | task | title, person, state: open or done, due_in (seconds from the beat), owner |
| card.upsert (guru) | card | title, text, collection, owner, verified (on creation), verify_days |
| card.verify, .unverify, .delete (guru) | card | by |
| refuse (aircall) | | the mock sends one webhook that must be refused: a wrong token |
"""  # noqa: E501

import hashlib
import uuid as uuids
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from core.sdk import past
from core.sdk.cast import (
    CARRIER_PHONE,
    CAST,
    COUPLES,
    FAMILY,
    GIVEN,
    OFFICE_PHONE,
    STAFF,
    SUPPORT_EMAIL,
    SUPPORT_NUMBER,
    TOPICS,
)
from core.sdk.past import DAY, STAGES, Entry

__all__ = [
    "CAST", "CYCLE", "STAFF", "STAGES", "STRIDE", "SUPPORT_EMAIL", "SUPPORT_NUMBER", "Beat", "beats", "guest", "number",
    "opening", "uuid",
]  # fmt: skip

CYCLE = 75.0  # seconds
STRIDE = 100  # beat numbers per cycle
SELDOM = 5  # cycles of which one shows what happens seldom
KEPT = 20  # cycles after which a generated person is deleted; phones come round after 1,000


@dataclass(frozen=True, slots=True)
class Beat:
    """One thing that happens in one tool. `at` is seconds from the beginning of the story; `n` rises."""

    n: int
    kind: str
    vendor: str
    ref: str
    at: float
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cycle(self) -> int:
        return self.n // STRIDE


@dataclass(frozen=True, slots=True)
class Guest:
    """The fresh people of one cycle: who calls, and a couple that shares an address."""

    slug: str
    given: str
    family: str
    email: str
    phone: str
    couple: tuple[str, str]  # refs
    couple_given: tuple[str, str]
    couple_family: str
    couple_email: str


def number(seed: int, ref: str, digits: int = 10) -> int:
    """A stable id for `ref` with exactly that many digits (at most 15: JSON numbers stay exact)."""
    digest = hashlib.blake2b(f"{seed}\x1f{ref}".encode(), digest_size=8).digest()
    low = int("1" + "0" * (digits - 1))
    return low + int.from_bytes(digest, "big") % (9 * low)


def uuid(seed: int, ref: str) -> str:
    """A stable UUID for `ref`."""
    return str(uuids.UUID(bytes=hashlib.blake2b(f"{seed}\x1f{ref}".encode(), digest_size=16).digest(), version=4))


def guest(cycle: int) -> Guest:
    """Who calls in a cycle and who is told apart: Dana and the Odes first, then ever new people."""
    if cycle == 0:
        dana = CAST["dana"]
        return Guest("dana", dana.given, dana.family, dana.email, dana.phone, ("ben", "bea"), ("Ben", "Bea"), "Ode",
                     CAST["ben"].email)  # fmt: skip
    given, family = GIVEN[cycle % len(GIVEN)], FAMILY[(cycle * 3 + cycle // len(GIVEN)) % len(FAMILY)]
    pair, name = COUPLES[cycle % len(COUPLES)], FAMILY[(cycle * 7 + 5) % len(FAMILY)]
    return Guest(
        f"g{cycle}", given, family, f"guest{cycle}@example.com", f"+44207946{cycle % 1000:04d}",
        (f"p{cycle}.1", f"p{cycle}.2"), pair, name, f"home{cycle}@example.com",
    )  # fmt: skip


def opening(seed: int) -> Sequence[Beat]:
    """The past 30 days: 35 people in three tools, 31 conversations, 18 calls, 6 deals, 5 tasks, 22 cards."""
    random = Random(f"{seed}:opening")  # noqa: S311  a story, not a secret
    found = sorted(past.entries(random), key=lambda entry: entry[0])
    return [
        Beat(index - len(found), kind, vendor, ref, at, data)
        for index, (at, kind, vendor, ref, data) in enumerate(found)
    ]


def beats(seed: int, begin: int = 0) -> Iterator[Beat]:
    """Endless, from the first beat whose number is at least `begin`."""
    for cycle in count(max(begin, 0) // STRIDE):
        for index, (at, kind, vendor, ref, data) in enumerate(_cycle(seed, cycle)):
            if (n := cycle * STRIDE + index) >= begin:
                yield Beat(n, kind, vendor, ref, cycle * CYCLE + at, data)


def _cycle(seed: int, cycle: int) -> Sequence[Entry]:
    random = Random(f"{seed}:{cycle}")  # noqa: S311  a story, not a secret
    entries = [*_show(cycle), *_ordinary(cycle, random), *_housekeeping(cycle), *_introduce(cycle + 1), *_seldom(cycle)]
    entries.sort(key=lambda entry: entry[0])
    return entries


def _show(cycle: int) -> Iterator[Entry]:
    """The first half: ring, merge, shared phone, split, refusal."""
    who = guest(cycle)
    first, second = f"c{cycle}.1", f"c{cycle}.2"
    staff = list(STAFF)[cycle % 3]
    yield 2, "call.ring", "aircall", first, {"phone": who.phone, "direction": "inbound"}
    yield 6, "person.upsert", "aircall", who.slug, {"given": who.given, "family": who.family, "phone": who.phone}
    yield 8, "call.answer", "aircall", first, {"by": staff}
    yield 10, "call.ring", "aircall", second, {"phone": OFFICE_PHONE, "direction": "inbound"}
    for index, at in ((0, 14), (1, 15)):
        facts = {"external_id": f"C-{1000 + 2 * cycle + index}"}
        yield at, "person.upsert", "intercom", who.couple[index], facts
    yield 17, "person.upsert", "intercom", who.couple[1], {"given": who.couple_given[1]}
    yield 18, "call.miss", "aircall", second, {"reason": "agents_did_not_answer"}
    yield 20, "refuse", "aircall", "", {}
    yield 22, "call.end", "aircall", second, {}
    yield 25, "call.comment", "aircall", first, {"by": staff, "text": "Promised to call back with proof of delivery."}
    yield 27, "call.tag", "aircall", first, {"by": staff, "tag": "delivery"}
    yield 28, "call.end", "aircall", first, {}
    yield 31, "conversation.reply", "intercom", "v:dana.2" if cycle == 0 else f"v{cycle}.g", {
        "by": staff, "text": TOPICS[0][2],
    }  # fmt: skip
    yield 33, "task.upsert", "hubspot", f"t{cycle}", {
        "title": f"Call {who.given} {who.family} back", "person": who.slug, "state": "open", "due_in": DAY,
        "owner": staff,
    }  # fmt: skip


def _ordinary(cycle: int, random: Random) -> Iterator[Entry]:
    """What happens every day, to the fixed cast: conversations, a missed call, a deal, cards."""
    writers = [slug for slug, actor in CAST.items() if "intercom" in actor.known]
    for index, start in enumerate((12.0, 30.0)):
        ref, topic = f"v{cycle}.{index}", random.randrange(len(TOPICS))
        who, staff = random.choice(writers), random.choice(list(STAFF))
        yield start, "conversation.open", "intercom", ref, {
            "person": who, "subject": TOPICS[topic][0], "text": TOPICS[topic][1], "team": "support", "channel": "chat",
        }  # fmt: skip
        yield start + 7, "conversation.assign", "intercom", ref, {"by": staff, "to": staff}
        yield start + 11, "conversation.reply", "intercom", ref, {"by": staff, "text": TOPICS[topic][2]}
        yield start + 19, "conversation.reply", "intercom", ref, {"by": "customer", "text": "Thank you."}
        yield start + 24, "conversation.close", "intercom", ref, {"by": staff}
    rating = {"by": "customer", "score": random.randint(1, 5), "text": ""}
    yield 57, "conversation.rate", "intercom", f"v{cycle}.1", rating
    if cycle:
        late = f"v{cycle - 1}.0"
        yield 26, "conversation.reopen", "intercom", late, {"by": "customer", "text": "It happened again."}
        yield 52, "conversation.note", "intercom", late, {"by": "leila", "text": "Same as last week; see the card."}
        yield 54, "conversation.close", "intercom", late, {"by": "leila"}
        yield 48, "task.upsert", "hubspot", f"t{cycle - 1}", {"state": "done"}
    caller = CAST[random.choice(["zoe", "yusuf", "priya", "lukasz", "chen", "sofia", "grace"])]
    call = f"c{cycle}.3"
    phone = "anonymous" if cycle % 4 == 3 else caller.phone
    person = {} if phone == "anonymous" else {"person": caller.slug}
    yield 40, "call.ring", "aircall", call, {"phone": phone, "direction": "inbound", **person}
    yield 50, "call.miss", "aircall", call, {"reason": "agents_did_not_answer"}
    yield 56, "call.voicemail", "aircall", call, {"seconds": random.randint(5, 40)}
    yield 59, "call.end", "aircall", call, {}
    yield 35, "deal.upsert", "hubspot", f"d:{cycle % 6}", {"stage": STAGES[random.randrange(len(STAGES))]}
    card = f"k:{cycle % 22}"
    yield 37, "card.upsert", "guru", card, {"text": f"Revised in week {cycle + 1}: note what you promised and by when."}
    yield 44, "card.verify", "guru", card, {"by": "maya"}
    yield 61, "card.unverify", "guru", f"k:{(cycle + 11) % 22}", {"by": "jonas"}


def _housekeeping(cycle: int) -> Iterator[Entry]:
    """A source merges two of its own, a short-lived person and an old card go, people of long ago are deleted."""
    if cycle % 2:
        lead, user = f"l{cycle}", f"u{cycle}"
        yield 29, "person.upsert", "intercom", lead, {"given": "Visitor", "family": "", "role": "lead"}
        yield 42, "person.upsert", "intercom", user, {"given": GIVEN[cycle % 26], "family": FAMILY[(cycle + 9) % 25],
                                                      "email": f"member{cycle}@example.com"}  # fmt: skip
        yield 46, "person.merge", "intercom", lead, {"into": user}
        # Two cycles later: whom a survivor absorbed can be asked for only while the survivor is there.
        gone = ("intercom", f"u{cycle - 2}") if cycle > 2 else None
    else:
        name = {"given": GIVEN[(cycle + 4) % 26], "family": FAMILY[(cycle + 2) % 25]}
        for index, at in ((1, 29), (2, 42)):
            facts = {**name, "email": f"twin{cycle}.{index}@example.com"}
            yield at, "person.upsert", "hubspot", f"h{cycle}.{index}", facts
        yield 46, "person.merge", "hubspot", f"h{cycle}.2", {"into": f"h{cycle}.1", "new": f"h{cycle}"}
        gone = ("hubspot", f"h{cycle}")
    if gone:
        yield 63, "person.delete", *gone, {}
    yield 38, "card.upsert", "guru", f"k{cycle}", {
        "title": f"Notice {cycle + 1}", "text": f"Carrier delays are expected this week (notice {cycle + 1}).",
        "collection": "Support", "owner": "sam", "verified": True, "verify_days": 7,
    }  # fmt: skip
    if cycle:
        yield 64, "card.delete", "guru", f"k{cycle - 1}", {"by": "sam"}
    if cycle > KEPT:
        old = guest(cycle - KEPT)
        for vendor in ("intercom", "aircall", "hubspot"):
            yield 65, "person.delete", vendor, old.slug, {}
        for ref in old.couple:
            yield 66, "person.delete", "intercom", ref, {}


def _introduce(cycle: int) -> Iterator[Entry]:
    """The second half: the people of the next cycle arrive in HubSpot and Intercom, and one of them waits."""
    who = guest(cycle)
    name = {"given": who.given, "family": who.family, "email": who.email}
    yield 45, "person.upsert", "hubspot", who.slug, {**name, "phone": who.phone, "owner": "jonas"}
    yield 47, "person.upsert", "intercom", who.slug, name
    first, second = who.couple_given
    # With the other's initial: names that do not clash, so that only the two customer numbers tell them apart.
    for index, given in ((0, first), (1, f"{second} {first[0]}.")):
        facts = {"given": given, "family": who.couple_family, "email": who.couple_email}
        yield 49 + index, "person.upsert", "intercom", who.couple[index], facts
    yield 51, "conversation.open", "intercom", f"v{cycle}.g", {
        "person": who.slug, "subject": TOPICS[0][0], "text": TOPICS[0][1], "team": "support", "channel": "email",
        "assignee": "maya",
    }  # fmt: skip


def _seldom(cycle: int) -> Iterator[Entry]:
    """In one cycle of SELDOM: somebody joins the first call; a caller chooses in the menu, talks to an AI voice agent,
    is passed on outside, and the call is archived; text messages, the last of them on a number in proxy mode. In the
    next one the call is taken up again."""
    if cycle % SELDOM == SELDOM - 1:
        call = f"c{cycle - 1}.4"
        yield 39, "call.unarchive", "aircall", call, {}
        yield 41, "call.comment", "aircall", call, {"by": "leila", "text": "The carrier has not called them yet."}
    if cycle % SELDOM != SELDOM - 2:
        return
    call, phone = f"c{cycle}.4", CAST[("grace", "sofia", "priya")[cycle // SELDOM % 3]].phone
    yield 21, "call.join", "aircall", f"c{cycle}.1", {"by": "sam"}
    yield 23, "call.join", "aircall", f"c{cycle}.1", {"person": "tom"}
    yield 58, "call.ring", "aircall", call, {"phone": phone, "direction": "inbound"}
    yield 59, "call.choose", "aircall", call, {"title": "Orders", "key": "2"}
    yield 60, "call.voice_agent", "aircall", call, {"what": "started"}
    yield 62, "call.voice_agent", "aircall", call, {"what": "escalated", "reason": "Asked to speak to a person"}
    yield 63, "call.voice_agent", "aircall", call, {"what": "ended", "ending": "escalated"}
    yield 65, "call.answer", "aircall", call, {"by": "jonas"}
    yield 68, "call.outside", "aircall", call, {"phone": CARRIER_PHONE}
    yield 71, "call.end", "aircall", call, {}
    yield 73, "call.archive", "aircall", call, {}
    for index, (at, text, direction) in enumerate(
        ((43, TOPICS[0][1], "inbound"), (46, TOPICS[0][2], "outbound"), (52, TOPICS[5][1], "inbound"),
         (54, TOPICS[5][2], "outbound"))
    ):  # fmt: skip
        ref = f"m{cycle}.{index}"
        written = {"phone": phone, "text": text, "direction": direction, "proxy": index > 1}
        yield at, "message.write", "aircall", ref, written
        if direction == "outbound":
            yield at + 2, "message.status", "aircall", ref, {"status": "delivered"}
