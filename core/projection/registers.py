"""What is known of one source object: every field a last-writer-wins register, and existence a register of its own.

Applying is commutative, associative and idempotent: any order, any number of times, the same bytes. A write wins by
(order key, event id). A `full` event also unsets every field whose last write is older than itself.

Existence: of equal order keys a deletion beats what lives, so that a source whose clock stood still meanwhile deletes
what it says; whoever brings the object back needs a later one. A deletion that was read and has no clock is a look that
did not find the object: it counts until the object is seen later, by a read that began after it or a push of a later
clock, however old the state that is seen; what was seen before changes nothing. A final deletion beats everything; an
erasure also empties the registers for good. A merge holds whatever else is said, except an erasure. `call.status`
compares its rank first, so that a terminal state is never left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

RANKS: dict[str, dict[str, dict[str, int]]] = {
    "call": {
        "status": {
            "ringing": 0,
            "in_progress": 1,
            "not_connected": 2,
            "missed": 3,
            "voicemail": 4,  # a missed call with a message is more than a missed call
            "answered": 5,
        }
    }
}
_NONE: dict[str, dict[str, int]] = {}
_Stamp = list[int]  # clock, read, sequence, mapper, received


class Write(Protocol):
    """An event, as schemas.event.Event and core.bus.codec.Incoming both are."""

    @property
    def id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def order(self) -> tuple[int, int, int, int]: ...
    @property
    def received(self) -> int: ...
    @property
    def mode(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def into(self) -> str | None: ...
    @property
    def final(self) -> bool: ...
    @property
    def erased(self) -> bool: ...


class Fact(NamedTuple):
    """A field's value, the event that wrote it, and when it was observed (epoch ms, by the source's clock if any)."""

    value: Any
    event: str
    observed: int


@dataclass(frozen=True, slots=True)
class Visible:
    """What an object says now. `state`: live, deleted, erased, or merged (then `into` is the surviving key).
    `departed`: deleted or erased, also where it was merged besides."""

    state: str
    facts: dict[str, Fact]
    into: str | None
    first: int  # epoch ms: when its first event was received
    departed: bool

    def get(self, field: str) -> Any:
        fact = self.facts.get(field)
        return fact.value if fact else None


class Registers:
    """One object's registers. `dump()` is canonical: equal states are equal bytes."""

    __slots__ = ("_events", "_exists", "_fields", "_full", "_into", "_lost", "_seen", "entity", "first")

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self.first = 0
        self._events: dict[str, _Stamp] = {}
        self._fields: dict[str, list[Any]] = {}  # field -> [event id, value]
        self._full: str | None = None
        self._exists: list[Any] | None = None  # [final, event id, state]
        self._into: list[str] | None = None  # [event id, key]
        self._lost: str | None = None  # event id of the latest look that did not find it
        self._seen = 0  # epoch ms: when it was last seen alive

    @classmethod
    def load(cls, data: bytes) -> "Registers":
        raw = orjson.loads(data)
        self = cls(raw["n"])
        self.first = raw["t"]
        self._events = raw["e"]
        self._fields = raw["f"]
        self._full = raw.get("u")
        self._exists = raw.get("x")
        self._into = raw.get("m")
        self._lost = raw.get("l")
        self._seen = raw.get("s", 0)
        return self

    def dump(self) -> bytes:
        raw: dict[str, Any] = {"n": self.entity, "t": self.first, "e": self._events, "f": self._fields}
        if self._full:
            raw["u"] = self._full
        if self._exists:
            raw["x"] = self._exists
        if self._into:
            raw["m"] = self._into
        if self._lost:
            raw["l"] = self._lost
        if self._seen:
            raw["s"] = self._seen
        return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)

    def apply(self, write: Write) -> None:
        """Take one event in. An event that is old or double changes nothing that can be seen."""
        if not (self._exists and self._exists[2] == "erased"):
            self.first = min(self.first, write.received) if self.first else write.received
            if write.action == "upserted":
                self._seen = max(self._seen, _seen_at(write))
        elif not write.erased:
            return
        stamp = [*write.order, write.received]
        known = self._events.get(write.id)
        if known is not None:
            if known[:4] > stamp[:4]:
                return
            if known[:4] == stamp[:4]:
                known[4] = min(known[4], stamp[4])
                self._prune()
                return
        self._events[write.id] = stamp
        match write.action:
            case "upserted":
                self._upsert(write)
                self._exist(write, "live")
            case "deleted" if _is_look(write):
                if self._lost is None or self._beats(write.id, self._lost):
                    self._lost = write.id
            case "deleted":
                self._exist(write, "erased" if write.erased else "deleted")
            case "merged":
                if self._into is None or self._beats(write.id, self._into[0]):
                    self._into = [write.id, write.into or ""]
        self._prune()

    def _rank(self, id: str) -> tuple[list[int], str]:
        return self._events[id][:4], id

    def _beats(self, challenger: str, holder: str) -> bool:
        return challenger == holder or self._rank(challenger) > self._rank(holder)

    def _upsert(self, write: Write) -> None:
        id, ranked = write.id, RANKS.get(self.entity, _NONE)
        newer: dict[str, bool] = {}  # than this event: the same few wrote all the fields
        for field, value in write.data.items():
            if held := self._fields.get(field):
                holder = held[0]
                if holder not in newer:
                    newer[holder] = not self._beats(id, holder)
                by_rank = _by_rank(ranked[field], value, held[1]) if field in ranked else 0
                if by_rank < 0 or (by_rank == 0 and newer[holder]):
                    continue
            self._fields[field] = [id, value]
        if write.mode == "full" and (self._full is None or self._beats(id, self._full)):
            self._full = id

    def _exist(self, write: Write, state: str) -> None:
        new = [write.final, write.id, state]
        if self._exists is None or self._lasts(new) >= self._lasts(self._exists):
            self._exists = new

    def _lasts(self, exists: list[Any]) -> tuple[Any, ...]:
        """The greater one counts."""
        final, id, state = exists
        return final, state == "erased", self._events[id][:4], state != "live", id

    def _prune(self) -> None:
        if self._exists and self._exists[2] == "erased":
            self._fields, self._full, self._into, self._lost, self._seen = {}, None, None, None, 0
            self.first = self._events[self._exists[1]][4]  # of what was before, nothing may remain
        if len(self._events) == 1:
            return
        if self._full:
            floor, ranked = self._rank(self._full), RANKS.get(self.entity, _NONE)
            older = {id for id in self._events if id != self._full and self._rank(id) < floor}
            for name in [name for name, (id, _) in self._fields.items() if id in older and name not in ranked]:
                del self._fields[name]
        used = {id for id, _ in self._fields.values()}
        held = self._full, self._exists and self._exists[1], self._into and self._into[0], self._lost
        used.update(id for id in held if id)
        if len(used) < len(self._events):
            self._events = {id: stamp for id, stamp in self._events.items() if id in used}

    @property
    def _existence(self) -> str:
        """live, deleted or erased, wherever it was merged."""
        state: str = self._exists[2] if self._exists else "live"
        lost = self._lost is not None and self._events[self._lost][4] >= self._seen
        return "deleted" if lost and state == "live" else state

    @property
    def state(self) -> str:
        """As Visible's."""
        state = self._existence
        return "merged" if self._into and state != "erased" else state

    def get(self, field: str) -> Any:
        """As Visible's."""
        held = self._fields.get(field)
        return held[1] if held else None

    def visible(self) -> Visible:
        """What the object says now; of a deleted or merged one, what it said last (nothing, if it was erased)."""
        events = self._events
        facts = {
            name: Fact(value, id, events[id][0] or events[id][4])
            for name, (id, value) in self._fields.items()
            if value is not None
        }
        return Visible(self.state, facts, self._into[1] if self._into else None, self.first, self._existence != "live")

    def clock(self) -> int:
        """The source's newest clock of all that was said (epoch ms); 0 where it has none, -1 where nothing was."""
        return max((stamp[0] for stamp in self._events.values()), default=-1)

    def looked(self) -> bool:
        """Whether the newest clock is that of the look which brought it."""
        newest = max(self._events.values(), default=None)
        return newest is not None and of_look(newest[:4], newest[4])

    def whole(self) -> tuple[int, ...] | None:
        """The order of the last write that told the whole state; None where none did."""
        return tuple(self._events[self._full][:4]) if self._full else None

    def newest(self) -> tuple[str, int] | None:
        """(event id, observed) of the latest write that still counts."""
        if not self._events:
            return None
        id = max(self._events, key=self._rank)
        return id, self._events[id][0] or self._events[id][4]


def of_look(order: Sequence[int], received: int) -> bool:
    """Whether a state is dated by when it was read, in ms or whole seconds, because its source has no clock for it."""
    clock, read, *_ = order
    return read != 0 and clock in (received, received - received % 1000)


def _is_look(write: Write) -> bool:
    """Whether somebody looked for the object and did not find it, which says nothing of when it went."""
    clock, read, *_ = write.order
    return write.action == "deleted" and not write.final and not clock and read != 0


def _seen_at(write: Write) -> int:
    """When it was alive (epoch ms): at the latest when a read began, or by the clock of what was pushed."""
    clock, read, *_ = write.order
    return write.received if read or not clock else clock


def _by_rank(ranks: Mapping[str, int], new: Any, old: Any) -> int:
    """Above zero where the new value goes first whatever the order, below where the old one does."""
    return ranks.get(new, -1) - ranks.get(old, -1)
