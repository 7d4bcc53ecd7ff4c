"""Polls, page by page: cursors, crashes, sources that fail, and several processes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from core.bus import Bus, Message
from core.bus.codec import decode
from core.bus.embedded import open_embedded
from core.bus.topics import CURSORS, EVENTS, PAST, TOPICS, Topic
from core.config.model import Connection
from core.errors import TransientError
from core.ingest import Pace
from core.sdk import Page, Stream
from tests.ingesting import Hub, desk, messages, running, status, until
from tests.source import Source, poll, serving


async def test_a_stream_is_read_page_by_page_and_its_cursor_saved(bus: Bus, source: Source) -> None:
    for number in range(5):
        source.person(number)
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.has(5))
        saved = await until(lambda: hub.complete())
        assert saved["cursor"] == {"after": 5} and saved["began"] is None
        assert source.paths.count("/people?after=0") == 1
        await until(lambda: hub.documents["desk"]["streams"].get("people", {}).get("complete_up_to"))
        assert hub.documents["desk"]["polls_here"] is True
        assert hub.metrics.value("polled", connection="desk", stream="people") == 5


async def test_a_restart_goes_on_at_the_cursor_and_sweeps_at_once_what_was_missed(any_bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(any_bus, desk(source)) as hub:
        await until(lambda: hub.complete())
        assert await hub.origins() == {"1": [("backfill", "people", True)]}
    polls = len(source.paths)
    source.person(2)
    async with running(any_bus, desk(source)) as hub:
        await until(lambda: hub.has(2))
        assert source.paths[polls:] == ["/people?after=1"], "once, though it would be due in an hour"
        assert (await hub.origins())["2"] == [("sweep", "people", True)]


async def test_what_the_settings_leave_out_and_take_in_later_is_fetched_as_a_past(bus: Bus, source: Source) -> None:
    """As one that was there from the beginning: not as what webhooks missed, and not beside deliveries."""

    async def left_out(http: Any, config: Any, account: str, cursor: Any) -> AsyncIterator[Page]:
        for page in ():
            yield page

    without = _streaming(desk(source), left_out)
    for number in range(5):
        source.person(number)
    async with running(bus, without) as hub:
        await until(lambda: hub.complete())
        await until(lambda: _told(hub))  # nothing of it is missing
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.has(5))
        assert {ways for [ways, *_] in (await hub.origins()).values()} == {("backfill", "people", True)}
        assert not await messages(bus, EVENTS)
        assert (await until(hub.cursor))["cursor"] == {"after": 5}


async def test_a_list_that_a_stream_reads_since_today_is_fetched_as_a_past_and_the_others_are_swept(
    bus: Bus, source: Source
) -> None:
    async def two_lists(http: Any, config: Any, account: str, cursor: Any) -> AsyncIterator[Page]:
        async for page in poll(http, config, account, cursor):
            yield replace(page, past=bool(page.payloads) and page.payloads[0].data["id"] == 2)

    source.person(1)
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
    source.page = 1
    source.person(2)
    source.person(3)
    async with running(bus, _streaming(desk(source), two_lists)) as hub:
        await until(lambda: hub.has(3))
        ways = await hub.origins()
        assert (ways["2"], ways["3"]) == ([("backfill", "people", True)], [("sweep", "people", True)])
        past = {decode(record).subject.rpartition("/")[2] for record in await messages(bus, PAST)}
        assert past == {"1", "2"}


async def test_a_poll_that_was_cut_short_is_complete_up_to_its_first_beginning(bus: Bus, source: Source) -> None:
    for number in range(4):
        source.person(number)
    source.failing = [lambda _: web.json_response({"people": source.people[:2], "next": 2, "more": True})]
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        began = (await until(hub.cursor))["began"]
    source.broken = None
    async with running(bus, desk(source)) as hub:
        assert (await until(lambda: hub.complete()))["complete_up_to"] == began


async def test_a_poll_that_was_cut_short_a_downtime_ago_is_followed_by_the_next_at_once(
    bus: Bus, source: Source
) -> None:
    source.failing = [lambda _: web.json_response({"people": [source.person(1)], "next": 1, "more": True})]
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        saved = await until(hub.cursor)
    long_ago = saved["began"] - 25 * 3_600_000
    await bus.publish([Message(CURSORS, "desk/people", orjson.dumps({**saved, "began": long_ago}), "desk")])
    source.broken = None
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
        await until(lambda: _told(hub) > long_ago)


async def test_a_crash_between_publish_and_cursor_repeats_the_page(bus: Bus, source: Source) -> None:
    class Crashing:
        """The bus until the first cursor is to be saved."""

        def __init__(self) -> None:
            self.crashed = asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def publish(self, messages: Any) -> None:
            if any(message.topic == CURSORS for message in messages):
                self.crashed.set()
                await asyncio.Event().wait()
            await bus.publish(messages)

    source.person(1)
    crashing = Crashing()
    async with running(crashing, desk(source)):  # type: ignore[arg-type]
        await asyncio.wait_for(crashing.crashed.wait(), 20)
    assert await messages(bus, PAST) and not await messages(bus, CURSORS)
    async with running(bus, desk(source)) as hub:
        assert await until(lambda: hub.complete())
        events = await hub.events()
        assert len(events) == 2 and len({event.subject for event in events}) == 1
    assert source.paths == ["/people?after=0"] * 2


@pytest.mark.parametrize(
    "answer", [status(429), status(500), status(401), status(404)], ids=["429", "500", "401", "404"]
)
async def test_a_failing_poll_is_said_once_heals_and_touches_nobody_else(bus: Bus, source: Source, answer: Any) -> None:
    async with serving(Source("other")) as dead:
        dead.person(1)
        dead.person(2)
        dead.person(3)
        source.person(4)
        dead.failing = [lambda _: web.json_response({"people": dead.people[:2], "next": 2, "more": True})]
        dead.broken = answer
        with capture_logs() as lines:
            async with running(bus, desk(source), desk(dead, "down", account="other")) as hub:
                await until(lambda: hub.has(1, "desk/acme/"))
                await until(lambda: len(dead.requests) > 6)
                document = await until(lambda: hub.documents["down"]["error"] and hub.documents["down"])
                assert document["remedy"] and document["streams"]["people"]["error"]
                assert hub.documents["desk"]["error"] is None
                dead.broken = None
                await until(lambda: hub.has(3, "desk/other/"))
                await until(lambda: hub.documents["down"]["error"] is None)
        said = [line["event"] for line in lines if line.get("connection") == "down"]
        assert said == ["source unavailable", "source is back"]
        assert "/people?after=2" in dead.paths, "it went on where it was"


async def test_a_poll_waits_while_process_lags_and_webhooks_do_not(bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(bus, desk(source), lag=101) as hub:
        assert await hub.post({"items": [{**source.people[0], "id": 99}]}) == 202
        await asyncio.sleep(1.0)
        assert await hub.people() == {"99"}
        hub.lag = 100
        await until(lambda: hub.has(2))


async def test_polls_leave_the_last_fifth_of_the_disk_cap_to_deliveries(source: Source, tmp_path: Path) -> None:
    source.person(1)
    topics = {**TOPICS, "brief": Topic("brief", 1, timedelta(seconds=1), False, "for tests")}
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000, topics=topics, upkeep_every=0.1) as bus:
        await bus.forget("slow", {("brief", 0): 0})
        while not bus.tight:
            await bus.publish([Message("brief", "k", bytes(10_000))])
        async with running(bus, desk(source)) as hub:
            assert await hub.post({"items": [{**source.people[0], "id": 99}]}) == 202
            await asyncio.sleep(1.0)
            assert await hub.people() == {"99"}
            assert "polls wait" in (await bus.check())[0]
            await bus.forget("slow", {("brief", 0): (await bus.range("brief"))[0][1]})
            await until(lambda: hub.has(2))


@pytest.mark.parametrize("cursor", [b"nonsense", b'{"cursor": 7, "at": 1, "complete_up_to": 1}', b'{"other": 1}'])
async def test_a_wrong_cursor_is_shown_and_not_polled(bus: Bus, source: Source, cursor: bytes) -> None:
    await bus.publish([Message(CURSORS, "desk/people", cursor, "desk")])
    async with running(bus, desk(source)) as hub:
        await until(lambda: "cursor" in (hub.documents.get("desk", {}).get("error") or ""))
        assert not source.requests


async def test_a_source_that_goes_in_circles_is_shown_and_not_followed(bus: Bus, source: Source) -> None:
    source.person(1)
    source.broken = lambda _: web.json_response({"people": source.people, "next": 1, "more": True})
    pace = Pace(rest=30.0, report=0.05)
    async with running(bus, desk(source), pace=pace) as hub:
        await until(lambda: "circles" in (hub.documents.get("desk", {}).get("error") or ""))
        asked = len(source.requests)
        await asyncio.sleep(0.5)
        assert len(source.requests) == asked == 2


async def test_each_connection_is_polled_by_one_of_two_and_handed_over(any_bus: Bus, source: Source) -> None:
    names = [f"desk {number}" for number in range(12)]
    every = timedelta(milliseconds=200)
    connections = [desk(source, name, poll_every=every) for name in names]

    def mine(hub: Hub) -> set[str]:
        return {name for name, document in hub.documents.items() if document["polls_here"]}

    async with running(any_bus, *connections) as first:
        await until(lambda: mine(first) == set(names), 60.0)
        async with running(any_bus, *connections) as second:
            await until(lambda: mine(second) and not mine(first) & mine(second), 60.0)
            await until(lambda: mine(first) | mine(second) == set(names), 60.0)
        await until(lambda: mine(first) == set(names), 60.0)


async def test_polls_wait_for_a_bus_that_is_down_and_go_on(bus: Bus, source: Source) -> None:
    class Shaky:
        down = False

        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def publish(self, messages: Any) -> None:
            if self.down:
                raise TransientError("the disk is full")
            await bus.publish(messages)

    shaky = Shaky()
    shaky.down = True
    source.person(1)
    with capture_logs() as lines:
        async with running(shaky, desk(source)) as hub:  # type: ignore[arg-type]
            await until(lambda: source.requests)
            assert await hub.post({"items": [source.people[0]]}) == 503
            await asyncio.sleep(0.5)
            assert len(source.requests) == 1
            shaky.down = False
            await until(lambda: hub.has(1))
            await until(lambda: hub.complete())
    said = [line["event"] for line in lines]
    assert said.count("bus unavailable") == said.count("bus is back") == 1
    assert "source unavailable" not in said


def _streaming(connection: Connection, poll: Any) -> Connection:
    """The connection with another poll of its stream."""
    return replace(connection, connector=replace(connection.connector, streams=(Stream("people", poll),)))


def _told(hub: Hub) -> int:
    """Up to when its people are complete, as it reports; epoch ms."""
    return hub.documents.get("desk", {}).get("streams", {}).get("people", {}).get("complete_up_to") or 0
