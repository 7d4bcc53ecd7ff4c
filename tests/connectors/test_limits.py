"""How much each mock lets through, what its answers tell of it, and how often it repeats a webhook: as the sources do.

One table; a mock that changes must change it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connectors.intercom.patience import Patience
from core import registry
from core.sdk.courier import AT_ONCE
from core.sdk.mock import Clock, Mock, Push, running
from core.sdk.player import Queued

MS = 1_768_200_000_000
NAMES = ["aircall", "guru", "hubspot", "intercom"]
PATHS = {"aircall": "/v1/ping", "guru": "/api/v1/whoami", "hubspot": "/crm/v3/owners", "intercom": "/me"}
# Requests, in how many seconds, which headers tell of it.
LIMITS: dict[str, tuple[int, float, set[str]]] = {
    "aircall": (120, 60.0, {"x-aircallapi-limit", "x-aircallapi-remaining", "x-aircallapi-reset"}),
    "guru": (1_000, 60.0, set()),
    "hubspot": (190, 10.0, {"x-hubspot-ratelimit-interval-milliseconds", "x-hubspot-ratelimit-max",
                            "x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-daily",
                            "x-hubspot-ratelimit-daily-remaining"}),
    "intercom": (1_667, 10.0, {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}),
}  # fmt: skip
REFUSED: dict[str, dict[str, Any]] = {  # what the body of a 429 says
    "aircall": {"error": "Rate limit exceeded"},
    "guru": {"status": 429},
    "hubspot": {"status": "error", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"},
    "intercom": {"type": "error.list"},
}


@asynccontextmanager
async def source(name: str, **options: Any) -> AsyncIterator[tuple[Mock, aiohttp.ClientSession]]:
    connector, module = registry.load(name), registry.mock(name)
    config = connector.config.model_validate({"type": name, "account": "example", **module.DEMO})
    simulator = module.simulator(7, module.DEMO)
    async with running(simulator, pace=0, clock=Clock(MS, rate=0), **options) as mock:
        async with aiohttp.ClientSession(mock.url, headers=connector.auth(config)) as session:
            yield mock, session


@pytest.mark.parametrize("name", NAMES)
async def test_a_limit_is_as_large_as_the_sources_and_told_as_the_source_tells_it(name: str) -> None:
    requests, per, told = LIMITS[name]
    async with source(name) as (mock, session):
        async with session.get(PATHS[name]) as answer:
            assert answer.status == 200
            rate = {each.lower() for each in answer.headers if "limit" in each.lower() or "aircallapi" in each.lower()}
            assert rate == told
        async with session.get(PATHS[name], headers={"Authorization": "Bearer nobody"}) as answer:
            assert answer.status == 401
            assert not told & {each.lower() for each in answer.headers}
    assert (mock.limit, getattr(mock.simulator, "per", 60.0)) == (requests, per)


async def test_an_oauth_app_of_hubspot_has_less_than_a_private_app() -> None:
    module = registry.mock("hubspot")
    form = {"grant_type": "refresh_token", "client_secret": module.DEMO["client_secret"], **module.APP}
    async with source("hubspot") as (_, session):
        async with session.post("/oauth/v1/token", data=form) as answer:
            access = (await answer.json())["access_token"]
        for headers, most in (({}, "190"), ({"Authorization": f"Bearer {access}"}, "110")):
            async with session.get(PATHS["hubspot"], headers=headers) as answer:
                assert (answer.status, answer.headers["X-HubSpot-RateLimit-Max"]) == (200, most)


@pytest.mark.parametrize("name", NAMES)
async def test_above_it_comes_the_sources_own_refusal(name: str) -> None:
    async with source(name, limit=2) as (_, session):
        statuses = []
        for _ in range(3):
            async with session.get(PATHS[name]) as answer:
                statuses.append(answer.status)
                body = await answer.json()
        assert statuses == [200, 200, 429]
        assert "Retry-After" not in answer.headers  # none of them promises it
        assert body.items() >= REFUSED[name].items()
        if name == "intercom":
            assert body["errors"][0]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(("name", "field", "values"), [("hubspot", "attemptNumber", [0, 1]),
                                                       ("intercom", "delivery_attempts", [1, 2])])  # fmt: skip
async def test_a_repeated_webhook_says_how_often_it_was_tried_and_is_else_the_same(
    name: str, field: str, values: list[int]
) -> None:
    async with source(name) as (mock, _):
        told: list[Queued] = []
        while not told:
            told = [queued for queued in mock.player.step(1) if not queued[1].forged]
        push = told[0][1]
        bodies = []
        for attempt in (0, 1):
            again = type(push)(push.subject, push.body, push.kind, attempt=attempt)
            bodies.append(json.loads(mock.simulator.sign(again, "http://127.0.0.1/x", datetime.now(UTC))[2]))
    events = [body if isinstance(body, dict) else body[0] for body in bodies]
    assert [event.pop(field) for event in events] == values
    assert events[0] == events[1]


def test_webhooks_are_repeated_as_often_and_as_long_as_the_sources_do_it() -> None:
    made = {name: registry.mock(name).simulator(7, registry.mock(name).DEMO) for name in NAMES}
    assert {name: (each.timeout, each.retries) for name, each in made.items()} == {
        "aircall": (5.0, 50), "guru": (15.0, 5), "hubspot": (5.0, 10), "intercom": (5.0, 1),
    }  # fmt: skip
    spread = {name: each.retries * each.schedule[0] / 3600 for name, each in made.items() if hasattr(each, "schedule")}
    assert spread == {"aircall": 12.0, "guru": 5 / 60, "hubspot": 24.0, "intercom": 30 / 3600}  # hours


@asynccontextmanager
async def hub(status: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers every webhook so."""
    came: list[bytes] = []

    async def take(request: web.BaseRequest) -> web.StreamResponse:
        came.append(await request.read())
        return web.Response(status=status)

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/x", came
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(("name", "status", "attempts"), [("aircall", 500, 51), ("guru", 410, 1)])
async def test_a_webhook_that_is_refused_too_often_or_for_good_is_switched_off(
    name: str, status: int, attempts: int
) -> None:
    async with hub(status) as (target, came), source(name, target=target) as (mock, session):
        await strict(session)
        while not len(mock.courier):
            mock.send([queued for queued in mock.player.step(1) if not queued[1].forged][:1])
        async with asyncio.timeout(30):
            while not mock.courier.off:
                later = mock.player.clock.now() + 900_000
                async with session.post("/_mock/clock", json={"now": later}):
                    await asyncio.sleep(0.01)
        assert len(came) == attempts
        mock.send(mock.player.step(40))
        assert len(mock.courier) == 0
        if name == "aircall":
            assert await active(session) == [False]


