"""Nothing is silently missing: backfills that go on, sweeps after every downtime, listings that find the deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from core.bus import Bus, Message
from core.bus.topics import CURSORS, EVENTS, PAST, partition_of
from core.errors import PermanentError, TransientError
from core.ingest import Pace, begin_anew, read_again
from core.ingest.cursors import Cursors, Saved, decode
from core.sdk import Page, Stream
from tests.ingesting import QUICK, Hub, desk, messages, named, running, status, until
from tests.source import Source, serving

CALM = replace(QUICK, calm=0.0)
NOW = 1_800_000_000_000


def polls(source: Source) -> list[str]:
    return [path for path in source.paths if path.startswith("/people")]


@asynccontextmanager
async def stopped_after(bus: Bus, source: Source, pages: int) -> AsyncIterator[None]:
    """A hub that was cut off in the middle of its first fetch."""
    source.failing = [lambda request: source.regular(request, None) for _ in range(pages)]
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        await until(lambda: _fetched(hub, pages * source.page))
    source.broken = None
    yield


async def _fetched(hub: Hub, rows: int) -> bool:
    saved = await hub.cursor()
    return saved is not None and saved["fetched"] == rows


# -- backfill


async def test_a_backfill_tells_how_far_it_is_also_after_a_restart(bus: Bus, source: Source) -> None:
    for number in range(10):
        source.person(number)
    async with stopped_after(bus, source, pages=2):
        source.failing = [lambda request: source.regular(request, None)]
        source.broken = status(500)
        async with running(bus, desk(source)) as hub:
            await until(lambda: _fetched(hub, 6))
            said = await until(lambda: _progress(hub))
            assert (said["way"], said["fetched"], said["total"]) == ("backfill", 6, 10)
            assert said["per_second"] > 0 and said["seconds_left"] >= 0
            source.broken = None
            await until(lambda: hub.complete())
            await until(lambda: _progress(hub) is None)
    assert polls(source).count("/people?after=0") == 1, "it went on where it was"


def _progress(hub: Hub) -> dict[str, Any] | None:
    progress: dict[str, Any] | None = hub.documents["desk"]["streams"].get("people", {}).get("progress")
    return progress if progress is None or progress["per_second"] else None


async def test_live_deliveries_are_taken_while_the_past_is_fetched(bus: Bus, source: Source) -> None:
    for number in range(8):
        source.person(number)
    source.failing = [lambda request: source.regular(request, None)]
    source.broken = status(503)
    async with running(bus, desk(source)) as hub:
        await until(lambda: _fetched(hub, 2))
        live = source.person(99)
        assert await hub.post({"items": [live]}) == 202
        source.broken = None
        await until(lambda: hub.has(9))
        await until(lambda: hub.complete())
        assert (await hub.origins())["99"][0] == ("webhook", "", True)
        assert {ways[0] for number, ways in (await hub.origins()).items() if number != "99"} == {
            ("backfill", "people", True)
        }


# -- sweeps after a downtime


async def test_a_source_that_is_well_again_is_swept_at_once(bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(bus, desk(source), lag=0, pace=CALM) as hub:
        await until(lambda: hub.complete())
        source.broken = status(500)
        await hub.post(named(1))
        await until(lambda: hub.documents["desk"]["error"])
        source.person(2)
        source.broken = None
        await until(lambda: hub.has(2))
        assert (await hub.origins())["2"] == [("sweep", "people", True)]


class Failing:
    """A bus that is down for events as long as `down` says so."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self.down = bus, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, sent: Any) -> None:
        if self.down and any(message.topic in (EVENTS, PAST) for message in sent):
            raise TransientError("the bus is down")
        await self._bus.publish(sent)


async def test_deliveries_that_were_turned_away_are_a_reason_to_sweep(bus: Bus, source: Source) -> None:
    failing: Any = Failing(bus)
    one = source.person(1)
    async with running(failing, desk(source), pace=CALM) as hub:
        await until(lambda: hub.complete())
        count = len(polls(source))
        assert await hub.post({"items": [one]}) == 202
        await asyncio.sleep(0.3)
        assert len(polls(source)) == count, "all is well: it is not due"
        failing.down = True
        assert await hub.post({"items": [one]}) == 503
        source.person(2)
        failing.down = False
        assert await hub.post({"items": [one]}) == 202
        await until(lambda: hub.has(2))


