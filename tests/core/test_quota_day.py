"""A limit that begins anew at midnight: against a source that counts it, tells it, and refuses by its name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core.bus.embedded import open_embedded
from core.bus.topics import QUOTA
from core.config.model import Connection
from core.errors import RateLimitedError
from core.ingest import Client, Treasury, sessions
from core.ingest.claims import Claims
from core.sdk import Quota, RateHeaders
from tests.ingesting import messages
from tests.limited import Still
from tests.source import CONNECTOR, Config, Source, serving

QUARTER = 15 * 60.0
DAY = Quota(1_000, timedelta(days=1), headers=RateHeaders("x-day-left", limit="x-day"), policy="DAILY")


class Day(Source):
    """`limit` requests a day, of which `taken` are spent; `tells`: its headers say so, and those of a minute, too."""

    def __init__(self, limit: int = 20) -> None:
        super().__init__()
        self.limit, self.taken, self.tells = limit, 0, True
        self.resets = ""
        self.refused = self.flying = self.together = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.flying += 1
        self.together = max(self.together, self.flying)
        try:
            await asyncio.sleep(0.01)
            return await self._answer(request)
        finally:
            self.flying -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.taken += 1
        left = max(0, self.limit - self.taken)
        told = {"x-day": str(self.limit), "x-day-left": str(left), "x-remaining": "90"} if self.tells else {}
        told |= {"retry-after": self.resets} if self.resets else {}
        if self.taken <= self.limit:
            found = await super().answer(request)
            found.headers.update(told)
            return found
        self.refused += 1
        return web.json_response({"status": "error", "policyName": "DAILY"}, status=429, headers=told)

    def regular(self, request: web.Request, body: Any) -> web.Response:
        return web.json_response({"account": self.account})

    def connection(self, name: str = "desk") -> Connection:
        minute = Quota(100, timedelta(minutes=1))
        connector = replace(CONNECTOR, quota=lambda config: (minute, DAY), rate_headers=RateHeaders("x-remaining"))
        return Connection(name, connector, Config(type="desk", base_url=self.url))


@dataclass
class Desk:
    source: Day
    time: Still
    session: aiohttp.ClientSession
    treasury: Treasury

    def client(self, name: str = "desk") -> Client:
        made = self.source.connection(name)
        return Client(made, self.session, self.time.now, sleep=self.time.sleep, treasury=self.treasury)

    async def ask(self, client: Client, most: int = 100) -> tuple[int, RateLimitedError | None]:
        """How many are answered, and what ends them."""
        for count in range(most):
            try:
                await client.get("/me")
            except RateLimitedError as error:
                return count, error
        return most, None


@asynccontextmanager
async def desk(limit: int = 20) -> AsyncIterator[Desk]:
    time = Still(speed=1000.0)
    async with serving(Day(limit)) as source, sessions() as session:
        names = {name: source.connection(name) for name in ("desk", "other")}
        yield Desk(source, time, session, Treasury(names, {"desk": "acme", "other": "elsewhere"}, time.now))


async def test_the_reserve_of_a_day_is_kept_whole_whoever_has_spent_the_rest() -> None:
    async with desk() as it:
        it.source.taken = 10
        count, error = await it.ask(it.client())
        assert (count, it.source.taken) == (6, 16), "a fifth of 20 is left to others"
        assert error and error.retry_after == timedelta(seconds=QUARTER)
        assert "20 requests in 86400 s" in str(error)
        assert it.treasury.budget("desk").document() == {
            "limit": 20, "per": 86_400.0, "reserve": 4, "left": 0, "waiting": {}, "paused_until": None}  # fmt: skip


async def test_each_quarter_of_an_hour_one_request_looks_whether_the_day_is_over() -> None:
    async with desk() as it:
        client = it.client()
        it.source.taken = 16
        assert (await it.ask(client))[0] == 1, "the first tells how it stands"
        for _ in range(3):
            assert (await it.ask(client))[0] == 0
            assert it.source.taken == 17
        it.time.pass_by(QUARTER + 1)
        it.source.together = 0
        await asyncio.gather(*(it.ask(client) for _ in range(5)))
        assert (it.source.taken, it.source.together, it.source.refused) == (18, 1, 0)
        it.source.taken = 0
        it.time.pass_by(QUARTER + 1)
        assert (await it.ask(client, 10))[0] == 10, "it begins anew"


@pytest.mark.parametrize("tells", [True, False], ids=["headers", "no headers"])
async def test_a_refusal_by_the_day_is_believed_by_its_body_and_not_repeated(tells: bool) -> None:
    async with desk() as it:
        client = it.client()
        it.source.tells = tells
        it.source.taken = 20
        count, error = await it.ask(client)
        assert (count, it.source.refused) == (0, 1)
        assert error and error.retry_after == timedelta(seconds=QUARTER)
        await asyncio.gather(*(it.ask(client) for _ in range(5)))
        assert it.source.refused == 1
        it.time.pass_by(QUARTER + 1)
        await asyncio.gather(*(it.ask(client) for _ in range(5)))
        assert it.source.refused == 2
        it.source.taken = 0
        it.time.pass_by(QUARTER + 1)
        assert (await it.ask(client, 10))[0] == 10


async def test_a_refusal_that_says_until_when_is_heeded() -> None:
    async with desk() as it:
        it.source.taken, it.source.resets = 20, "7200"
        assert (await it.ask(it.client()))[1]
        it.time.pass_by(7000)
        assert (await it.ask(it.client()))[1] and it.source.refused == 1
        it.time.pass_by(201)
        it.source.taken = 0
        assert (await it.ask(it.client(), 5))[0] == 5


async def test_one_whose_day_is_used_up_keeps_no_other_account_waiting() -> None:
    async with desk() as it:
        it.source.taken = 20
        assert (await it.ask(it.client()))[1]
        it.source.taken = 0
        assert (await it.ask(it.client("other"), 5))[0] == 5


async def test_a_backfill_leaves_of_the_day_what_is_live() -> None:
    async with desk(100) as it:
        backfill, live = it.client().of("backfill"), it.client().of("live")
        assert (await it.ask(backfill))[0] == 60
        count, error = await it.ask(live, 16)
        assert (count, error) == (16, None)
        assert (await it.ask(live))[1]


async def test_what_is_refused_for_another_limit_waits_for_no_day() -> None:
    async with desk() as it:
        it.source.failing = [lambda _: web.json_response({"policyName": "TEN_SECONDLY_ROLLING"}, status=429)]
        assert (await it.ask(it.client(), 5))[0] == 5
        assert it.source.refused == 0


async def test_a_refusal_whose_body_breaks_off_is_a_refusal() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=429, headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b'{"policyName": "DAI')
        assert request.transport is not None
        request.transport.abort()
        return answer

    async with desk() as it:
        it.source.broken = cut
        assert (await it.ask(it.client()))[1]


async def test_processes_share_what_a_minute_allows_and_leave_the_day_to_the_sources_own_count(tmp_path: Path) -> None:
    def now() -> datetime:
        return datetime.now(UTC)

    async with (
        serving(Day()) as source,
        sessions() as session,
        open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus,
    ):
        made = source.connection()
        treasury = Treasury({"desk": made}, {"desk": "acme"}, now, claims=Claims(bus, now))
        client = Client(made, session, now, treasury=treasury)
        for _ in range(5):
            await client.get("/me")
        claimed = {orjson.loads(record.value or b"{}")["per"] for record in await messages(bus, QUOTA)}
        assert claimed == {60.0}