Later = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def intercom(target: str) -> AsyncIterator[tuple[Mock, Later, Push]]:
    """Intercom's mock as strict as Intercom, a way to put its clock so many seconds forward, one of its webhooks."""
    async with source("intercom", target=target) as (mock, session):
        await strict(session)
        told: list[Queued] = []
        while not told:
            told = [queued for queued in mock.player.step(1) if not queued[1].forged]
        yield mock, partial(later, session, mock), told[0][1]


async def strict(session: aiohttp.ClientSession) -> None:
    async with session.post("/_mock/retries", json={"source": True}):
        pass


@pytest.mark.parametrize("remedy", ["a retry that is taken", "PUT"])
async def test_a_webhook_that_aircall_switched_off_is_on_again_after_one_success_or_by_hand(remedy: str) -> None:
    async with hub(500) as (target, _), source("aircall", target=target) as (mock, session):
        await strict(session)
        push = Push("1", {"event": "call.created"})
        mock.courier.put([(1, push)])
        await tried(mock, 1)
        await later(session, mock, 400)
        mock.courier.put([(2, push)])  # its twelve hours end later
        while not mock.courier.off:
            attempts = len(mock.courier.log)
            await later(session, mock, 440)
            await tried(mock, attempts + 1)
        assert await active(session) == [False] and len(mock.courier) == 1
        async with hub(202) as (mock.courier.target, came):
            mock.courier.put([(3, push)])  # not sent: it is off
            if remedy == "PUT":
                async with session.get("/v1/webhooks") as answer:
                    path = f"/v1/webhooks/{(await answer.json())['webhooks'][0]['webhook_id']}"
                async with session.put(path, json={"url": "https://hooks.example.com/hooks/aircall"}) as answer:
                    assert (await answer.json())["webhook"]["active"]
            else:
                await later(session, mock, 440)
            await settled(mock)
            assert (await active(session), len(came)) == ([True], 1)
            mock.courier.put([(4, push)])
            await settled(mock)
            assert len(came) == 2


