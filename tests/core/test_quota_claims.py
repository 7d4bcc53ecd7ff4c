"""Processes that share a limit by what they claim on the bus: a bus that is slow costs some of it, never all, and
never lets more through. On the real embedded bus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.ingest import Claims
from core.ingest.claims import Purse, hold
from core.ingest.quota import SLICES


class Slow:
    """A bus that needs some seconds before it takes a message (`before`), until it says so (`after`), and to read;
    `most` were reading at once."""

    def __init__(self, bus: Bus, *, before: float = 0.0, after: float = 0.0, read: float = 0.0) -> None:
        self._bus, self._before, self._after, self._read = bus, before, after, read
        self._reading = self.most = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, messages: Sequence[Message]) -> None:
        await asyncio.sleep(self._before)
        await self._bus.publish(messages)
        await asyncio.sleep(self._after)

    async def read(self, *arguments: Any) -> Any:
        self._reading += 1
        self.most = max(self.most, self._reading)
        await asyncio.sleep(self._read)
        self._reading -= 1
        return await self._bus.read(*arguments)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        yield bus


def process(bus: Bus, **slow: float) -> Claims:
    made: Any = Slow(bus, **slow)
    return Claims(made, now)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "per", "slow"),
    [("before", 1.0, 0.25), ("after", 1.0, 0.25), ("read", 1.0, 0.25), ("before", 10.0, 1.1)],
)
async def test_a_bus_that_needs_longer_than_a_claim_holds_starves_nobody(
    bus: Bus, when: str, per: float, slow: float
) -> None:
    purse = Purse(process(bus, **{when: slow}), "desk|acme|")
    taken = [await purse.take("live", 100, per, now) for _ in range(4)]
    assert taken.count(True) == 3, "but for the first, with which the bus is measured"


async def test_an_outage_of_the_bus_is_soon_forgotten(bus: Bus) -> None:
    leap = [0.0, 600.0]  # by which the clock is ahead, and will be after the next claim

    class Out(Slow):
        async def publish(self, messages: Sequence[Message]) -> None:
            await super().publish(messages)
            leap[0] = leap[1]

    out: Any = Out(bus)
    claims = Claims(out, lambda: now() + timedelta(seconds=leap[0]))
    held = []
    for _ in range(21):
        until, _ = await claims.claim("desk|acme|", "live", 1, 100, 1.0)
        held.append(until - now().timestamp() - leap[1])
    assert held[0] < 0 and hold(1.0) < held[1] <= hold(1.0, 5.0)
    assert held[-1] < 1.0


async def test_a_dozen_sources_do_not_wait_for_one_another(bus: Bus) -> None:
    slow: Any = Slow(bus, read=0.04)
    claims = Claims(slow, now)
    purses = [Purse(claims, f"desk{number}|acme|") for number in range(12)]

    async def ask(purse: Purse) -> int:
        return sum([await purse.take("live", 100, 1.0, now) for _ in range(8)])

    assert min(await asyncio.gather(*map(ask, purses))) >= 7
    assert slow.most > 1


@pytest.mark.slow
async def test_no_window_sees_more_than_the_limit_however_slow_the_bus_is_for_whom(bus: Bus) -> None:
    most, per, sent = 20, 1.0, []
    buses = [{}, {"before": 0.3}, {"after": 0.6}, {"read": 0.15}]

    async def ask(purse: Purse) -> int:
        mine = 0
        while monotonic() < end:
            if await purse.take("lookup", most, per, now):
                sent.append(monotonic())
                mine += 1
            await asyncio.sleep(0.01)
        return mine

    end = monotonic() + 4.0
    shares = await asyncio.gather(*(ask(Purse(process(bus, **slow), "desk|acme|")) for slow in buses for _ in range(2)))
    fullest = max(sum(begin <= at < begin + per for at in sent) for begin in sent)
    assert fullest <= most
    assert len(sent) >= 2 * most, "and yet it is used"
    assert min(shares[0], shares[1]) > 0


async def test_what_a_process_held_that_died_comes_back_after_the_window_and_not_before(bus: Bus) -> None:
    per = 0.6
    _, granted = await process(bus).claim("desk|acme|", "lookup", 20, 20, per)
    died = monotonic()
    assert granted == 20
    other, again = process(bus), process(bus)  # one that lives, and the dead one's successor
    while (freed := sum([(await each.claim("desk|acme|", "lookup", 10, 20, per))[1] for each in (other, again)])) == 0:
        await asyncio.sleep(0.02)
    held = monotonic() - died
    assert freed >= 10
    assert per + hold(per) <= held + 0.02 and held < per + hold(per) + per / SLICES + 0.5
