"""What a mock answers to who asks it: credentials, limits as the source tells them, and faults that are ordered."""

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
import pytest
from aiohttp import web

from core.sdk.limits import Window
from core.sdk.mock import Mock, answer, page_size, running
from tests.diary import KEY, Diary, client, get, post

__all__ = ["client"]


async def test_who_has_no_credentials_gets_nothing(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        assert await get(client, mock, key="wrong") == (401, {"failure": 401})


async def test_above_the_limit_comes_429_with_the_time_to_wait(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0, limit=2) as mock:
        assert [(await get(client, mock))[0] for _ in range(3)] == [200, 200, 429]
        async with client.get(mock.url + "/entries", headers={"key": KEY}) as response:
            assert 0 < int(response.headers["Retry-After"]) <= 60
            assert response.headers["remaining"] == "0"
        await post(client, mock, "limit", requests=100)
        assert (await get(client, mock))[0] == 200


async def test_a_limit_holds_in_the_sources_own_window_and_is_told_in_its_own_words(
    client: aiohttp.ClientSession,
) -> None:
    class Quick(Diary):
        limit, per, tells_wait = 2, 0.4, False

    async with running(Quick(), pace=0) as mock:
        assert [(await get(client, mock))[0] for _ in range(3)] == [200, 200, 429]
        async with client.get(mock.url + "/entries", headers={"key": KEY}) as response:
            assert (response.status, response.headers.get("Retry-After")) == (429, None)
        async with client.get(mock.url + "/entries", headers={"key": "wrong"}) as response:
            assert "remaining" not in response.headers  # strangers are told nothing
        await asyncio.sleep(0.5)
        assert (await get(client, mock))[0] == 200
        assert (await post(client, mock, "limit", requests=1, per=60)) == {"limit": 1, "per": 60.0}
        assert [(await get(client, mock))[0] for _ in range(2)] == [200, 429]


def test_a_fixed_window_forgets_all_at_its_end_and_a_rolling_one_each_request_after_its_time() -> None:
    moments = (0.0, 9.0, 9.5, 10.0, 10.5, 19.0)
    fixed, rolling = Window(10.0), Window(10.0, rolling=True)
    assert [fixed.spend(2, at) for at in moments] == [(1, 10), (0, 1), (-1, 1), (1, 10), (0, 10), (-1, 1)]
    assert [rolling.spend(2, at) for at in moments] == [(1, 10), (0, 1), (-1, 1), (0, 9), (-1, 9), (0, 1)]


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("500", 500), ("unauthorized", 401)])
async def test_a_fault_comes_as_often_as_it_was_asked_for(
    kind: str, status: int, client: aiohttp.ClientSession
) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind=kind, times=2)
        assert [(await get(client, mock))[0] for _ in range(3)] == [status, status, 200]


@pytest.mark.parametrize("wait", [None, 7])
async def test_a_429_may_come_with_or_without_retry_after(wait: int | None, client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind="429", retry_after=wait)
        async with client.get(mock.url + "/entries", headers={"key": KEY}) as response:
            assert response.headers.get("Retry-After") == (None if wait is None else "7")


async def test_who_asks_again_before_the_time_that_was_told_is_counted(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind="429", retry_after=1)
        await get(client, mock)
        await get(client, mock)  # on its way already, for all that one knows
        await asyncio.sleep(0.4)
        assert mock.faulty.hasty == 0
        await get(client, mock)
        await asyncio.sleep(0.7)
        await get(client, mock)
        assert (await get(client, mock, "/_mock/state?truth=0"))[1]["hasty"] == 1


async def raw(client: aiohttp.ClientSession, mock: Mock) -> tuple[int, bytes, Mapping[str, str]]:
    async with client.get(mock.url + "/entries", headers={"key": KEY}, allow_redirects=False) as response:
        return response.status, await response.read(), response.headers


async def test_an_answer_may_be_anything_but_what_one_expects(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        _, whole, _ = await raw(client, mock)
        expected: Mapping[str, Callable[[int, bytes, Mapping[str, str]], bool]] = {
            "503": lambda status, body, headers: (status, headers.get("Retry-After")) == (503, None),
            "html": lambda status, body, headers: status == 200 and body.startswith(b"<html>"),
            "empty": lambda status, body, headers: (status, body) == (200, b""),
            "error": lambda status, body, headers: (status, body) == (200, b'{"failure":500}'),
            "garbled": lambda status, body, headers: status == 200 and "\ufffd" in body.decode(errors="replace"),
            "oversized": lambda status, body, headers: len(body) == 10_000_000 and body.startswith(whole[:50]),
            "redirect": lambda status, body, headers: (status, headers["Location"][:16]) == (302, "http://elsewhere"),
        }
        for kind, right in expected.items():
            await post(client, mock, "fault", kind=kind)
            assert right(*await raw(client, mock)), kind
        assert (await raw(client, mock))[0] == 200


async def test_a_fault_strikes_where_and_when_it_was_told_to(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind="500", path="^/other")
        await post(client, mock, "fault", kind="429", path="^/entries", after=2)
        assert [(await raw(client, mock))[0] for _ in range(4)] == [200, 200, 429, 200]
        await post(client, mock, "fault", kind="500", each=True)
        assert (await post(client, mock, "fault", kind="none")) == {"waiting": 0}
        assert (await raw(client, mock))[0] == 200
        assert "no fault 'storm'" in (await post(client, mock, "fault", kind="storm"))["error"]
        assert "no 'where'" in (await post(client, mock, "fault", kind="500", where="/"))["error"]


async def test_the_world_may_change_after_an_answer(client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, pace=0) as mock:
        await post(client, mock, "fault", kind="shift", beats=4)
        before = len((await get(client, mock))[1]["entries"])
        assert len((await get(client, mock))[1]["entries"]) > before


async def test_a_cursor_may_be_given_twice(client: aiohttp.ClientSession) -> None:
    class Paged(Diary):
        async def _list(self, request: web.Request) -> web.Response:
            begin = int(request.query.get("after", "100000")) - 100_000
            size = page_size(request, 50)
            return answer({"entries": self.entries[begin : begin + size], "next": str(100_000 + begin + size)})

    async with running(Paged(), pace=0) as mock:
        await post(client, mock, "rows", rows=3)
        _, first = await get(client, mock)
        assert len(first["entries"]) == 3
        await post(client, mock, "fault", kind="again")
        assert (await get(client, mock, f"/entries?after={first['next']}"))[1] == first
        assert (await get(client, mock, f"/entries?after={first['next']}"))[1] != first
