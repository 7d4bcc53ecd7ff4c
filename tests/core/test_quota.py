"""One budget per source account, shared by all that ask it: against a server that enforces its limit to the letter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from core.config.model import Connection
from core.ingest import Client, Treasury, sessions
from core.ingest.quota import Purpose, Window, room, usable
from tests.hubs import until
from tests.limited import Fast, Limited, Still
from tests.source import serving


@dataclass
class Desk:
    """A process of the hub that asks one source."""

    source: Limited
    time: Fast
    session: aiohttp.ClientSession
    accounts: dict[str, str] = field(default_factory=lambda: {"desk": "acme", "desk2": "acme"})

    def clients(self, *connections: Connection) -> list[Client]:
        treasury = Treasury({each.name: each for each in connections}, self.accounts, self.time.now)
        self.treasury = treasury
        return [
            Client(each, self.session, self.time.now, sleep=self.time.sleep, treasury=treasury) for each in connections
        ]


@asynccontextmanager
async def desk(
    *, limit: int = 100, tells: bool = False, speed: float = 50.0, time: Fast | None = None
) -> AsyncIterator[Desk]:
    time = time or Fast(speed)
    async with serving(Limited(time.now, limit=limit, tells=tells)) as source, sessions() as session:
        yield Desk(source, time, session)


@asynccontextmanager
async def flood(client: Client, purpose: Purpose, tasks: int = 4) -> AsyncIterator[None]:
    """Ask as fast as one may while the block runs."""

    async def ask() -> None:
        http = client.of(purpose)
        while True:
            await http.get("/me", purpose=purpose)

    running = [asyncio.create_task(ask()) for _ in range(tasks)]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        results = await asyncio.gather(*running, return_exceptions=True)
    for result in results:
        assert isinstance(result, asyncio.CancelledError), result


@pytest.mark.parametrize("tells", [True, False], ids=["headers", "no headers"])
async def test_a_backfill_is_never_refused_and_leaves_the_reserve_and_room_for_what_is_live(tells: bool) -> None:
    async with desk(tells=tells) as it:
        [client] = it.clients(it.source.connection())
        async with flood(client, "backfill"):
            await it.time.sleep(35)
        assert it.source.refused == 0
        assert it.source.least >= 20 + 20  # the reserve, and what backfills leave to others
        assert it.source.by_purpose["backfill"] > 60


@pytest.mark.parametrize("tells", [True, False], ids=["headers", "no headers"])
async def test_what_is_live_does_not_wait_for_a_backfill(tells: bool) -> None:
    async with desk(tells=tells) as it:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await it.time.sleep(seconds)

        connection = it.source.connection()
        [client] = it.clients(connection)
        live = Client(connection, it.session, it.time.now, sleep=sleep, treasury=it.treasury).of("live")
        async with flood(client, "backfill"):
            for _ in range(30):
                await live.get("/me", purpose="live")
                await it.time.sleep(1)
        assert not slept
        assert it.source.refused == 0 and it.source.least >= 20


@pytest.mark.slow
async def test_a_backfill_goes_on_while_what_is_live_takes_all_it_can() -> None:
    async with desk(limit=50, speed=20.0) as it:
        [client] = it.clients(it.source.connection())
        async with flood(client, "live", 8):
            await it.time.sleep(12)
            async with flood(client, "backfill"):
                await it.time.sleep(40)
                assert "backfill" in it.treasury.budget("desk").document()["waiting"]
        assert 3 <= it.source.by_purpose["backfill"] < it.source.by_purpose["live"] / 4
        assert it.source.refused == 0 and it.source.least >= 10


async def test_two_connections_of_one_account_share_a_budget_and_the_larger_reserve_holds() -> None:
    async with desk() as it:
        first, second = it.clients(it.source.connection(), it.source.connection("desk2", reserve=0.5))
        async with flood(first, "lookup"), flood(second, "lookup"):
            await it.time.sleep(25)
        assert it.source.refused == 0 and it.source.least >= 50
        assert it.treasury.budget("desk") is it.treasury.budget("desk2")


async def test_a_budget_is_joined_once_the_account_is_known() -> None:
    async with desk() as it:
        it.accounts.clear()
        first, _ = it.clients(it.source.connection(), it.source.connection("desk2"))
        assert it.treasury.budget("desk") is not it.treasury.budget("desk2")
        await first.get("/me")
        it.accounts |= {"desk": "acme", "desk2": "acme"}
        assert it.treasury.budget("desk") is it.treasury.budget("desk2")
        assert it.treasury.budget("desk2").document()["left"] == 79
        it.accounts["desk2"] = "other"
        assert it.treasury.budget("desk") is not it.treasury.budget("desk2")


async def test_the_sources_own_count_is_the_truth() -> None:
    """It knows of a larger limit than we do."""
    async with desk(limit=30, tells=True, speed=10.0) as it:
        [client] = it.clients(it.source.connection(quota=5))
        async with flood(client, "lookup"):
            await until(lambda: it.treasury.budget("desk").document().get("left") == 0, "all is spent")
        assert it.source.by_purpose["lookup"] > 5
        assert it.treasury.budget("desk").document() == {
            "limit": 30, "per": 10.0, "reserve": 6, "left": 0, "waiting": {}, "paused_until": None}  # fmt: skip


async def test_other_tools_have_their_reserve_first_and_what_they_take_beyond_it_is_gone_for_us() -> None:
    time = Still()
    async with desk(limit=20, tells=True, time=time) as it:
        [client] = it.clients(it.source.connection())
        it.source.others(3)
        async with flood(client, "lookup", 1):
            await until(lambda: it.source.least <= 1, "we have our share")
            await time.sleep(3)
        assert (it.source.refused, it.source.least) == (0, 1), "they had taken 3 of their 4: the other one stays"
        time.pass_by(11)
        it.source.others(12)
        async with flood(client, "lookup", 1):
            await until(lambda: it.source.least == 0, "they took more than theirs: what is left is anybody's")
        assert it.source.refused == 0


def test_rooms_by_purpose() -> None:
    assert usable(100, 0.2) == 80 and usable(1, 0.9) == 1
    assert room(80, {}, 0, {"backfill"}, "backfill") == 60
    assert room(80, {"backfill": 60}, 60, {"backfill", "live"}, "backfill") == 0
    assert room(80, {"backfill": 60}, 60, {"backfill", "live"}, "live") == 16
    assert room(80, {"live": 76}, 76, {"backfill"}, "backfill") == 2
    assert room(80, {"live": 70}, 70, {"backfill", "live"}, "live") == 4
    assert room(80, {"lookup": 80}, 80, {"backfill"}, "backfill") == 0
    assert room(1, {}, 0, {"backfill"}, "backfill") == 1
    assert room(80, {}, 0, {"live", "backfill"}, "backfill") == 2
    assert room(80, {"backfill": 2}, 2, {"live", "backfill"}, "backfill") == 0


def test_a_window_forgets_late_rather_than_early() -> None:
    window = Window(10.0)
    window.add("live", 3, 100.0)
    assert window.spent(110.4) == {"live": 3} and window.frees(110.4) == pytest.approx(0.1)
    assert window.spent(110.5) == {}
    assert window.frees(111.0) == 0.0