async def active(session: aiohttp.ClientSession) -> list[bool]:
    async with session.get("/v1/webhooks") as answer:
        return [hook["active"] for hook in (await answer.json())["webhooks"]]


async def later(session: aiohttp.ClientSession, mock: Mock, seconds: float) -> None:
    """The mock's clock so many seconds forward."""
    async with session.post("/_mock/clock", json={"now": int(mock.player.clock.now() + seconds * 1_000)}):
        pass


async def settled(mock: Mock) -> None:
    async with asyncio.timeout(30):
        await mock.courier.settled()


async def tried(mock: Mock, count: int) -> None:
    async with asyncio.timeout(30):
        while len(mock.courier.log) < count or mock.courier.in_flight:
            await asyncio.sleep(0.01)


async def test_intercom_pauses_a_quarter_of_an_hour_after_a_thousand_errors_in_a_row() -> None:
    async with hub(500) as (target, came), intercom(target) as (mock, wait, push):
        mock.courier.put([(number, push) for number in range(1_100)])
        await tried(mock, 1_001)
        await asyncio.sleep(0.2)
        paused = len(came)
        assert 1_001 <= paused < 1_001 + AT_ONCE
        await wait(890)
        await asyncio.sleep(0.7)
        assert len(came) == paused
        await wait(20)
        await tried(mock, paused + 99)


async def test_errors_that_take_longer_or_are_no_row_pause_nothing() -> None:
    patience = Patience()
    assert not any(patience.after(500, at) for at in range(2_000))  # one a second: 900 of them in a quarter of an hour
    for _ in range(3):
        assert not any(patience.after(0, 5_000) for _ in range(1_000))
        assert patience.after(202, 5_000) == 0


async def test_intercom_suspends_a_subscription_after_a_week_of_errors_until_it_is_set_live() -> None:
    async with hub(500) as (target, came), intercom(target) as (mock, wait, push):
        for day in range(8):
            mock.courier.put([(day, push)])
            await tried(mock, 2 * day + 1)
            await wait(60)  # it tries once more
            await tried(mock, 2 * day + 2)
            assert mock.courier.off == (day == 7)
            await wait(86_340)
        mock.courier.put([(8, push)])
        assert (len(mock.courier), len(came)) == (0, 16)
        async with aiohttp.ClientSession(mock.url) as session:
            await strict(session)
        mock.courier.put([(9, push)])
        await tried(mock, 17)
        assert not mock.courier.off


@pytest.mark.slow
async def test_intercom_slows_down_while_it_is_answered_429_and_gives_nothing_up_for_it() -> None:
    async with hub(500) as (target, _), intercom(target) as (mock, wait, push):
        mock.courier.put([(1, push)])
        await tried(mock, 1)
        async with hub(429) as (mock.courier.target, came):
            for count, seconds in ((1, 30), (2, 1), (3, 2), (4, 4)):
                await wait(seconds * 0.5)
                await asyncio.sleep(0.7)
                assert len(came) == count - 1
                await wait(seconds * 0.5 + 0.1)
                await tried(mock, count + 1)
            assert [json.loads(body)["delivery_attempts"] for body in came] == [2, 3, 4, 5]
            assert (len(mock.courier), mock.courier.spilled) == (1, 0)
