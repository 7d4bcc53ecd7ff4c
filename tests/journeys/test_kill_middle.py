"""Killed in the middle of a first fetch, of a sweep, of a listing, and of fetching what webhooks named: the same end.

First at exact instants, with a process that sends itself SIGKILL between two steps; then a whole hub, killed from
outside while HubSpot and Guru hesitate to answer.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core.bus import Bus
from tests import hubs
from tests.dying import opening
from tests.hubs import Hub, Tools
from tests.ingesting import Knows, desk, hints_done, named, running, until
from tests.journeys.sameness import haunting, missing
from tests.source import Source, signed


@dataclass
class Log:
    """A bus that one process after the other opens."""

    place: dict[str, Any]

    def open(self) -> AbstractAsyncContextManager[Bus]:
        return opening(self.place)

    async def dies(self, source: Source, when: str, page: int, body: Any = None) -> None:
        """A process works on it until it kills itself; once it listens it acknowledges `body`."""
        async with self._works(source, when, page) as (process, address):
            if body is not None:
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(f"{address}/hooks/desk", **signed(body)) as answer,
                ):
                    assert answer.status == 202
            assert await asyncio.to_thread(process.wait, hubs.PATIENCE) == -9

    async def killed(self, source: Source, moment: Callable[[], Any]) -> None:
        """A process works on it until the moment has come."""
        async with self._works(source, "before", 10**6) as (process, _):
            await until(moment)
            process.kill()
            assert await asyncio.to_thread(process.wait, hubs.PATIENCE) == -9

    @asynccontextmanager
    async def _works(self, source: Source, when: str, page: int) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
        given = [orjson.dumps(self.place).decode(), source.url, when, str(page)]
        process = subprocess.Popen([sys.executable, "-m", "tests.dying", *given], stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            yield process, (await asyncio.to_thread(process.stdout.readline)).decode().strip()
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log({"path": str(tmp_path / "bus.db")})


def without_lists(source: Source) -> None:
    """From now on only what is asked for by id is told."""

    def answer(request: web.Request) -> web.Response:
        down = request.path == "/people"
        return web.json_response({}, status=503) if down else source.regular(request, source.bodies[-1])

    source.broken = answer


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_before_or_after_a_page_of_the_past_is_published_one_page_is_read_again(
    log: Log, source: Source, when: str
) -> None:
    for number in range(10):
        source.person(number)
    await log.dies(source, when, page=2)
    async with log.open() as bus, running(bus, desk(source)) as hub:
        await until(lambda: hub.has(10))
        await until(lambda: hub.complete())
        ways = await hub.origins()
    assert {number for number, found in ways.items() if len(found) > 1} == ({"2", "3"} if when == "after" else set())
    assert source.paths.count("/people?after=2") == 2 and source.paths.count("/people?after=0") == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_before_or_after_a_page_of_a_sweep_is_published_one_page_is_read_again(
    log: Log, source: Source, when: str
) -> None:
    source.person(0)
    async with log.open() as bus, running(bus, desk(source)) as hub:
        await until(lambda: hub.complete())
    for number in range(1, 9):
        source.person(number)
    await log.dies(source, when, page=2)
    async with log.open() as bus, running(bus, desk(source)) as hub:
        await until(lambda: hub.has(9))
        await until(lambda: hub.complete())
        ways = await hub.origins()
    assert {number for number, found in ways.items() if len(found) > 1} == ({"3", "4"} if when == "after" else set())
    assert ways["8"] == [("sweep", "people", True)] and source.paths.count("/people?after=1") == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_while_it_fetches_what_a_webhook_named_all_of_it_is_fetched(
    log: Log, source: Source, when: str
) -> None:
    await fetched_in_the_end(log, source, when)


async def test_killed_in_the_middle_of_a_listing_it_goes_on_after_the_last_page(
    log: Log, source: Source, tmp_path: Path
) -> None:
    for number in range(30):
        source.person(number)
    source.listed = 10
    del source.people[3]

    async def hesitate(request: web.Request) -> web.StreamResponse:
        if request.path_qs == "/ids?after=20":
            await asyncio.sleep(60)
        return source.regular(request, source.bodies[-1])

    source.broken = hesitate
    log.place |= {"folder": str(tmp_path), "known": 30}
    await log.killed(source, lambda: "/ids?after=20" in source.paths)
    source.broken = None
    async with (
        log.open() as bus,
        running(bus, desk(source), known=Knows(*range(30)), folder=tmp_path) as hub,
    ):
        await until(lambda: hub.is_gone({"3"}))
        await until(lambda: not [*(tmp_path / "listings").iterdir()])
    asked = [path for path in source.paths if path.startswith("/ids")]
    assert asked == ["/ids?after=0", "/ids?after=10", "/ids?after=20", "/ids?after=20"]


@pytest.mark.kafka
async def test_killed_while_it_fetches_from_kafka_all_of_it_is_fetched(
    kafka_servers: str, prefix: str, source: Source
) -> None:
    await fetched_in_the_end(Log({"servers": kafka_servers, "prefix": prefix}), source, "before")


async def fetched_in_the_end(log: Log, source: Source, when: str) -> None:
    for number in range(25):
        source.person(number)
    without_lists(source)
    await log.dies(source, when, page=2, body=named(*range(25)))
    async with log.open() as bus, running(bus, desk(source)) as hub:
        await until(lambda: hub.has(25), seconds=60)
        await until(lambda: hints_done(bus))
        assert {way for found in (await hub.origins()).values() for way, *_ in found} == {"hydrate"}


# -- a whole hub

NAMES = ("guru", "hubspot")
FETCHES = {"guru": "/cards/", "hubspot": "/batch/read$|/threads/[^/]+$"}  # what is asked for by id
LISTS = {"guru": "/search/", "hubspot": "/search$|/objects/(2026-03/)?[^/]+$|/threads$"}
ALL = 10**6


async def fetching(hub: Hub, tools: Tools) -> None:
    """The hub has acknowledged many ids, has fetched some, and waits for both sources to tell the others."""
    await tools.point(hub.webhooks)
    await tools.all("step", beats=300)
    await hubs.until(tools.delivered, "the first webhooks are acknowledged")
    await hub.settled()
    for name in NAMES:
        await tools.post(name, "fault", kind="timeout", times=ALL, path=FETCHES[name], after=1)
    await tools.all("step", beats=600)
    await hubs.until(tools.delivered, "all webhooks are acknowledged")
    await hubs.until(lambda: waiting(tools), "both sources hesitate to answer")


async def waiting(tools: Tools) -> bool:
    return all([(await tools.get(name, "state?truth=0"))["struck"] > 0 for name in NAMES])


async def compared(hub: Hub, tools: Tools, *, told_only: bool) -> None:
    """With the mocks' truth: of all that there is, or of what webhooks told only."""
    acknowledged = await tools.acknowledged()
    async with hub.opened() as (_, store):
        assert await store.dead("open", 10) == []
        sources = {source for source, _ in await store.counts() if source}
        for name in NAMES:
            account = next(each for each in sources if each.startswith(f"{name}/")).partition("/")[2]
            truth = (await tools.get(name, "state"))["truth"]
            told = acknowledged[name]
            wanted = {
                kind: {id: shown for id, shown in objects.items() if id in told or not told_only}
                for kind, objects in truth.items()
            }
            assert sum(map(len, wanted.values())) > 10
            lines = await missing(store, name, account, wanted) + await haunting(store, name, account, truth, told)
            assert not lines, "\n".join(lines[:20])


