"""The kit for contract mocks through real HTTP: the story as webhooks, faults, restarts, clocks."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from core.sdk.mock import Clock, Mock, Push, answer, next_cycle, now, running, serve
from core.sdk.story import STRIDE, Beat

KEY = "key-of-the-mock"
MS = 1_768_200_000_000


class Diary:
    """The smallest source there is: an entry per beat of the story's telephone, each told by a webhook."""

    name = "aircall"
    timeout = 2.0
    retries = 3
    limit = 1_000

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed
        self.entries: list[dict[str, Any]] = []

    def apply(self, beat: Beat, now_ms: int) -> Sequence[Push]:
        if beat.kind == "refuse":
            return [Push("forged", {"id": "forged"}, "refuse", forged=True)]
        entry = {"id": f"{beat.ref}:{len(self.entries)}", "kind": beat.kind, "at": now_ms}
        self.entries.append(entry)
        return [Push(str(entry["id"]), entry, beat.kind)]

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/entries", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        return answer({"entries": self.entries, "now": now(request)})

    def authorized(self, request: web.Request) -> bool:
        return request.headers.get("key") == KEY

    def sign(self, push: Push, target: str, now: datetime) -> tuple[str, dict[str, str], bytes]:
        return target, {"signature": "wrong" if push.forged else KEY}, json.dumps(push.body).encode()

    def failure(self, status: int) -> Any:
        return {"failure": status}

    def rate_headers(self, limit: int, remaining: int, reset_seconds: int, now_ms: int) -> Mapping[str, str]:
        return {"remaining": str(remaining)}

    def counts(self) -> Mapping[str, int]:
        return {"entries": len(self.entries)}

    def truth(self) -> Mapping[str, Any]:
        return {"entry": {entry["id"]: entry for entry in self.entries}}


