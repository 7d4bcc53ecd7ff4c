"""Cards: each object's rendered piece of the record, and how it stands in a timeline. Pure."""

from dataclasses import dataclass
from typing import Any

import orjson

from core.projection.registers import Registers, Visible
from core.sdk import from_ms

_OPEN: dict[str, frozenset[str]] = {
    "conversation": frozenset({"open", "pending", "snoozed"}),
    "call": frozenset({"ringing", "in_progress"}),
    "deal": frozenset({"open"}),
    "invoice": frozenset({"open", "overdue", "uncollectible"}),
    "billing_subscription": frozenset({"active", "trialing", "past_due"}),
}
_LONGEST = 2_000  # characters of one text in a card; the whole stands in the object's registers
_TITLES = ("title", "subject", "preview", "summary", "body", "comment", "number")


@dataclass(frozen=True, slots=True)
class Activity:
    """An activity as the store keeps it. `parties` are (role, person key or None, identifier or None) as the source
    wrote them; `card` None where the object is gone."""

    at: str
    open: bool
    parent: str | None
    parties: tuple[tuple[str, str | None, tuple[str, str, str | None] | None], ...]
    card: bytes | None


def activity(key: str, registers: Registers, visible: Visible) -> Activity:
    """Render an activity's card. A deleted one keeps its parties, so that their records are folded once more."""
    at = visible.get("at") or visible.get("created_at") or from_ms(visible.first) or ""
    parties = tuple(_party(party) for party in visible.get("parties") or ())
    if visible.state != "live":
        return Activity(at, False, visible.get("conversation"), parties, None)
    status = visible.get("status") or visible.get("state") or ""
    open_ = status == "open" if registers.entity == "task" else status in _OPEN.get(registers.entity, ())
    return Activity(at, open_, visible.get("conversation"), parties, _card(key, registers, visible, at))


def _party(party: dict[str, Any]) -> tuple[str, str | None, tuple[str, str, str | None] | None]:
    identifier = party.get("identifier")
    named = (identifier["kind"], identifier["value"], identifier.get("namespace")) if identifier else None
    return party["role"], party.get("person"), named


def _card(key: str, registers: Registers, visible: Visible, at: str) -> bytes:
    event, observed = registers.newest() or ("", 0)
    vendor, account, *_ = key.split("/")
    card: dict[str, Any] = {
        "key": key,
        "entity": registers.entity,
        "source": f"{vendor}/{account}",
        "at": at,
        "event": event,
        "observed": from_ms(observed),
    }
    for name, fact in sorted(visible.facts.items()):
        value = fact.value
        card.setdefault(name, value[:_LONGEST] if isinstance(value, str) else value)
    return orjson.dumps(card)


def title(card: dict[str, Any]) -> str:
    """What a timeline shows of a card in one line; empty where it says nothing."""
    for name in _TITLES:
        if card.get(name):
            return str(card[name]).split("\n", 1)[0][:140]
    return ""


def article_text(visible: Visible) -> str | None:
    """What full text search finds of an article; None where it is gone."""
    if visible.state != "live":
        return None
    parts = [visible.get("title"), *(visible.get("tags") or ()), visible.get("body")]
    return "\n".join(str(part) for part in parts if part)