async def test_whoever_polls_sweeps_after_deliveries_that_another_process_turned_away(
    any_bus: Bus, source: Source
) -> None:
    one = source.person(1)
    async with two_of(any_bus, source, CALM) as (_, other):
        await turned_away(other, one)
        source.person(2)
        assert await other[0].post({"items": [one]}) == 202
        await until(lambda: other[0].has(2))
        await asyncio.sleep(1.0)
        count = len(polls(source))
        await asyncio.sleep(1.0)
        assert len(polls(source)) == count, "once"


async def test_an_order_to_sweep_outlives_the_process_that_was_to_do_it(any_bus: Bus, source: Source) -> None:
    one = source.person(1)
    async with two_of(any_bus, source, replace(QUICK, calm=3600.0)) as (owner, other):
        await turned_away(other, one)
        assert await other[0].post({"items": [one]}) == 202
        source.person(2)
        await asyncio.sleep(1.0)
        assert not await other[0].has(2), "it has heard, and rests from its last round"
        assert owner[0].task is not None
        owner[0].task.cancel()
        await until(lambda: other[0].has(2), seconds=60)


async def turned_away(hub: tuple[Hub, Failing], delivered: Any) -> None:
    hub[1].down = True
    assert await hub[0].post({"items": [delivered]}) == 503
    hub[1].down = False


Two = tuple[tuple[Hub, Failing], tuple[Hub, Failing]]


@asynccontextmanager
async def two_of(bus: Bus, source: Source, pace: Pace) -> AsyncIterator[Two]:
    """Two processes, each with its way to the bus; the first one polls `desk`, and both have swept what they poll."""
    async with serving(Source()) as quiet:
        # One in every partition, so that whoever has joined polls some.
        names = {partition_of(Message(CURSORS, name, None), 8): name for name in map("desk{}".format, range(100))}
        several = [desk(source), *(desk(quiet, name) for name in names.values())]
        ways: Any = Failing(bus), Failing(bus)
        async with running(ways[0], *several, pace=pace) as first:
            await until(lambda: first.complete())
            async with running(ways[1], *several, pace=pace) as second:
                await until(lambda: _polls(first) and _polls(second) and _polled_by(first, second), seconds=60)
                await asyncio.sleep(1.0)
                both = (first, ways[0]), (second, ways[1])
                yield both if first.documents["desk"]["polls_here"] else both[::-1]


async def test_another_process_takes_over_without_a_sweep(any_bus: Bus, source: Source) -> None:
    source.person(1)
    async with two_of(any_bus, source, QUICK) as ((owner, _), (other, _)):
        count = len(polls(source))
        assert owner.task is not None
        owner.task.cancel()
        await until(lambda: other.documents["desk"]["polls_here"], seconds=60)
        await asyncio.sleep(1.0)
        assert len(polls(source)) == count, "the listeners were there all the time"


def _polls(hub: Hub) -> bool:
    return any(document.get("polls_here") for document in hub.documents.values())


def _polled_by(*hubs: Hub) -> bool:
    return sum(hub.documents.get("desk", {}).get("polls_here", False) for hub in hubs) == 1


async def test_what_a_webhook_named_is_fetched_before_a_sweep_could_count_it_as_missed(
    bus: Bus, source: Source
) -> None:
    one = source.person(1)
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
        source.broken = status(503)
        one |= {"name": "New", "updated": one["updated"] + 1}
        assert await hub.post(named(1)) == 202
        await until(lambda: hub.documents["desk"]["error"])

    def half(request: web.Request) -> web.Response:
        down = request.path == "/batch"
        return web.json_response({}, status=503) if down else source.regular(request, source.bodies[-1])

    source.broken = half
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.documents.get("desk", {}).get("polls_here"))
        await asyncio.sleep(1.0)
        assert len(polls(source)) == 1, "the sweep waits until the object was fetched"
        source.broken = None
        await until(lambda: len(polls(source)) == 2)
        assert (await hub.origins())["1"][1] == ("hydrate", "", True)


async def test_while_one_stream_fetches_the_past_what_the_others_find_was_not_missed(bus: Bus, source: Source) -> None:
    async def endless(*_: Any) -> AsyncIterator[Page]:
        await asyncio.Event().wait()
        yield Page((), {})

    source.person(1)
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
    source.person(2)
    only = desk(source)
    streams = (*only.connector.streams, Stream("calls", endless))
    async with running(bus, replace(only, connector=replace(only.connector, streams=streams))) as hub:
        await until(lambda: hub.has(2))
        assert (await hub.origins())["2"] == [("backfill", "people", True)]
        assert len(await messages(bus, EVENTS)) == 1, "it goes the way of what is new all the same"


