"""How several processes share one limit: who wants to send claims it on the bus, and the order there decides.

Each process reads back what all have claimed and comes to the same answer: a claim gets what is free within the window
at its place in the log, by the bus's clock. It holds for a moment only, and what is not used of it is lost: so it says
how long it holds, which is longer where the bus is slow, and counts for so much longer. Nothing is given back: what a
process held that has died leaves the window like what was spent. When a source wants silence that is told here, too.
"""

import asyncio
import heapq
import itertools
import secrets
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.bus import Batch, Bus, Message, Record
from core.bus.topics import QUOTA, partition_of
from core.errors import TransientError
from core.ingest.pace import patiently
from core.ingest.quota import LOOK, PURPOSES, SLICES, Purpose, room
from core.ingest.status import Clock

_LONGEST_HOLD = 1.0  # seconds for which a claim holds beyond what the bus needs, at most
_HOLD = 0.2  # of the window
_SLOWEST = 5.0  # seconds that we allow the bus for a claim
_CALMER = 0.9  # of what the bus has needed is still allowed for with each quicker claim
_LONGEST_PAUSE = 86_400.0  # seconds for which a source is believed to want silence
_PAUSES = 900.0  # seconds before our start in which we look for one that was told; who starts later asks once
_AGAIN = 1.0  # seconds between two looks for one, where no claim is read
_SKEW = 5.0  # seconds by which our clock may differ from the bus's, where we begin to read
_WITHIN = 5.0  # seconds until we should have read what we have claimed
_PAGE = 1000


def hold(per: float, slow: float = 0.0) -> float:
    """Seconds for which a claim on a limit of `per` seconds holds, where the bus may need `slow` seconds for it."""
    return min(_LONGEST_HOLD, per * _HOLD) + slow


def patience(per: float) -> float:
    """Seconds after which one who was refused asks again."""
    return max(LOOK, per / SLICES)


@dataclass(slots=True)
class _Granted:
    """What was granted of one limit; the same in all processes, because they read the same log."""

    counting: list[tuple[float, Purpose, int]] = field(default_factory=list)  # a heap by when each is forgotten
    spent: Counter[Purpose] = field(default_factory=Counter)
    refused: dict[Purpose, float] = field(default_factory=dict)

    def apply(self, purpose: Purpose, count: int, most: int, per: float, holds: float, at: float) -> int:
        """What is granted may be sent until `holds` seconds after `at`, and counts for `per` seconds from then on, and
        a little longer, because no two requests are equally long on their way."""
        while self.counting and self.counting[0][0] <= at:
            _, forgotten, number = heapq.heappop(self.counting)
            self.spent[forgotten] -= number
        waiting = {each for each, since in self.refused.items() if at - since < patience(per) * 3} | {purpose}
        granted = min(count, room(most, self.spent, self.spent.total(), waiting, purpose))
        if granted:
            heapq.heappush(self.counting, (at + holds + per + per / SLICES, purpose, granted))
            self.spent[purpose] += granted
        if granted < count:
            self.refused[purpose] = at
        return granted


