"""Lets onto the bus what polls bring, so that no delivery waits behind much of it.

What first fetches bring has a topic of its own, which process reads while no delivery is under way: it only must not
pile up there. What sweeps bring goes the way of deliveries: in lots, each only after process has taken the one before.
How large such a lot is follows from the time that it took. While deliveries come it is small, and most of the time is
theirs alone; where nobody would notice, it is as large as pays.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from core.errors import TransientError
from core.ingest.pace import Lag, Pace, live_first
from core.precedence import Precedence

BUSY, QUIET = 0.02, 0.25  # seconds that a lot may take until process has it; or twice as long as the quickest
REST = 6.0  # so much longer than the lot took is the pause after it, while deliveries come
LEAST, SOME, MOST = 5, 50, 500  # payloads of a lot; SOME: while deliveries come
FEW = 24  # payloads of first fetches that go onto the bus at once, while deliveries come
AHEAD, FAR_AHEAD = 300, 4_000  # events of first fetches that may wait for process; AHEAD: while deliveries come
LONGEST = 1.0  # seconds for which a sweep waits for process: where live alone keeps it busy, a lot goes all the same
_LOOK = 0.003
_LOOK_PAST = 0.1  # each look asks bus and store


class Turns:
    """One per process, for all of its polls. `lag` says how many events process has still to take, `past` how many of
    those that first fetches brought."""

    def __init__(self, lag: Lag, past: Lag, pace: Pace, precedence: Precedence) -> None:
        self._lag, self._past, self._pace, self._precedence = lag, past, pace, precedence
        self._lock, self._past_lock = asyncio.Lock(), asyncio.Lock()  # neither of the two ways waits for the other
        self._size, self._quickest = LEAST, QUIET
        self._room = 0  # payloads of first fetches that may go onto the bus before anybody looks again
        self._usual = 0  # events: what process lags behind at the least, because of live ones alone

    @asynccontextmanager
    async def past(self) -> AsyncIterator[int]:
        """The turn to publish so many payloads of a first fetch."""
        async with self._past_lock:
            few = self._precedence.expected
            while (room := min(self._room, AHEAD) if few else self._room) <= 0:
                self._room = await self._room_for_more(AHEAD if few else FAR_AHEAD)
                if self._room <= 0:
                    await asyncio.sleep(_LOOK_PAST)
                few = self._precedence.expected
            size = min(FEW if few else MOST, room)
            self._room = room - size
            await self._precedence.free()
            yield size

    async def drained(self, longest: float) -> bool:
        """Until process has all that first fetches brought, or for so many seconds. Answers whether it has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                while True:
                    with suppress(TransientError):
                        if not await self._past():
                            return True
                    await asyncio.sleep(_LOOK_PAST)
        return False

    async def _room_for_more(self, ahead: int) -> int:
        """Nothing until some may come at once: each look takes its time."""
        try:
            room = ahead - await self._past()
        except TransientError:
            await live_first(self._lag, self._pace)
            return MOST
        return room if room >= ahead // 4 else 0

    @asynccontextmanager
    async def lot(self) -> AsyncIterator[int]:
        """The turn to publish so many payloads; left once process has them, or has been waited for long enough."""
        clock = asyncio.get_running_loop().time
        async with self._lock:
            await self._taken(clock() + LONGEST)
            began, busy = clock(), self._precedence.expected
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
            await self._precedence.free()
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
