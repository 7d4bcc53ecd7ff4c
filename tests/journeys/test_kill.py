"""The hub is killed at random moments of a running story: nothing that was acknowledged is lost, and nothing is told
twice or in another way than by a hub that nobody killed.

Between the mocks and the two hubs stands a relay: what the killed hub acknowledged, and only that, the other one gets.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests import hubs
from tests.fixtures_figures import Tell
from tests.hubs import Hub, Tools
from tests.journeys.sameness import comparable, differences, haunting, missing

# Story seconds per second. Not more: whom an Intercom contact absorbed can be asked for until it is deleted itself,
# 150 story seconds later, and a hub that dies every few seconds must have come to ask by then.
PACE = 4.0
pytestmark = pytest.mark.timeout(3600)


class Relay:
    """Takes webhooks for `first` and answers as it does; what it acknowledged goes to `second`, in that order."""

    def __init__(self, first: Hub, second: Hub) -> None:
        self._first, self._second = first, second
        self._waiting: asyncio.Queue[tuple[str, dict[str, str], bytes]] = asyncio.Queue()
        self.acknowledged = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers, body = dict(request.headers), await request.read()
        try:
            status = await self._send(self._first, request.raw_path, headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()  # who is dead does not answer
            return web.Response(status=503)
        if 200 <= status < 300:
            self.acknowledged += 1
            self._waiting.put_nowait((request.raw_path, headers, body))
        return web.Response(status=status)

    async def pass_on(self) -> None:
        while True:
            path, headers, body = await self._waiting.get()
            while not 200 <= await self._send(self._second, path, headers, body) < 300:
                await asyncio.sleep(0.2)
            self._waiting.task_done()

    async def settled(self) -> None:
        await self._waiting.join()

    @staticmethod
    async def _send(hub: Hub, path: str, headers: dict[str, str], body: bytes) -> int:
        # With the Host as the source called it, because HubSpot signs the whole address.
        async with hub.session.post(f"{hub.webhooks}{path}", data=body, headers=headers) as answer:
            return answer.status


@asynccontextmanager
async def relaying(first: Hub, second: Hub) -> AsyncIterator[tuple[Relay, str]]:
    """Yields the relay and its address."""
    relay = Relay(first, second)
    runner = web.ServerRunner(web.Server(relay.handle, access_log=None))
    await runner.setup()
    passing = asyncio.create_task(relay.pass_on())
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield relay, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        passing.cancel()
        with suppress(asyncio.CancelledError):
            await passing
        await runner.cleanup()


async def verify(tools: Tools, first: Hub, second: Hub) -> None:
    """Nothing is missing, and nothing is other than at the hub that nobody killed."""
    acknowledged = await tools.acknowledged()
    assert all(acknowledged.values()), "a source delivered nothing"
    async with first.opened() as (_, store), second.opened() as (_, other):
        lines = differences(await comparable(store), await comparable(other))
        assert not lines, "\n".join(lines[:20])
        assert await store.dead("open", 10) == []
        sources = {source for source, _ in await store.counts() if source}
        for source in tools.urls:
            account = next(each for each in sources if each.startswith(f"{source}/")).partition("/")[2]
            truth = (await tools.get(source, "state"))["truth"]
            lines = await missing(store, source, account, truth) + await haunting(
                store, source, account, truth, acknowledged[source]
            )
            assert not lines, "\n".join(lines[:20])


@dataclass
class Story:
    """Mocks, a hub to be killed and one that is left alone, and the relay between."""

    tools: Tools
    first: Hub
    second: Hub
    kills: int
    chance: random.Random
    deliveries: int = 0

    async def play(self, *roles: str) -> None:
        """A first fetch and a running world, with kills; at the end all stands still and both hubs are stopped."""
        async with relaying(self.first, self.second) as (relay, address):
            self.first.start(*roles)
            self.second.start()
            await self.second.ready()
            await self._kill(self.kills // 5)  # in the middle of the first fetch
            await asyncio.gather(self.first.polled(), self.second.polled())
            await self.tools.point(address)
            await self.tools.all("pace", pace=PACE)
            await self._kill(self.kills - self.kills // 5)
            await asyncio.sleep(2)
            await self.tools.all("pace", pace=0)
            await hubs.until(self.tools.delivered, "all webhooks are delivered")
            await relay.settled()
            await asyncio.gather(self.first.drained(), self.second.drained())
            self.deliveries = relay.acknowledged

    async def _kill(self, times: int) -> None:
        """One process after the other is killed and started again: as it works, and now and then as it starts."""
        for _ in range(times):
            if self.chance.random() < 0.7:
                await self.first.ready()
            await asyncio.sleep(self.chance.uniform(0, 2.5))
            name = self.chance.choice(sorted(self.first.running))
            await self.first.kill(name)
            self.first.start(name)
        await self.first.ready()


async def killed_and_compared(
    folder: Path, kills: int, sections: dict[str, Any], roles: tuple[str, ...], tell: Tell
) -> None:
    began = time.monotonic()
    async with hubs.tools(folder / "mocks") as tools:
        connections = hubs.settings(tools)
        async with (
            hubs.hub(folder / "killed", connections, **sections) as first,
            hubs.hub(folder / "alive", connections) as second,
        ):
            story = Story(tools, first, second, kills, random.Random(kills))
            await story.play(*roles)
            await verify(tools, first, second)
    where = "Kafka and PostgreSQL" if roles else "embedded"
    tell(f"[kill] {where}: {kills} kills, {story.deliveries} deliveries, {time.monotonic() - began:.0f} s")


async def test_a_killed_hub_loses_nothing_that_it_acknowledged(tmp_path: Path, kills: int, tell: Tell) -> None:
    await killed_and_compared(tmp_path, kills, {}, (), tell)


@pytest.mark.kafka
@pytest.mark.postgres
async def test_killed_roles_lose_nothing_that_the_hub_acknowledged(
    tmp_path: Path, kills: int, machines: dict[str, Any], tell: Tell
) -> None:
    await killed_and_compared(tmp_path, kills, machines, hubs.ROLES, tell)
