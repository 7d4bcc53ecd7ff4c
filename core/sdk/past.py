"""The past 30 days of the story: what a backfill finds. Pure; `core.sdk.story.opening` numbers these entries."""

from collections.abc import Iterator
from random import Random
from typing import Any

from core.sdk.cast import CAST, MORE_CARDS, OFFICE_PHONE, STAFF, TOPICS

DAY = 86_400.0
STAGES = ("appointmentscheduled", "qualifiedtobuy", "contractsent", "closedwon", "closedlost")  # HubSpot's own defaults

Entry = tuple[float, str, str, str, dict[str, Any]]  # seconds from the beginning, kind, vendor, ref, data


def entries(random: Random) -> Iterator[Entry]:
    """35 people in three tools, 31 conversations, 18 calls, 6 deals, 5 tasks, 22 cards; in no order."""
    yield from _people()
    yield from _conversations(random)
    yield from _calls(random)
    yield from _sales()
    yield from _cards()


def _people() -> Iterator[Entry]:
    for index, actor in enumerate(CAST.values()):
        for step, (vendor, facts) in enumerate(actor.known.items()):
            yield -29.5 * DAY + index * 600.0 + step * 60, "person.upsert", vendor, actor.slug, dict(facts)


def _conversations(random: Random) -> Iterator[Entry]:
    writers = [slug for slug, actor in CAST.items() if "intercom" in actor.known and slug != "dana"]
    staff = list(STAFF)
    yield from _conversation("v:dana.1", "dana", 7, -5 * DAY, "maya", closed=True)
    yield from _conversation("v:dana.2", "dana", 0, -2 * DAY - 900, None, closed=False)
    for index in range(29):
        at = -29 * DAY + index * DAY * 0.98 + random.uniform(0, DAY / 2)
        writer = writers[index % len(writers)]
        # The newest six are open; of them every second waits for an answer.
        who = staff[index % len(staff)] if index < 23 or index % 2 else None
        yield from _conversation(f"v:{index}", writer, 1 + index % (len(TOPICS) - 1), at, who, closed=index < 23)


def _conversation(ref: str, person: str, topic: int, at: float, staff: str | None, *, closed: bool) -> Iterator[Entry]:
    subject, text, answer, *_ = TOPICS[topic]
    channel = "email" if topic % 3 else "chat"
    yield at, "conversation.open", "intercom", ref, {
        "person": person, "subject": subject, "text": text, "team": "support", "channel": channel,
        "assignee": staff or "maya",
    }  # fmt: skip
    if staff is not None:
        yield at + 1800, "conversation.reply", "intercom", ref, {"by": staff, "text": answer}
    if closed and staff is not None:
        yield at + 5400, "conversation.reply", "intercom", ref, {"by": "customer", "text": "Thank you, that helps."}
        yield at + 7200, "conversation.close", "intercom", ref, {"by": staff}


def _calls(random: Random) -> Iterator[Entry]:
    callers = [slug for slug, actor in CAST.items() if "aircall" in actor.known and actor.phone != OFFICE_PHONE]
    staff = list(STAFF)
    for index in range(18):
        at = -28 * DAY + index * DAY * 1.5 + random.uniform(0, DAY / 2)
        slug = "dana" if index == 16 else callers[index % len(callers)]
        phone = "anonymous" if index == 11 else CAST[slug].phone
        inbound = index % 4 != 3
        by = staff[index % len(staff)]
        ring: dict[str, Any] = {"phone": phone, "direction": "inbound" if inbound else "outbound"}
        if "aircall" in CAST[slug].known and phone != "anonymous":
            ring["person"] = slug
        if not inbound:
            ring["by"] = by
        yield at, "call.ring", "aircall", f"c:{index}", ring
        if index % 5 == 2:
            reason = {"reason": "agents_did_not_answer"} if inbound else {}
            yield at + 25, "call.miss", "aircall", f"c:{index}", reason
            if inbound:
                yield at + 50, "call.voicemail", "aircall", f"c:{index}", {"seconds": 17}
        else:
            yield at + 9, "call.answer", "aircall", f"c:{index}", {"by": by}
        yield at + 60 + 20 * index, "call.end", "aircall", f"c:{index}", {}


def _sales() -> Iterator[Entry]:
    deals = (("ines", "Ovens, second shop", 1), ("zoe", "Rental fleet", 2), ("priya", "Shelf system", 3),
             ("amara", "Yearly plan", 0), ("chen", "Trial to plan", 0), ("grace", "Renewal", 2))  # fmt: skip
    for index, (slug, title, stage) in enumerate(deals):
        data = {
            "title": title, "person": slug, "organization": CAST[slug].organization,
            "amount": f"{400 + 350 * index}.00", "currency": "USD",
            "stage": STAGES[stage], "owner": "jonas", "closes_in_days": 10 + 9 * index,
        }  # fmt: skip
        yield -20 * DAY + index * 2.5 * DAY, "deal.upsert", "hubspot", f"d:{index}", data
    tasks = (
        ("dana", "Call back about the bag", "open", -DAY, 0.6 * DAY),
        ("zoe", "Send the offer", "done", -6 * DAY, DAY),
        ("grace", "Ask for the renewal", "open", -3 * DAY, 9 * DAY),
        ("priya", "Check the delivery", "done", -9 * DAY, DAY),
        ("lukasz", "Refund the zipper", "open", -2 * DAY, 5 * DAY),
    )
    for index, (slug, title, state, at, due) in enumerate(tasks):
        yield at, "task.upsert", "hubspot", f"t:{index}", {
            "title": title, "person": slug, "state": state, "due_in": due, "owner": "maya",
        }  # fmt: skip


def _cards() -> Iterator[Entry]:
    titles = [(title, text) for _, _, _, title, text in TOPICS]
    titles += [(title, f"{title}: ask logistics where in doubt, and note what you promised.") for title in MORE_CARDS]
    for index, (title, text) in enumerate(titles):
        yield -29 * DAY + index * DAY, "card.upsert", "guru", f"k:{index}", {
            "title": title, "text": text, "collection": "Support", "owner": list(STAFF)[index % len(STAFF)],
            "verified": index % 8 != 7 and index != 19, "verify_days": 90,
        }  # fmt: skip