async def test_after_a_restart_a_sweep_lets_process_have_first_what_a_first_fetch_brought(
    bus: Bus, source: Source
) -> None:
    source.person(1)
    async with running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
    before = len(polls(source))
    async with running(bus, desk(source), lag=50) as hub:  # little enough to poll
        await asyncio.sleep(1.0)
        assert len(polls(source)) == before
        hub.lag = 0
        await until(lambda: len(polls(source)) > before)


# -- a person asks for a new beginning


async def test_a_stream_begins_anew_at_once_or_when_the_hub_starts(any_bus: Bus, source: Source) -> None:
    for number in range(5):
        source.person(number)
    only = desk(source)
    async with running(any_bus, only) as hub:
        before = await until(lambda: hub.complete())
        assert await begin_anew(any_bus, only, NOW, stream=None, since=timedelta(days=90), accept=False) == ["people"]
        await until(lambda: polls(source).count("/people?after=0") == 2)
        after = await until(lambda: _honored(hub, NOW))
        assert after["complete_up_to"] >= before["complete_up_to"] and after["since"] is None
        ways = await hub.origins()
        assert ways["1"] == [("backfill", "people", True)] * 2
    await begin_anew(any_bus, only, NOW, stream="people", since=None, accept=False)
    async with running(any_bus, only) as hub:
        await until(lambda: polls(source).count("/people?after=0") == 3)
        await until(lambda: _honored(hub, NOW + 1))
        await asyncio.sleep(1.2)
    assert polls(source).count("/people?after=0") == 3, "once for each order"


async def _honored(hub: Hub, asked: int) -> dict[str, Any] | None:
    saved = await hub.cursor()
    return saved if saved and saved["asked"] == asked and not saved["backfill"] and saved["began"] is None else None


async def test_a_stream_that_is_not_there_cannot_begin_anew(bus: Bus, source: Source) -> None:
    with pytest.raises(PermanentError, match="there are: people, all person"):
        await begin_anew(bus, desk(source), NOW, stream="tickets", since=None, accept=False)
    with pytest.raises(PermanentError, match="only a listing"):
        await begin_anew(bus, desk(source), NOW, stream="people", since=None, accept=True)
    assert not await messages(bus, CURSORS)


# -- the bus has lost something


async def test_what_the_bus_lost_is_read_again_since_then_and_once(bus: Bus, source: Source) -> None:
    source.person(1)
    only, days = desk(source), timedelta(days=3)
    async with running(bus, only) as hub:
        before = await until(lambda: hub.complete())
        assert await read_again(bus, only, NOW, days)
        asked = await hub.cursor()
        assert asked is not None and (asked["since"], asked["cursor"], asked["backfill"]) == (259_200.0, None, True)
        assert asked["complete_up_to"] == before["complete_up_to"]
        await until(lambda: polls(source).count("/people?after=0") == 2)
        await until(lambda: _honored(hub, NOW))
        assert (await hub.origins())["1"] == [("backfill", "people", True)] * 2
    assert await read_again(bus, only, NOW + 60_000, days)
    assert await read_again(bus, only, NOW + 120_000, timedelta(days=1))
    saved = await hub.cursor()
    assert saved is not None and (saved["asked"], saved["since"]) == (NOW + 60_000, 259_200.0)


async def test_a_loss_does_not_shorten_the_first_fetch_of_what_the_settings_may_take_in_later(
    bus: Bus, source: Source
) -> None:
    only = desk(source)
    await Cursors(bus).save("desk", "people", Saved(complete_up_to=1))  # its rounds ended, and no page ever came
    assert await read_again(bus, only, NOW, timedelta(days=1))
    saved = decode((await Cursors(bus).streams("desk"))["people"])
    assert saved.backfill and saved.since is None


@pytest.mark.parametrize("far", [None, timedelta(days=90)])
async def test_a_loss_does_not_shorten_a_first_fetch(bus: Bus, source: Source, far: timedelta | None) -> None:
    for number in range(10):
        source.person(number)
    only = desk(source)
    if far:
        await begin_anew(bus, only, 1, stream="people", since=far, accept=False)
    async with stopped_after(bus, source, pages=2):
        assert await read_again(bus, only, NOW, timedelta(days=1))
        async with running(bus, only) as hub:
            saved = await hub.cursor()
            assert saved is not None and saved["since"] == (far and far.total_seconds())
            await until(lambda: _honored(hub, NOW))
    assert polls(source).count("/people?after=0") == 2