async def killed_and_compared(folder: Path, sections: dict[str, Any], roles: tuple[str, ...], victim: str) -> None:
    async with (
        hubs.tools(folder / "mocks", NAMES) as tools,
        hubs.hub(folder / "hub", hubs.settings(tools), **sections) as hub,
    ):
        hub.start(*roles)
        await hub.ready()
        await hub.polled()
        await fetching(hub, tools)
        await hub.kill(victim)
        for name in NAMES:  # so that no sweep can repair what is lost
            await tools.post(name, "fault", kind="none")
            await tools.post(name, "fault", kind="503", times=ALL, path=LISTS[name])
        hub.start(victim)
        await hub.ready()
        await hub.drained()
        await compared(hub, tools, told_only=True)
        await tools.all("fault", kind="none")
        hub.start(*roles)
        await hub.ready()
        await hub.drained()
        await compared(hub, tools, told_only=False)


async def test_a_hub_killed_while_it_fetches_what_it_acknowledged_fetches_all_of_it(tmp_path: Path) -> None:
    await killed_and_compared(tmp_path, {}, (), "")


@pytest.mark.kafka
@pytest.mark.postgres
async def test_the_same_on_kafka_and_postgresql(tmp_path: Path, machines: dict[str, Any]) -> None:
    await killed_and_compared(tmp_path, machines, hubs.ROLES, "ingest")