class Claims:
    """One per process. `clock` gives the time of day, which is the bus's, too, but for seconds."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._me = secrets.token_hex(8)
        self._count = itertools.count()
        self._positions: dict[int, int] = {}
        self._granted: dict[str, _Granted] = defaultdict(_Granted)
        self._mine: dict[str, int | None] = {}
        self._reading: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # by partition
        self._pauses: dict[str, float] = {}  # by key: until when, epoch seconds
        self._looked: dict[str, float] = {}  # by key: when we last knew all, by the loop's clock
        self._slow = 0.0  # seconds: what the bus has lately needed for a claim

    async def claim(self, key: str, purpose: Purpose, count: int, most: int, per: float) -> tuple[float, int]:
        """Until when (epoch seconds) how many of `count` requests may be sent. `key` names the limit, of which `most`
        may be spent within `per` seconds by all together. Waits while the bus is down."""
        mark, holds = f"{self._me}-{next(self._count)}", hold(per, 2 * self._slow)
        value = {"mark": mark, "for": purpose, "count": count, "most": most, "per": per, "hold": holds}
        message = Message(QUOTA, key, orjson.dumps(value))
        partition = partition_of(message, len(await patiently(lambda: self._bus.range(QUOTA))))
        async with self._reading[partition]:
            await self._begin(partition, per)
        self._mine[mark] = None
        # Counted from before the bus can have it, so that it never holds longer for us than for the others.
        began = self._clock().timestamp()
        try:
            await patiently(lambda: self._bus.publish([message]))
            async with self._reading[partition]:
                await self._read(partition, mark)
            if self._mine[mark] is not None:
                self._looked[key] = asyncio.get_running_loop().time()
            return began + holds, self._mine[mark] or 0
        finally:
            del self._mine[mark]
            needed = max(self._clock().timestamp() - began, self._slow * _CALMER)
            self._slow = min(needed, _SLOWEST / 2)  # an outage is soon forgotten

    async def pause(self, key: str, seconds: float) -> None:
        """Tell all processes that the source wants to be left alone. Where the bus is down nobody is told."""
        value = orjson.dumps({"pause": float(min(seconds, _LONGEST_PAUSE))})
        with suppress(TransientError, TimeoutError):
            async with asyncio.timeout(_WITHIN):
                await self._bus.publish([Message(QUOTA, key, value)])

    async def paused(self, key: str) -> float:
        """Until when (epoch seconds) the source wants to be left alone, as far as any process was told a second ago. A
        bus that is down is not waited for."""
        if self._stale(key):
            with suppress(TransientError, TimeoutError):
                async with asyncio.timeout(_WITHIN):
                    await self._look(key)
            self._looked[key] = asyncio.get_running_loop().time()
        return self._pauses.get(key, 0.0)

    def _stale(self, key: str) -> bool:
        return key not in self._looked or asyncio.get_running_loop().time() - self._looked[key] >= _AGAIN

    async def _look(self, key: str) -> None:
        """Read to the head, unless somebody has just done so."""
        partition = partition_of(Message(QUOTA, key, None), len(await self._bus.range(QUOTA)))
        async with self._reading[partition]:
            await self._begin(partition, 0.0)
            while self._stale(key):
                begin = self._positions[partition]
                batch = await self._bus.read(QUOTA, partition, begin, _PAGE)
                self._take(batch)
                if batch.end <= begin:
                    self._looked[key] = asyncio.get_running_loop().time()

    async def _begin(self, partition: int, per: float) -> None:
        """What was granted before we came counts, too."""
        if partition not in self._positions:
            back = max(_PAUSES, per + hold(per, _SLOWEST)) + _SKEW
            since = int((self._clock().timestamp() - back) * 1000)
            self._positions |= {
                each: offset
                for each, offset in (await patiently(lambda: self._bus.at_time(QUOTA, since))).items()
                if each == partition
            }

    async def _read(self, partition: int, mark: str) -> None:
        """Until our own claim comes by. One that does not, because a broker has lost it, grants nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WITHIN):
                while self._mine[mark] is None:
                    begin = self._positions[partition]
                    batch = await patiently(lambda begin=begin: self._bus.read(QUOTA, partition, begin, _PAGE))  # type: ignore[misc]
                    self._take(batch)

    def _take(self, batch: Batch) -> None:
        for record in batch.records:
            self._apply(record)
        self._positions[batch.partition] = batch.end

    def _apply(self, record: Record) -> None:
        said: Any = orjson.loads(record.value or b"{}")
        match said:
            case {"mark": str(mark), "for": purpose, "count": int(count), "most": int(most), "per": float(per)}:
                if purpose not in PURPOSES:
                    return  # of a newer hub
                holds, at = float(said.get("hold", hold(per))), record.timestamp / 1000
                granted = self._granted[record.key].apply(purpose, count, most, per, holds, at)
                if mark in self._mine:
                    self._mine[mark] = granted
            case {"pause": float(seconds)}:
                until = record.timestamp / 1000 + min(seconds, _LONGEST_PAUSE)
                self._pauses[record.key] = max(until, self._pauses.get(record.key, 0.0))


@dataclass(slots=True)
class Purse:
    """What one process may send of one limit, as claimed; more is claimed at a time while all of it is used."""

    claims: Claims
    key: str
    _held: dict[Purpose, tuple[float, int]] = field(default_factory=dict)  # until when, how many
    _sizes: dict[Purpose, int] = field(default_factory=dict)
    _asking: dict[Purpose, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def take(self, purpose: Purpose, most: int, per: float, clock: Clock) -> bool:
        """Whether one request may be sent at once."""
        if self._spend(purpose, clock):
            return True
        async with self._asking[purpose]:
            if self._spend(purpose, clock):
                return True
            size = self._size(purpose, most, clock().timestamp() - hold(per))
            self._held[purpose] = await self.claims.claim(self.key, purpose, size, most, per)
            self._sizes[purpose] = self._held[purpose][1]
            return self._spend(purpose, clock)

    def _spend(self, purpose: Purpose, clock: Clock) -> bool:
        until, left = self._held.get(purpose, (0.0, 0))
        if left <= 0 or clock().timestamp() >= until:
            return False
        self._held[purpose] = until, left - 1
        return True

    def _size(self, purpose: Purpose, most: int, recent: float) -> int:
        """Twice as many as were granted the last time, where that was `recent` and none is left, else one."""
        until, left = self._held.get(purpose, (0.0, 0))
        if left or until < recent:
            return 1
        return max(1, min(2 * self._sizes[purpose], most // SLICES))
