"""Cards: each object's rendered piece of the record, and how it stands in a timeline. Pure."""

from typing import Any, NamedTuple

import orjson

from core.projection.registers import Registers, Visible
from core.sdk import from_ms

_OPEN: dict[str, frozenset[str]] = {
    "conversation": frozenset({"open", "pending", "snoozed"}),
    "call": frozenset({"ringing", "in_progress"}),
    "deal": frozenset({"open"}),
    "task": frozenset({"open"}),
    "invoice": frozenset({"open", "overdue", "uncollectible"}),
    "billing_subscription": frozenset({"active", "trialing", "past_due"}),
}
_LONGEST = 2_000  # characters of one text in a card; the whole stands in the object's registers
_MARK = b',"source":"'
_WAITING = b',"waiting_since":"'
_TITLES = ("title", "subject", "preview", "summary", "body", "comment", "number")


class Place(NamedTuple):
    """Where an activity stands. `parties` are (role, person key or None, identifier or None) as the source wrote them;
    `live` is False where the object is gone."""

    at: str
    open: bool
    live: bool
    parties: tuple[tuple[str, str | None, tuple[str, str, str | None] | None], ...]


def place(entity: str, visible: Visible | Registers) -> Place:
    """An activity without its card. A deleted one keeps its parties, so that their records are folded once more."""
    at = visible.get("at") or visible.get("created_at") or from_ms(visible.first) or ""
    parties = tuple(_party(party) for party in visible.get("parties") or ())
    status = visible.get("status") or visible.get("state") or ""
    open_ = status in _OPEN.get(entity, ())
    live = visible.state == "live"
    return Place(at, open_ and live, live, parties)


def _party(party: dict[str, Any]) -> tuple[str, str | None, tuple[str, str, str | None] | None]:
    identifier = party.get("identifier")
    named = (identifier["kind"], identifier["value"], identifier.get("namespace")) if identifier else None
    return party["role"], party.get("person"), named


def card(key: str, registers: Registers, visible: Visible, at: Place) -> bytes:
    """An activity's piece of the record. The line that a timeline shows comes first, up to `source`: `line_of` cuts it
    off without parsing."""
    event, observed = registers.newest() or ("", 0)
    vendor, account, *_ = key.split("/")
    facts = {name: _bounded(fact.value) for name, fact in sorted(visible.facts.items())}
    head: dict[str, Any] = {"at": at.at, "entity": registers.entity, "key": key}
    if named := title(facts | head):
        head["title"] = named
    if status := facts.get("status") or facts.get("state"):
        head["status"] = status
    head["open"] = at.open
    if waiting := facts.get("waiting_since"):
        head["waiting_since"] = waiting
    head |= {"source": f"{vendor}/{account}", "event": event, "observed": from_ms(observed)}
    return orjson.dumps(head | facts | head)  # the head's keys first, and its values


def _bounded(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def line_of(card: bytes, role: str) -> bytes:
    """The timeline's line of a card, as JSON. Quotes within a text are escaped there, so that the mark is the mark."""
    return b'%s,"role":"%s"}' % (card[: card.index(_MARK)], role.encode())


def rings(card: bytes) -> bool:
    """Whether a call rings now."""
    return b'"status":"ringing"' in card[: card.index(_MARK)]


def waiting_since(card: bytes) -> str | None:
    """Since when the customer waits for an answer in this conversation."""
    head = card[: card.index(_MARK)]
    begin = head.find(_WAITING)
    return head[begin + len(_WAITING) : -1].decode() if begin >= 0 else None


def title(card: dict[str, Any]) -> str:
    """What a timeline shows of a card in one line; empty where it says nothing."""
    for name in _TITLES:
        # What a rating calls its subject is another object's key.
        if card.get(name) and (name, card.get("entity")) != ("subject", "rating"):
            return str(card[name]).split("\n", 1)[0][:140]
    return ""


def article_text(visible: Visible) -> str | None:
    """What full text search finds of an article; None where it is gone."""
    if visible.state != "live":
        return None
    parts = [visible.get("title"), *(visible.get("tags") or ()), visible.get("body")]
    return "\n".join(str(part) for part in parts if part)
