"""The ledger: what came, by which way, and what of it webhooks should have told and did not. Pure: no I/O, no clock.

An event that a sweep read over a connection that takes webhooks is *missing* (webhooks missed it) when

- the hub did not know the object (new), or
- the object was alive and is not any more (gone), or
- it changes what the object says, and the source's clock on it is newer than all that the hub had of it (newer), or
- it changes what the object says although no clock moved: the source has none, or the hub had read the object whole at
  this very clock (newer).

Of equal clocks both must be reads, and each so long after its clock that nothing of the same moment could come behind
it: what a webhook told in that moment, and the hub's own earlier reading outranked, was told. And both must be readings
of one revision of the connector: what a new one makes of the same payload is no news of the source.

What came and went unseen is not missing: nothing of it was ever to be shown. What a listing found is missing by the
same rules. It is *repaired* once the event is applied, in the same transaction.
A read within a minute of the state's own clock is *early*: its webhook may still be on its way; but not where it is
dated by the read itself, as the one before it was. Backfills fetch the past, of which no webhook was ever sent, and
connections without webhooks, or streams of which none tells, are only read: there nothing is missing.

Hours are those of `received`, which the event carries, so that whenever it is processed it counts for the same hour;
and the counts are written with the offsets, so that it counts once.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core.bus.codec import Incoming
from core.projection import Registers, Visible, of_look
from core.store import LedgerRow, RepairRow

HOUR = 3_600_000  # ms
GRACE = 60_000  # ms
_READ = frozenset({"sweep", "listing"})
_SETTLED = 1  # `read` of an order: no push of the same moment can be later


class Before(NamedTuple):
    """What the hub had of an object: the newest clock (-1: it was unknown), whether that was the time of a look, the
    order of its last whole state (None: there was none), and what it said."""

    clock: int
    looked: bool
    whole: tuple[int, ...] | None
    said: Visible


class Found(NamedTuple):
    """An event that webhooks should have told. `what`: new, newer or gone."""

    event: Incoming
    what: str
    early: bool


def before(event: Incoming, registers: Registers) -> Before | None:
    """To be called before the event is applied; None where it cannot be missing."""
    if not event.origin.hooked or event.origin.way not in _READ:
        return None
    return Before(registers.clock(), registers.looked(), registers.whole(), registers.visible())


def found(event: Incoming, had: Before, registers: Registers) -> Found | None:
    """To be called after; None where the event told nothing that webhooks missed."""
    what = _what(event, had, registers)
    # A deletion that a listing found carries the time at which it was noticed.
    timed = event.order[0] > 0 and (event.origin.way, what) != ("listing", "gone")
    undated = had.looked and of_look(event.order, event.received)
    early = timed and not undated and event.received - event.order[0] < GRACE
    return Found(event, what, early) if what else None


def _what(event: Incoming, had: Before, registers: Registers) -> str | None:
    clock = event.order[0]
    if had.clock < 0:
        return "new" if event.action == "upserted" else None
    if clock and clock <= had.clock and not _read_again(event.order, had):
        return None
    now = registers.visible()
    if now.state != "live":
        return "gone" if had.said.state == "live" else None
    return "newer" if _says(now) != _says(had.said) else None


def _read_again(order: Sequence[int], had: Before) -> bool:
    """Whether the hub had a whole reading of this clock, by the same revision, and both were made late enough."""
    clock, read, _, mapper = order
    if clock != had.clock or read != _SETTLED or had.whole is None:
        return False
    return (had.whole[0], had.whole[1], had.whole[3]) == (clock, read, mapper)


def _says(visible: Visible) -> tuple[str, dict[str, object]]:
    return visible.state, {name: fact.value for name, fact in visible.facts.items()}


def entries(
    events: Iterable[Incoming], found: Sequence[Found], failed: Sequence[Incoming]
) -> tuple[list[LedgerRow], list[RepairRow]]:
    """What to add for a batch: `events` are all of it, `failed` those that could not be applied."""
    counts: dict[tuple[str, int, str, str], list[int]] = {}
    for event in events:
        if event.origin.way:
            counts.setdefault(_place(event), [0, 0, 0, 0])[0] += 1
    repairs: dict[tuple[str, str], RepairRow] = {}
    lost = {id(event) for event in failed}
    for event, what, early in found:
        count = counts.setdefault(_place(event), [0, 0, 0, 0])
        if early:
            count[2] += 1
            continue
        count[1] += 1
        if id(event) not in lost:
            count[3] += 1
            row = RepairRow(
                event.connection, event.subject, event.received, event.origin.stream, event.origin.way, what
            )
            repairs[row.connection, row.key] = row
    return [LedgerRow(*place, *count) for place, count in counts.items()], list(repairs.values())


def _place(event: Incoming) -> tuple[str, int, str, str]:
    return event.connection, event.received - event.received % HOUR, event.origin.stream, event.origin.way
