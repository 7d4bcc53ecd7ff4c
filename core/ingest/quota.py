"""How many requests a purpose may send now. Pure: no I/O, no clock.

Rule 1: `reserve` of a limit is not ours: it stays for the company's other tools, as far as they do not use it already.
Rule 2: the rest may be filled by each purpose up to its share only, so that a backfill always leaves room for what is
live, and what is live for a person who asks. Above its share a purpose waits until older requests leave the window.
Rule 3: while a higher purpose waits, the lower ones get no more than their floor, or the faster asker would win.
Rule 4: a purpose that waits gets its floor all the same, and the higher ones leave it free: nobody starves for ever.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

Purpose = Literal["lookup", "live", "sweep", "backfill"]
PURPOSES: tuple[Purpose, ...] = ("lookup", "live", "sweep", "backfill")  # the highest first
SHARE: Mapping[Purpose, float] = {"lookup": 1.0, "live": 0.95, "sweep": 0.85, "backfill": 0.75}
FLOOR = 0.03
SLICES = 20  # a window forgets in so many steps
LOOK = 0.25  # seconds; what ends flights or windows elsewhere is noticed within this


def usable(limit: int, reserve: float) -> int:
    """What we may spend of a limit; never nothing, or a small limit would stop all."""
    return max(1, int(limit * (1 - reserve)))


def room(most: int, spent: Mapping[Purpose, int], total: int, waiting: Collection[Purpose], purpose: Purpose) -> int:
    """How many more requests `purpose` may send, where `most` are usable, `total` count as spent and `spent` of them by
    purpose."""
    floor = max(1, int(most * FLOOR))
    higher, lower = PURPOSES[: PURPOSES.index(purpose)], PURPOSES[PURPOSES.index(purpose) + 1 :]
    owed = sum(max(0, floor - spent.get(each, 0)) for each in lower if each in waiting)
    shared = 0 if any(each in waiting for each in higher) else int(most * SHARE[purpose]) - total - owed
    own = min(floor - spent.get(purpose, 0), most - total)
    return max(0, shared, own)


class Window:
    """How many were spent within the last `per` seconds; a slice is forgotten as a whole, late rather than early."""

    def __init__(self, per: float) -> None:
        self.per = per
        self._slices: deque[tuple[float, Counter[Purpose]]] = deque()  # when each ends, in order

    def add(self, purpose: Purpose, count: int, at: float) -> None:
        if not self._slices or self._slices[-1][0] <= at:
            self._slices.append((at + self.per / SLICES, Counter()))
        self._slices[-1][1][purpose] += count

    def spent(self, at: float) -> Counter[Purpose]:
        while self._slices and self._slices[0][0] + self.per <= at:
            self._slices.popleft()
        return sum((counts for _, counts in self._slices), Counter())

    def frees(self, at: float) -> float:
        """Seconds until the oldest slice is forgotten."""
        return max(0.0, self._slices[0][0] + self.per - at) if self._slices else 0.0


@dataclass(slots=True)
class Meter:
    """One limit of one source account as one process knows it. Times are epoch seconds; `limit` None: not known yet."""

    limit: int | None
    window: Window
    path: str = ""
    flying: Counter[Purpose] = field(default_factory=Counter)
    _remaining: int = 0
    _others: int = 0  # what the company's other tools had spent of the window when `_remaining` was told
    _until: float = 0.0  # what was told holds so long
    _landed: int = 0  # since it was told

    def told(self, remaining: int, at: float, *, limit: int | None, until: float | None) -> None:
        """The source's own count, which includes what other tools and other processes spend, and the request that is
        told so, which flies until it lands (but did not start here where this meter is made for what it was told)."""
        if limit is not None:
            self.limit = limit
        elif self.limit is None or remaining > self.limit:
            self.limit = remaining
        assert self.limit is not None
        self._remaining, self._landed = remaining, -min(1, self.flying.total())
        self._others = max(0, self.limit - remaining - (self.window.spent(at) + self.flying).total())
        self._until = at + self.window.per if until is None else until

    def start(self, purpose: Purpose) -> None:
        self.flying[purpose] += 1

    def land(self, purpose: Purpose, at: float) -> None:
        """It counts from its answer on: not before has the source surely counted it."""
        self.flying[purpose] -= 1
        self._landed += 1
        self.window.add(purpose, 1, at)

    def wait(self, purpose: Purpose, waiting: Collection[Purpose], reserve: float, at: float) -> float:
        """Seconds until `purpose` should ask again; 0: it may send now."""
        if self.limit is None:
            return 0.0
        most = usable(self.limit, reserve)
        spent = self.window.spent(at) + self.flying
        own = spent.total()
        if room(most, spent, max(own, most - self._left(reserve, at)), waiting, purpose):
            return 0.0
        if not room(most, spent, own, waiting, purpose):
            return self.window.frees(at) or LOOK
        return max(self._until - at, 0.001)

    def left(self, reserve: float, at: float) -> int | None:
        """What we may still spend in this window, for people to see."""
        if self.limit is None:
            return None
        most = usable(self.limit, reserve)
        return max(0, min(most - (self.window.spent(at) + self.flying).total(), self._left(reserve, at)))

    def _left(self, reserve: float, at: float) -> int:
        assert self.limit is not None
        most = usable(self.limit, reserve)
        if at >= self._until:
            return most
        kept = max(0, self.limit - most - self._others)
        return self._remaining - self._landed - self.flying.total() - kept