class Hub:
    """Takes webhooks; answers 401 to a wrong signature, else `status`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refused = 0
        self.status = 202
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hooks/diary", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}/hooks/diary"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        if request.headers["signature"] != KEY:
            self.refused += 1
            return web.Response(status=401)
        if self.status < 300:
            self.taken.append(await request.json())
        return web.Response(status=self.status)

    def ids(self) -> set[str]:
        return {entry["id"] for entry in self.taken}


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def post(client: aiohttp.ClientSession, mock: Mock, name: str, **body: Any) -> Any:
    async with client.post(f"{mock.url}/_mock/{name}", json=body) as response:
        return await response.json()


async def get(client: aiohttp.ClientSession, mock: Mock, path: str = "/entries", key: str = KEY) -> tuple[int, Any]:
    async with client.get(mock.url + path, headers={"key": key}) as response:
        return response.status, await response.json()


def kinds(diary: Diary) -> list[str]:
    return [entry["kind"] for entry in diary.entries]


# --- the story


async def test_the_story_plays_by_itself_and_each_change_is_told(hub: Hub) -> None:
    diary = Diary()
    async with running(diary, target=hub.url, pace=500) as mock:
        backfilled = len(diary.entries)
        await until(lambda: len(hub.taken) > 40 and hub.refused > 2)
        await mock.courier.settled()
        assert hub.ids() <= {entry["id"] for entry in diary.entries[backfilled:]}
        acknowledged = [each for each in mock.courier.log if each["status"] == 202]
        assert {each["subject"] for each in acknowledged} == hub.ids()


async def test_at_pace_0_only_what_is_asked_for_happens(hub: Hub, client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        opened = len(diary.entries)
        await asyncio.sleep(0.3)
        assert len(diary.entries) == opened
        assert (await post(client, mock, "step", beats=4))["n"] == 4
        assert kinds(diary)[opened:] == ["call.ring", "person.upsert", "call.answer", "call.ring"]
        assert {entry["at"] for entry in diary.entries[opened:]} == {MS}
        await until(lambda: len(hub.taken) == 4)


async def test_the_opening_is_for_backfills_and_told_by_no_webhook(hub: Hub, client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        await asyncio.sleep(0.3)
        status, found = await get(client, mock)
    assert status == 200
    assert len(found["entries"]) > 50
    assert max(entry["at"] for entry in found["entries"]) < found["now"] == MS
    assert hub.taken == []


async def test_one_seed_and_one_clock_make_one_world() -> None:
    worlds = []
    for _ in range(2):
        diary = Diary()
        async with running(diary, pace=0, clock=Clock(MS, rate=0)) as mock:
            mock.player.step(200)
            worlds.append(diary.entries)
    assert worlds[0] == worlds[1]


async def test_a_change_of_pace_or_clock_does_not_make_the_story_jump(client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, pace=1, clock=Clock(MS)) as mock:
        opened = len(diary.entries)
        await post(client, mock, "clock", now=MS + 86_400_000)
        await post(client, mock, "pace", pace=0.5)
        await asyncio.sleep(0.4)
        assert len(diary.entries) == opened  # the first beat is two seconds away
        await post(client, mock, "pace", pace=200)
        await until(lambda: len(diary.entries) > opened)
        assert diary.entries[opened]["at"] >= MS + 86_400_000


async def test_a_stopped_clock_stops_the_story(client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, pace=500, clock=Clock(MS)) as mock:
        frozen = await post(client, mock, "clock", rate=0)
        await asyncio.sleep(0.3)
        count = len(diary.entries)
        await asyncio.sleep(0.5)
        assert len(diary.entries) == count
        assert (await get(client, mock))[1]["now"] == frozen["now"]


# --- rings


async def test_a_ring_is_told_at_once_and_goes_on_by_itself(hub: Hub, client: aiohttp.ClientSession) -> None:
    diary, clock = Diary(), Clock(MS, rate=0)
    async with running(diary, target=hub.url, pace=0, clock=clock) as mock:
        rung = await post(client, mock, "ring")
        assert (rung["phone"], rung["name"]) == ("+12025550143", "Dana Reyes")
        await until(lambda: rung["call"] in hub.ids())
        assert (await post(client, mock, "ring"))["name"] == "Zoë Ångström"
        assert (await post(client, mock, "ring", phone="+12025550100"))["name"] == "Example Bakery"
        assert kinds(diary)[-3:] == ["call.ring"] * 3
        await post(client, mock, "clock", now=MS + 60_000)
        await until(lambda: len(hub.taken) == 9)
    assert sorted(kinds(diary)[-6:]) == ["call.answer"] * 3 + ["call.end"] * 3


# --- restarts


async def test_a_restarted_mock_has_the_same_world_and_begins_a_new_cycle(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "diary.json"
    first, second = Diary(), Diary()
    async with running(first, pace=0, state=state, clock=Clock(MS)) as mock:
        mock.player.step(30)
        mock.player.ring(None)
        mock.player.set_pace(400)
        await until(lambda: mock.player.n > 130)
        mock.player.ring("+12025550122")
        await until(lambda: mock.player.n > 215)
        mock.player.set_pace(0)
        while mock.player.n % STRIDE != 3:
            mock.player.step(1)
        stopped = mock.player.n
    async with running(second, pace=0, state=state, clock=Clock(MS + 3_600_000)) as mock:
        assert second.entries[: len(first.entries)] == first.entries
        assert mock.player.n == (stopped // STRIDE + 1) * STRIDE
        rest = second.entries[len(first.entries) :]
        assert rest
        assert all(entry["at"] >= MS + 3_600_000 for entry in rest)


async def test_mocks_that_stopped_in_different_cycles_go_on_in_one(tmp_path: Path) -> None:
    states = [tmp_path / f"{index}.json" for index in range(3)]
    for state, beats in zip(states, (20, 120, 0), strict=True):
        async with running(Diary(), pace=0, state=state) as mock:
            mock.player.step(beats)
    begin = next_cycle([*states, tmp_path / "never-ran.json"])
    numbers = []
    for state in (*states, tmp_path / "never-ran.json"):
        async with running(Diary(), pace=0, state=state, cycle=begin) as mock:
            numbers.append(mock.player.n)
    assert set(numbers) == {begin * STRIDE}
    assert begin == 3


async def test_a_fresh_story_begins_at_its_beginning(tmp_path: Path) -> None:
    state = tmp_path / "diary.json"
    for _ in range(2):  # a start that was stopped before anything happened changes nothing
        async with running(Diary(), pace=0, state=state, cycle=next_cycle([state])) as mock:
            assert mock.player.n == 0


async def test_what_was_not_delivered_is_delivered_after_a_restart(hub: Hub, tmp_path: Path) -> None:
    state = tmp_path / "diary.json"
    await hub.stop()
    diary = Diary()
    async with running(diary, target=hub.url, pace=0, state=state) as mock:
        opened = len(diary.entries)
        mock.send(mock.player.step(60))
        await until(lambda: any(each["status"] == 0 for each in mock.courier.log))
        missed = {entry["id"] for entry in diary.entries[opened:]}
    assert not hub.taken
    await hub.start()
    async with running(Diary(), target=hub.url, pace=0, state=state) as mock:
        await until(lambda: missed <= hub.ids())
        await mock.courier.settled()
    hub.taken.clear()
    async with running(Diary(), target=hub.url, pace=0, state=state) as mock:
        await mock.courier.settled()
        await asyncio.sleep(0.2)
    assert hub.taken == []


# --- deliveries


async def test_while_the_hub_is_down_webhooks_wait_for_it(hub: Hub) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        await hub.stop()
        mock.send(mock.player.step(30))
        waiting = len(mock.courier)
        await until(lambda: sum(each["status"] == 0 for each in mock.courier.log) >= 3)
        assert len(mock.courier) == waiting
        await hub.start()
        await until(lambda: len(hub.taken) + hub.refused == waiting)


async def test_a_refused_webhook_is_sent_again_and_a_forged_one_is_not(hub: Hub) -> None:
    hub.status = 503
    async with running(Diary(), target=hub.url, pace=0) as mock:
        mock.send(mock.player.ring(None)[1])
        mock.send(mock.player.insert("refuse", "", {}))
        await until(lambda: sum(each["status"] == 503 for each in mock.courier.log) >= 2)
        hub.status = 202
        await until(lambda: len(hub.taken) == 1)
        await mock.courier.settled()
    assert hub.refused == 1
    assert len(hub.ids()) == 1


async def test_what_is_refused_too_often_is_left_to_the_pull_side(hub: Hub) -> None:
    hub.status = 500
    diary = Diary()
    diary.retries = 1
    async with running(diary, target=hub.url, pace=0) as mock:
        mock.send(mock.player.ring(None)[1])
        await mock.courier.settled()
        assert mock.courier.spilled == 1
        assert not mock.player.pending


async def test_a_test_may_push_a_body_of_its_own(hub: Hub, client: aiohttp.ClientSession) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        assert await post(client, mock, "push", body={"id": "mine"}) == {"status": 202}
        assert await post(client, mock, "push", body={"id": "mine"}, forged=True) == {"status": 401}
        await post(client, mock, "target", url="http://127.0.0.1:9/nobody")
        assert (await post(client, mock, "push", body={"id": "mine"}))["status"] == 0
    assert hub.ids() == {"mine"}


async def test_refused_webhooks_come_again_when_the_source_would_by_the_clock_that_is_driven(
    hub: Hub, client: aiohttp.ClientSession
) -> None:
    class Patient(Diary):
        schedule = (3_600.0,)

    hub.status = 503
    async with running(Patient(), target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        assert (await post(client, mock, "retries", source=True)) == {"schedule": [3_600.0]}
        mock.send(mock.player.ring(None)[1])
        await until(lambda: len(mock.courier.log) == 1)
        await asyncio.sleep(0.7)  # hurried, it would have come again
        assert len(mock.courier.log) == 1
        hub.status = 202
        await post(client, mock, "clock", now=MS + 3_601_000)
        await until(lambda: len(hub.taken) >= 1)


async def test_as_strict_as_the_source_no_answer_is_a_refusal_and_the_last_one_is_the_last(
    hub: Hub, client: aiohttp.ClientSession
) -> None:
    class Strict(Diary):
        schedule, retries = (60.0,), 1

    await hub.stop()
    async with running(Strict(), target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        await post(client, mock, "retries", source=True)
        mock.send(mock.player.ring(None)[1])
        await until(lambda: len(mock.courier.log) == 1)
        await post(client, mock, "clock", now=MS + 61_000)
        await until(lambda: mock.courier.spilled >= 1)
        assert [each["attempt"] for each in mock.courier.log if each["n"] == mock.courier.log[0]["n"]] == [0, 1]


async def test_an_answer_may_be_cut_or_be_no_json_or_never_come(client: aiohttp.ClientSession) -> None:
    async with running(Diary(), pace=0) as mock:
        await post(client, mock, "fault", kind="cut")
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(client, mock)
        await post(client, mock, "fault", kind="html")
        with pytest.raises(aiohttp.ContentTypeError):
            await get(client, mock)
        await post(client, mock, "fault", kind="timeout")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await get(client, mock)
        assert (await get(client, mock))[0] == 200


async def test_forged_webhooks_come_on_demand(hub: Hub, client: aiohttp.ClientSession) -> None:
    async with running(Diary(), target=hub.url, pace=0) as mock:
        await post(client, mock, "fault", kind="refuse", times=3)
        await until(lambda: hub.refused == 3)
        async with client.post(mock.url + "/_mock/fault", json={"kind": "earthquake"}) as response:
            assert response.status == 400


async def test_the_state_tells_the_truth(client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, pace=0) as mock:
        await post(client, mock, "step", beats=3)
        _, state = await get(client, mock, "/_mock/state")
        _, brief = await get(client, mock, "/_mock/state?truth=0")
    assert (state["n"], state["counts"]) == (3, {"entries": len(diary.entries)})
    assert set(state["truth"]["entry"]) == {entry["id"] for entry in diary.entries}
    assert "truth" not in brief


# --- its end


async def _ended(act: Callable[[Mock], Awaitable[Any]], tmp_path: Path, idle: float = 60) -> None:
    began: asyncio.Future[Mock] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(Diary(), port=0, target="", pace=0, state=tmp_path / "s.json", ready=began.set_result, idle=idle)
    )
    mock = await asyncio.wait_for(began, 20)
    await act(mock)
    await asyncio.wait_for(task, 10)
    assert (tmp_path / "s.json").exists()


async def test_it_ends_when_told_so(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    await _ended(lambda mock: post(client, mock, "stop"), tmp_path)


async def test_it_ends_on_sigterm(tmp_path: Path) -> None:
    async def terminate(_: Mock) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    await _ended(terminate, tmp_path)


async def test_it_ends_when_nobody_has_asked_for_long(tmp_path: Path) -> None:
    async def wait(_: Mock) -> None:
        return

    await _ended(wait, tmp_path, idle=0.4)
