"""What needs work on a record, and for whom. Pure."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

_OPEN = {
    "conversations": frozenset({"open", "pending", "snoozed"}),
    "calls": frozenset({"ringing", "in_progress"}),
    "tasks": frozenset({"open"}),
    "deals": frozenset({"open"}),
}


class Needs(NamedTuple):
    """Whether a call rings, and the keys of the staff to whom ringing calls and open items are assigned."""

    ringing: bool
    ringing_for: frozenset[str]
    open_for: frozenset[str]


def open_items(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Open conversations, calls, tasks and deals."""
    for name, states in _OPEN.items():
        for card in record.get(name) or ():
            if (card.get("status") or card.get("state")) in states:
                yield card


@lru_cache(maxsize=1_024)
def needs(record: bytes) -> Needs:
    """Read once per version, however many subscribers ask."""
    parsed = orjson.loads(record)
    ringing = parsed.get("ringing") or []
    ringing_for = frozenset(filter(None, map(_assignee, ringing)))
    return Needs(bool(ringing), ringing_for, ringing_for | frozenset(filter(None, map(_assignee, open_items(parsed)))))


def _assignee(card: Mapping[str, Any]) -> str | None:
    key = (card.get("assignee") or card.get("owner") or {}).get("key")
    return str(key) if key else None
