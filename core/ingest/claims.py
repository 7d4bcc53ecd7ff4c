"""How several processes share one limit: who wants to send claims it on the bus, and the order there decides.

Each process reads back what all have claimed and comes to the same answer: a claim gets what is free within the window
at its place in the log, by the bus's clock. It holds for a moment only, and what is not used of it is lost.
"""

import asyncio
import itertools
import secrets
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.bus import Bus, Message, Record
from core.bus.topics import QUOTA, partition_of
from core.ingest.pace import patiently
from core.ingest.quota import LOOK, PURPOSES, SLICES, Purpose, Window, room
from core.ingest.status import Clock

_LONGEST_HOLD = 1.0  # seconds for which a claim holds, at most
_HOLD = 0.2  # of the window
_SKEW = 5.0  # seconds by which our clock may differ from the bus's, where we begin to read
_WITHIN = 5.0  # seconds until we should have read what we have claimed
_PAGE = 1000


def hold(per: float) -> float:
    """Seconds for which a claim on a limit of `per` seconds holds."""
    return min(_LONGEST_HOLD, per * _HOLD)


def patience(per: float) -> float:
    """Seconds after which one who was refused asks again."""
    return max(LOOK, per / SLICES)


@dataclass(slots=True)
class _Granted:
    """What was granted of one limit; the same in all processes, because they read the same log."""

    window: Window = field(default_factory=lambda: Window(0.0))
    refused: dict[Purpose, float] = field(default_factory=dict)

    def apply(self, purpose: Purpose, count: int, most: int, per: float, at: float) -> int:
        self.window.per = per + hold(per)
        spent = self.window.spent(at)
        waiting = {each for each, since in self.refused.items() if at - since < patience(per) * 3} | {purpose}
        granted = min(count, room(most, spent, spent.total(), waiting, purpose))
        if granted:
            self.window.add(purpose, granted, at)
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
        self._reading = asyncio.Lock()

    async def claim(self, key: str, purpose: Purpose, count: int, most: int, per: float) -> int:
        """How many of `count` requests may be sent within `hold(per)` seconds from the call on. `key` names the limit,
        of which `most` may be spent within `per` seconds by all together. Waits while the bus is down."""
        mark = f"{self._me}-{next(self._count)}"
        value = orjson.dumps({"mark": mark, "for": purpose, "count": count, "most": most, "per": per})
        message = Message(QUOTA, key, value)
        partition = partition_of(message, len(await patiently(lambda: self._bus.range(QUOTA))))
        async with self._reading:
            await self._begin(partition, per)
        self._mine[mark] = None
        try:
            await patiently(lambda: self._bus.publish([message]))
            async with self._reading:
                await self._read(partition, mark)
            return self._mine[mark] or 0
        finally:
            del self._mine[mark]

    async def _begin(self, partition: int, per: float) -> None:
        """What was granted before we came counts, too."""
        if partition not in self._positions:
            since = int((self._clock().timestamp() - per - hold(per) - _SKEW) * 1000)
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
                    for record in batch.records:
                        self._apply(record)
                    self._positions[partition] = batch.end

    def _apply(self, record: Record) -> None:
        said: Any = orjson.loads(record.value or b"{}")
        match said:
            case {"mark": str(mark), "for": purpose, "count": int(count), "most": int(most), "per": float(per)}:
                if purpose not in PURPOSES:
                    return  # of a newer hub
                granted = self._granted[record.key].apply(purpose, count, most, per, record.timestamp / 1000)
                if mark in self._mine:
                    self._mine[mark] = granted


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
            until = clock().timestamp() + hold(per)
            size = self._size(purpose, most, until - 2 * hold(per))
            granted = await self.claims.claim(self.key, purpose, size, most, per)
            self._held[purpose] = until, granted
            self._sizes[purpose] = granted
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
