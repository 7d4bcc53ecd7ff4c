"""Tickets: requests of customers, and what staff pass on behind them. Pure."""

from collections.abc import Iterator

from connectors.intercom.conversations import involved, linked, message, ratings
from connectors.intercom.shapes import (
    MAKER,
    Item,
    clock,
    listed,
    part,
    present,
    preview,
    reference,
    sequence,
    stamp,
    text,
)
from core.sdk import Payload
from schemas.entities import Conversation, Party
from schemas.event import Event

_STATES = {
    "submitted": "open", "in_progress": "open", "waiting_on_customer": "pending", "resolved": "solved",
}  # fmt: skip
_HIDDEN = ("Back-office", "Tracker")


def ticket(payload: Payload) -> Iterator[Event]:
    item: Item = payload.data
    id = present(item.get("id")) or ""
    at = clock(payload, item)
    people = involved(payload, item)
    yield MAKER.upserted(
        payload, "ticket", id, _ticket(payload, item, people), clock=at, sequence=sequence(payload, item)
    )
    for each in listed(item, "ticket_parts", "ticket_parts"):
        yield from message(payload, ("ticket", id, "ticket_part"), each, people, at)
    yield from ratings(payload, ("ticket_rating", "ticket"), item, people, at)


def _ticket(payload: Payload, item: Item, people: list[Party]) -> Conversation:
    fields = part(item, "ticket_attributes")
    state = part(item, "ticket_state")
    category = state.get("category") or (item["ticket_state"] if isinstance(item.get("ticket_state"), str) else "")
    subject = text(fields.get("_default_title_")) or None
    return Conversation(
        kind="ticket",
        channel="ticket",
        subject=subject,
        preview=None if subject else preview(fields.get("_default_description_")),
        status=_STATES.get(category, "closed" if item.get("open") is False else "open"),
        source_state=state.get("internal_label") or category or None,
        assignee=reference(payload, "admin", item.get("admin_assignee_id")),
        team=reference(payload, "team", item.get("team_assignee_id")),
        parties=people,
        linked=linked(payload, item),
        attributes={name: value for name, value in fields.items() if not name.startswith("_default_")},
        at=stamp(item.get("created_at")),
        # Back-office and tracker tickets are never shown to the customer, others only if they are shared.
        visibility="internal" if item.get("category") in _HIDDEN or item.get("is_shared") is False else "public",
        created_at=stamp(item.get("created_at")),
        updated_at=stamp(item.get("updated_at")),
    )
