"""Conversations, their messages and ratings, and what tickets share with them. Pure.

A conversation's webhook brings only the parts that caused it, a read up to the 500 newest: parts are objects of their
own, so what is not brought stays.
"""

from collections.abc import Iterator
from typing import Any

from connectors.intercom.shapes import (
    CONTACTS,
    MAKER,
    Item,
    attachments,
    author,
    clock,
    listed,
    moment,
    part,
    present,
    preview,
    reference,
    sequence,
    stamp,
    text,
)
from core.sdk import NormalizeError, Payload
from schemas.entities import Conversation, Message, Party, Rating, Reference, Sla
from schemas.event import Event

_KINDS = {
    "conversation": "chat", "push": "chat", "email": "email", "sms": "sms", "whatsapp": "social",
    "facebook": "social", "instagram": "social", "twitter": "social",
}  # fmt: skip
_STATES = {"open": "open", "closed": "closed", "snoozed": "snoozed"}
# Up to 2.15 there is only priority | not_priority; the rest is 2.16.
_PRIORITIES = {"low": "low", "medium": "normal", "high": "high", "urgent": "urgent", "priority": "high"}
_UNASKED = frozenset({"automated", "operator_initiated"})


def conversation(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    id = present(item.get("id")) or ""
    at = clock(payload, item)
    source = part(item, "source")
    parties = involved(payload, item)
    shape, step = _conversation(payload, item, parties), sequence(payload, item)
    yield MAKER.upserted(payload, "conversation", id, shape, clock=at, sequence=step)
    if present(source.get("body")) or source.get("redacted"):
        yield _first(payload, id, item, parties, at)
    for each in listed(item, "conversation_parts", "conversation_parts"):
        yield from message(payload, ("conversation", id, "part"), each, parties, at)
    yield from ratings(payload, ("rating", "conversation"), item, parties, at)


def _conversation(payload: Payload, item: Item, parties: list[Party]) -> Conversation:
    source, statistics = part(item, "source"), part(item, "statistics")
    subject = text(item.get("title")) or text(source.get("subject")) or None
    state = _STATES.get(item.get("state") or "") or ("closed" if item.get("open") is False else "open")
    channel = source.get("type") or part(item, "channel").get("current")
    sla = part(item, "sla_applied")
    app, id = payload.headers.get("app"), item.get("id")
    reopened = statistics.get("count_reopens")
    return Conversation(
        kind=_KINDS.get(channel or ""),
        channel="messenger" if channel == "conversation" else channel,
        subject=subject,
        preview=None if subject else preview(source.get("body")),
        status=state,
        source_state=item.get("state") or None,
        priority=_PRIORITIES.get(item.get("priority") or ""),
        assignee=reference(payload, "admin", item.get("admin_assignee_id")),
        team=reference(payload, "team", item.get("team_assignee_id")),
        parties=parties,
        waiting_since=stamp(item.get("waiting_since")),
        first_response_at=stamp(statistics.get("first_admin_reply_at")),
        solved_at=stamp(statistics.get("last_close_at")) if state == "closed" else None,
        reopened_count=reopened if isinstance(reopened, int) else None,
        sla=[Sla(metric=sla.get("sla_name") or "sla", state=sla.get("sla_status"))] if sla else [],
        linked=linked(payload, item),
        tags=[tag["name"] for tag in listed(item, "tags", "tags") if tag.get("name")],
        attributes=dict(part(item, "custom_attributes")),
        at=stamp(item.get("created_at")),
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
        url=f"{app}/a/inbox/{payload.account}/inbox/conversation/{id}" if app else None,
    )


def involved(payload: Payload, item: Item) -> list[Party]:
    """Whose need it is: the contact who wrote first, else the first one. Whoever was added later sees it only."""
    writer = part(part(item, "source"), "author")
    wrote = present(writer.get("id")) if writer.get("type") in CONTACTS else None
    ids = [id for contact in listed(item, "contacts", "contacts") if (id := present(contact.get("id")))]
    ids = list(dict.fromkeys(ids)) or ([wrote] if wrote else [])
    first = wrote if wrote in ids else next(iter(ids), None)
    return [
        Party(
            role="requester" if id == first else "cc",
            person=MAKER.key(payload, "contact", id),
            name=(writer.get("name") or None) if id == wrote else None,
        )
        for id in ids
    ]


def linked(payload: Payload, item: Item) -> list[Reference]:
    return [
        Reference(key=MAKER.key(payload, str(each["type"]), each["id"]))
        for each in listed(item, "linked_objects", "data")
        if each.get("type") in ("conversation", "ticket") and present(each.get("id"))
    ]


def _first(payload: Payload, id: str, item: Item, parties: list[Party], at: int | None) -> Event:
    """The opening message stands in `source`, outside of the parts, and has no clock but its conversation's."""
    source = part(item, "source")
    redacted = source.get("redacted") is True
    message = _body(payload, ("conversation", id), source, f"{id}:source", parties, redacted)
    automated = source.get("delivered_as") in _UNASKED or message["automated"]
    created = stamp(item.get("created_at"))
    shape = Message(**message | {"internal": False, "automated": automated, "at": created, "created_at": created})
    written = moment(item.get("created_at"))
    return MAKER.upserted(payload, "part", f"{id}:source", shape, clock=at if redacted else written or at)


def message(
    payload: Payload, of: tuple[str, str, str], item: Item, parties: list[Party], at: int | None
) -> Iterator[Event]:
    """Parts that say something; the others (assignments, changes of state) show in their conversation."""
    redacted = item.get("redacted") is True
    if not (present(item.get("body")) or redacted or listed(item, "attachments")):
        return
    if not (id := present(item.get("id"))):
        raise NormalizeError(f"a part of {of[0]} {of[1]} has no id")
    message = _body(payload, of[:2], item, f"{of[1]}:{id}", parties, redacted)
    message |= {
        "at": stamp(item.get("created_at")),
        "created_at": stamp(item.get("created_at")),
        "updated_at": stamp(item.get("updated_at")),
        "source_state": item.get("part_type") or None,
    }
    written = moment(item.get("updated_at")) or moment(item.get("created_at")) or at
    # A redaction need not move the part's own clock, and must win over the text that it takes away.
    yield MAKER.upserted(
        payload, of[2], f"{of[1]}:{id}", Message(**message), clock=max(written or 0, at or 0) if redacted else written
    )


def _body(
    payload: Payload, of: tuple[str, ...], item: Item, id: str, parties: list[Party], redacted: bool
) -> dict[str, Any]:
    """Customers see their own words and comments; every other text of staff is taken as internal."""
    who = part(item, "author")
    inbound = who.get("type") in CONTACTS
    internal = not inbound and item.get("part_type", "comment") != "comment"
    return {
        "conversation": MAKER.key(payload, of[0], of[1]),
        "author": author(payload, item),
        "direction": "inbound" if inbound else None if internal else "outbound",
        "internal": internal,
        "visibility": "internal" if internal else "public",
        "body": "" if redacted else text(item.get("body")),
        "format": "text",
        "attachments": [] if redacted else attachments(item, id),
        "automated": who.get("type") == "bot" or bool(who.get("from_ai_agent") or who.get("is_ai_answer")),
        "redacted": redacted,
        "parties": parties,
    }


def ratings(payload: Payload, of: tuple[str, str], item: Item, parties: list[Party], at: int | None) -> Iterator[Event]:
    """What the customer thought: of the person, and of the AI agent (Fin) where one took part.

    `of`: kind of the rating, and of what was rated.
    """
    (kind, subject), id = of, present(item.get("id")) or ""
    key = MAKER.key(payload, subject, id)
    if rating := part(item, "conversation_rating"):
        teammate = part(rating, "teammate")
        asked = stamp(rating.get("created_at"))
        yield MAKER.upserted(
            payload, kind, id,
            Rating(
                scale=5, score=_score(rating.get("rating")), comment=present(rating.get("remark")), subject=key,
                staff=reference(payload, "admin", teammate.get("id"), teammate.get("name")), requested_at=asked,
                at=stamp(rating.get("updated_at")) or asked, parties=parties,
            ),
            # Up to 2.15 a rating has no `updated_at`, and `created_at` is when it was asked for.
            clock=moment(rating.get("updated_at")) or at,
        )  # fmt: skip
    fin = part(item, "ai_agent")
    if (score := _score(fin.get("rating"))) is not None:
        shape = Rating(
            scale=5, score=score, comment=present(fin.get("rating_remark")), subject=key,
            at=stamp(item.get("updated_at")), parties=parties, tags=["ai_agent"],
        )  # fmt: skip
        yield MAKER.upserted(payload, kind, f"{id}:ai_agent", shape, clock=at)


def _score(value: Any) -> int | None:
    value = int(value) if isinstance(value, str) and value.isdecimal() else value
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 5 else None
