"""A source that refuses one process and says for how long is left alone by all. On the real embedded bus."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.topics import QUOTA
from core.config.model import Connection
from core.errors import RateLimitedError, TransientError
from core.ingest import Claims, Client, Patience, Treasury, sessions
from tests.ingesting import messages
from tests.limited import untold
from tests.source import Source, connection, serving


def now() -> datetime:
    return datetime.now(UTC)


def refusing(seconds: int) -> Any:
    return lambda _: web.json_response({}, status=429, headers={"Retry-After": str(seconds)})


@dataclass
class Desk:
    """Processes of the hub that ask one source, which tells nothing of a limit, or whose connector knows one."""

    source: Source
    bus: Bus
    session: aiohttp.ClientSession

    def process(
        self, *, limited: bool = False, bus: Any = None, longest: float = 0.5, later: timedelta = timedelta(0)
    ) -> Client:
        def clock() -> datetime:
            return now() + later

        made: Connection = (
            untold("desk", 100, timedelta(seconds=10), self.source.url)
            if limited
            else connection(base_url=self.source.url)
        )
        treasury = Treasury({"desk": made}, {"desk": "acme"}, clock, claims=Claims(bus or self.bus, clock))
        return Client(made, self.session, clock, treasury=treasury, patience=Patience(tries=1, longest=longest))

    async def told(self) -> list[float]:
        values = [orjson.loads(record.value or b"{}") for record in await messages(self.bus, QUOTA)]
        return [value["pause"] for value in values if "pause" in value]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    source = Source()
    async with (
        serving(source),
        sessions() as session,
        open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus,
    ):
        yield Desk(source, bus, session)


@asynccontextmanager
async def silent(source: Source) -> AsyncIterator[None]:
    """Nothing is asked within the block."""
    before = len(source.requests)
    yield
    assert len(source.requests) == before


async def refused(client: Client) -> float:
    """Seconds of silence that are left."""
    with pytest.raises(RateLimitedError) as raised:
        await client.get("/me")
    assert raised.value.retry_after is not None
    return raised.value.retry_after.total_seconds()


@pytest.mark.parametrize("limited", [True, False], ids=["a known limit", "no known limit"])
async def test_what_one_process_was_told_is_heeded_by_the_others_and_by_its_successor(
    desk: Desk, limited: bool
) -> None:
    one, other = desk.process(limited=limited), desk.process(limited=limited)
    desk.source.broken = refusing(600)
    await refused(one)
    async with silent(desk.source):
        for each in (one, other, desk.process(limited=limited)):
            assert 590 < await refused(each) <= 600


async def test_who_was_at_it_meanwhile_stops_within_a_second(desk: Desk) -> None:
    one, other = desk.process(), desk.process()
    await other.get("/me")
    desk.source.failing = [refusing(600)]
    await refused(one)
    await asyncio.sleep(1.0)
    async with silent(desk.source):
        await refused(other)


async def test_who_starts_minutes_later_finds_it_and_who_starts_much_later_asks_once(desk: Desk) -> None:
    desk.source.broken = refusing(3600)
    await refused(desk.process())
    async with silent(desk.source):
        assert 2990 < await refused(desk.process(later=timedelta(minutes=10))) <= 3000
    asked = len(desk.source.requests)
    await refused(desk.process(later=timedelta(minutes=20)))
    assert len(desk.source.requests) == asked + 1


async def test_it_ends_when_the_source_has_said(desk: Desk) -> None:
    one, other = desk.process(), desk.process(longest=5.0)
    desk.source.failing = [refusing(1)]
    await refused(one)
    began = now()
    await other.get("/me")
    assert timedelta(seconds=0.8) < now() - began < timedelta(seconds=4)


async def test_many_refusals_at_once_are_told_once(desk: Desk) -> None:
    one = desk.process()
    desk.source.broken = refusing(600)
    await asyncio.gather(*(refused(one) for _ in range(6)))
    assert len(desk.source.requests) > 1
    assert await desk.told() == [pytest.approx(600, abs=1)]


async def test_no_source_is_believed_for_longer_than_a_day(desk: Desk) -> None:
    desk.source.broken = refusing(90 * 86_400)
    await refused(desk.process())
    assert await refused(desk.process()) <= 86_400


async def test_a_bus_that_is_down_keeps_nobody_from_asking(desk: Desk) -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            return getattr(desk.bus, name)

        async def publish(self, messages: Sequence[Message]) -> None:
            raise TransientError("the bus is down")

        async def read(self, *_: Any) -> None:
            raise TransientError("the bus is down")

    one = desk.process(bus=Down())
    assert (await one.get("/me")).data == {"account": "acme"}
    desk.source.broken = refusing(600)
    assert await refused(one) > 590
    async with silent(desk.source):
        await refused(one)
