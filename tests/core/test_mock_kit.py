"""The kit for contract mocks through real HTTP: the story as webhooks, faults, restarts, clocks."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from core.sdk.mock import Clock, Mock, next_cycle, running, serve
from core.sdk.story import STRIDE
from tests.diary import MS, Diary, Hub, client, get, hub, kinds, post, until

__all__ = ["client", "hub"]


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


async def test_a_beat_that_is_not_in_the_story_happens_now(hub: Hub, client: aiohttp.ClientSession) -> None:
    diary = Diary()
    async with running(diary, target=hub.url, pace=0, clock=Clock(MS, rate=0)) as mock:
        assert await post(client, mock, "beat", kind="call.ring", ref="x", data={"phone": "anonymous"}) == {"pushes": 1}
        assert {name: diary.entries[-1][name] for name in ("kind", "at")} == {"kind": "call.ring", "at": MS}
        await until(lambda: hub.ids() == {diary.entries[-1]["id"]})


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
