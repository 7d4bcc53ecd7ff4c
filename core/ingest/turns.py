"""Lets onto the bus what polls bring: in lots, each only after process has taken the one before, so that no delivery
waits behind more than one.

How large a lot is follows from the time that it took. While deliveries come it is small, and most of the time is theirs
alone; where nobody would notice, it is as large as pays.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from core.errors import TransientError
from core.ingest.pace import Lag, Pace, live_first

BUSY, QUIET = 0.02, 0.25  # seconds that a lot may take until process has it; or twice as long as the quickest
REST = 6.0  # so much longer than the lot took is the pause after it, while deliveries come
LIVE = 30.0  # seconds after a delivery for which more are expected
LEAST, SOME, MOST = 5, 50, 500  # payloads of a lot; SOME: while deliveries come
LONGEST = 1.0  # seconds for which the past waits for process: where live alone keeps it busy, a lot goes all the same
_LOOK = 0.003
_NOD = 0.05  # seconds for which a payload gives way to deliveries at the door


class Arrivals:
    """The deliveries that are at the door now, from their first byte read until they are on the bus."""

    def __init__(self) -> None:
        self._count, self._last = 0, -LIVE
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        self._last = asyncio.get_running_loop().time()
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def none(self) -> None:
        """Until nobody is at the door, or there is always somebody."""
        await asyncio.sleep(0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOD):
                await self._none.wait()

    @property
    def expected(self) -> bool:
        """Whether more are to be expected, because some came of late."""
        return asyncio.get_running_loop().time() - self._last < LIVE


class Turns:
    """One per process, for all of its polls. `lag` says how many events process has still to take."""

    def __init__(self, lag: Lag, pace: Pace, arrivals: Arrivals) -> None:
        self._lag, self._pace, self._arrivals = lag, pace, arrivals
        self._lock = asyncio.Lock()
        self._size, self._quickest = LEAST, QUIET
        self._usual = 0  # events: what process lags behind at the least, because of live ones alone

    @asynccontextmanager
    async def lot(self) -> AsyncIterator[int]:
        """The turn to publish so many payloads; left once process has them, or has been waited for long enough."""
        clock = asyncio.get_running_loop().time
        async with self._lock:
            await self._taken(clock() + LONGEST)
            began, busy = clock(), self._arrivals.expected
            self._size = min(self._size, SOME if busy else MOST)
            yield self._size
            await self._taken(began + LONGEST)
            self._learn(took := clock() - began, BUSY if busy else QUIET)
            if busy:
                await asyncio.sleep(min(took, QUIET) * REST)

    def _learn(self, took: float, target: float) -> None:
        self._quickest = min(took, self._quickest * 1.01)  # what was quick once may be so no more
        more = took < max(target, 2 * self._quickest)
        self._size = self._size + max(1, self._size // 4) if more else max(LEAST, self._size * 3 // 4)

    async def _taken(self, until: float) -> None:
        """Until process has what is on the bus, or all but what is usual; not for ever, unless it lags far behind."""
        await live_first(self._lag, self._pace)
        least = self._pace.most_lag
        while True:
            await self._arrivals.none()
            try:
                least = min(least, await self._lag())
                if least <= self._usual:
                    self._usual = least
                    return
            except TransientError:
                await live_first(self._lag, self._pace)
            if asyncio.get_running_loop().time() >= until:
                self._usual = least
                return
            await asyncio.sleep(_LOOK)
