"""The engine's HTTP client against a real server that fails in every way that sources do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from core.errors import PermanentError, RateLimitedError, TransientError, UnauthorizedError
from core.ingest import Client, Patience, sessions
from tests.source import TOKEN, Source, connection, serving


class Time:
    """A clock that only moves when somebody sleeps on it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)


class Setup:
    def __init__(self, source: Source, client: Client, time: Time) -> None:
        self.source, self.client, self.time = source, client, time


@asynccontextmanager
async def setup(**patience: Any) -> AsyncIterator[Setup]:
    time = Time()
    async with serving(Source()) as source, sessions() as session:
        made = connection(base_url=source.url)
        client = Client(made, session, time.now, patience=Patience(**patience), sleep=time.sleep)
        yield Setup(source, client, time)


def status(code: int, **headers: str) -> Callable[[web.Request], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.json_response({"error": "canary"}, status=code, headers=named)


def text(body: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(text=body, content_type="text/html")


async def _cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b'{"people": [')
    assert request.transport is not None
    request.transport.abort()
    return answer


async def _silent(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


def cut(request: web.Request) -> Any:
    return _cut(request)


def silent(request: web.Request) -> Any:
    return _silent(request)


async def test_an_answer_comes_with_its_start_and_lower_case_headers() -> None:
    async with setup() as it:
        answer = await it.client.get("/me")
        assert answer.data == {"account": "acme"} and answer.status == 200
        assert answer.started == int(it.time.moment.timestamp() * 1000)
        assert answer.headers["content-type"].startswith("application/json")
        assert it.source.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert it.client.now() == it.time.moment


@pytest.mark.parametrize(
    "failing",
    [status(429), status(500), status(503), status(408), text("<html>maintenance</html>"), text("{"), cut],
    ids=["429", "500", "503", "408", "html", "broken json", "cut"],
)
async def test_a_failure_that_passes_is_not_seen_by_the_connector(failing: Any) -> None:
    async with setup() as it:
        it.source.failing = [failing, failing]
        assert (await it.client.get("/me")).data == {"account": "acme"}
        assert len(it.source.requests) == 3
        assert len(it.time.slept) >= 2 and all(seconds > 0 for seconds in it.time.slept)


async def test_a_server_error_does_not_wait_until_the_rate_limits_window_ends() -> None:
    async with setup() as it:
        reset = str(int(it.time.moment.timestamp()) + 50)
        it.source.failing = [status(500, x_remaining="99", x_reset=reset)]
        await it.client.get("/me")
        assert sum(it.time.slept) < 10


@pytest.mark.parametrize(
    ("failing", "error"),
    [
        (status(429), RateLimitedError),
        (status(502), TransientError),
        (text("<html>"), TransientError),
        (cut, TransientError),
    ],
    ids=["429", "502", "html", "cut"],
)
async def test_a_failure_that_stays_is_raised_after_a_few_tries(failing: Any, error: type[Exception]) -> None:
    async with setup(tries=3) as it:
        it.source.broken = failing
        with pytest.raises(error):
            await it.client.get("/me")
        assert len(it.source.requests) == 3


async def test_waits_grow() -> None:
    async with setup(tries=6, first=1.0, longest=60.0) as it:
        it.source.broken = status(500)
        with pytest.raises(TransientError):
            await it.client.get("/me")
        assert len(it.time.slept) == 5
        assert it.time.slept[-1] > it.time.slept[0] * 4


@pytest.mark.parametrize("asked", ["7", "date"])
async def test_retry_after_is_honored_in_seconds_and_as_a_date(asked: str) -> None:
    async with setup() as it:
        value = format_datetime(it.time.moment + timedelta(seconds=7), usegmt=True) if asked == "date" else asked
        it.source.failing = [status(429, Retry_After=value)]
        await it.client.get("/me")
        assert 7 <= sum(it.time.slept) < 12


async def test_a_pause_longer_than_our_patience_is_told_and_then_kept() -> None:
    async with setup(longest=60.0) as it:
        it.source.failing = [status(429, Retry_After="600")]
        with pytest.raises(RateLimitedError) as caught:
            await it.client.get("/me")
        assert caught.value.retry_after == timedelta(seconds=600)
        with pytest.raises(RateLimitedError):
            await it.client.get("/me")
        assert len(it.source.requests) == 1, "the source asked for silence"
        it.time.moment += timedelta(seconds=601)
        assert (await it.client.get("/me")).status == 200


@pytest.mark.parametrize("unit", ["epoch seconds", "epoch milliseconds", "seconds"])
async def test_the_client_stops_before_the_limit_that_the_source_counts_down(unit: str) -> None:
    async with setup() as it:
        at = it.time.moment.timestamp() + 5
        reset = {"epoch seconds": f"{at:.0f}", "epoch milliseconds": f"{at * 1000:.0f}", "seconds": "5"}[unit]
        it.source.failing = [lambda _: web.json_response({}, headers={"x-remaining": "0", "x-reset": reset})]
        await it.client.get("/me")
        assert not it.time.slept
        await it.client.get("/me")
        assert sum(it.time.slept) == pytest.approx(5, abs=0.01)
        assert len(it.source.requests) == 2


@pytest.mark.parametrize("reset", ["", "soon", "nan", "inf", "-3", "1e300"])
async def test_a_senseless_reset_does_not_stop_us_for_long(reset: str) -> None:
    async with setup() as it:
        it.source.failing = [
            lambda _: web.json_response({}, status=429, headers={"x-remaining": "0", "x-reset": reset})
        ]
        await it.client.get("/me")
        assert sum(it.time.slept) < 10


async def test_refused_credentials_are_not_tried_again() -> None:
    async with setup() as it:
        it.source.broken = status(401)
        with pytest.raises(UnauthorizedError):
            await it.client.get("/me")
        assert len(it.source.requests) == 1


@pytest.mark.parametrize("code", [400, 403, 404, 410, 422])
async def test_other_refusals_are_permanent_and_keep_status_and_headers(code: int) -> None:
    async with setup() as it:
        it.source.broken = status(code, X_Why="so")
        with pytest.raises(PermanentError) as caught:
            await it.client.get("/me")
        assert caught.value.status == code and caught.value.headers["x-why"] == "so"
        assert len(it.source.requests) == 1


async def test_a_time_out_is_a_transient_error() -> None:
    async with setup(tries=2, timeout=0.2) as it:
        it.source.broken = silent
        with pytest.raises(TransientError, match="no answer in time"):
            await it.client.get("/me")


async def test_a_server_that_is_not_there_is_a_transient_error() -> None:
    async with setup(tries=2) as it:
        pass
    async with sessions() as session:
        client = Client(
            connection(base_url=it.source.url), session, it.time.now, patience=Patience(tries=2), sleep=it.time.sleep
        )
        with pytest.raises(TransientError):
            await client.get("/me")


async def test_credentials_never_leave_the_source() -> None:
    async with setup() as it, serving(Source()) as other:
        it.source.failing = [status(302, Location=other.url + "/me")]
        with pytest.raises(PermanentError, match="another host"):
            await it.client.get("/me")
        with pytest.raises(PermanentError, match="another host"):
            await it.client.get(other.url + "/people?after=0")
        with pytest.raises(PermanentError, match="another host"):
            await it.client.get(it.source.url.replace("http://", "https://") + "/me")
        assert not other.requests


async def test_an_address_that_is_none_is_a_mistake_of_the_source() -> None:
    async with setup() as it:
        with pytest.raises(PermanentError, match="an address that is none"):
            await it.client.get("http://[half")
        it.source.failing = [status(302, Location="http://[half")]
        with pytest.raises(PermanentError, match="an address that is none"):
            await it.client.get("/me")


async def test_a_redirect_on_the_same_host_is_followed_with_credentials() -> None:
    async with setup() as it:
        it.source.failing = [status(307, Location="/me?moved=1")]
        assert (await it.client.get("/you")).data == {"account": "acme"}
        assert it.source.paths == ["/you", "/me?moved=1"]
        it.source.broken = lambda request: status(302, Location=f"/{len(it.source.requests)}")(request)
        with pytest.raises(PermanentError, match="too many redirects"):
            await it.client.get("/circle")


async def test_a_link_of_the_source_and_percent_escapes_pass_as_they_are() -> None:
    async with setup() as it:
        it.source.broken = lambda _: web.json_response({})
        await it.client.get(f"{it.source.url}/next?cursor=a%2Fb%3D%3D&x=1")
        await it.client.get("/files/a%2Fb", q="x y&z", n=3)
        assert it.source.requests[0].query == {"cursor": "a/b==", "x": "1"}
        assert it.source.requests[1].raw_path == "/files/a%2Fb?q=x+y%26z&n=3"


@pytest.mark.parametrize("code", [200, 204])
async def test_an_empty_answer_is_none(code: int) -> None:
    async with setup() as it:
        it.source.broken = lambda _: web.Response(status=code)
        assert (await it.client.request("DELETE", "/me")).data is None


async def test_bodies_and_headers_of_the_connector_are_sent() -> None:
    async with setup() as it:
        await it.client.request("POST", "/batch", json={"ids": ["1"]}, headers={"X-Version": "2"})
        assert it.source.bodies == [{"ids": ["1"]}]
        assert it.source.requests[0].headers["X-Version"] == "2"


async def test_an_answer_without_end_is_refused() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b" " * 1_000_000)
        except ConnectionError:
            return answer

    async with setup(tries=1) as it:
        it.source.broken = endless
        with pytest.raises(PermanentError, match="larger than"):
            await it.client.get("/me")


@pytest.mark.parametrize("failing", [status(400), status(401), status(500), text("<html>canary"), cut])
async def test_messages_hold_no_secrets_and_no_people(failing: Any) -> None:
    async with setup(tries=1) as it:
        it.source.broken = failing
        with pytest.raises((PermanentError, TransientError)) as caught:
            await it.client.request("GET", "/me", params={"email": "dana@example.com"}, headers={"X-Key": "canary"})
        assert "canary" not in str(caught.value) and "dana" not in str(caught.value)


async def test_nul_and_lone_surrogates_of_answers_are_stripped() -> None:
    async with setup() as it:
        it.source.broken = lambda _: web.Response(body=rb'{"a": "x\u0000y\udc00z"}', content_type="application/json")
        assert (await it.client.get("/me")).data == {"a": "xyz"}
