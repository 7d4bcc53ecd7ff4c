"""A day without webhooks, and one in a hundred lost before: after one sweep the records are the mocks' truth, and the
ledger names exactly what was repaired. The hub is killed in the middle of its first fetch and of the sweep.

Hub and mocks live in one simulated time, in processes of their own.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from aiohttp import web

from core import registry
from core.projection import Registers
from core.sdk import Connector, to_ms
from core.store import RepairRow, Store
from tests import hubs
from tests.hubs import Hub, Tools
from tests.journeys.sameness import haunting, missing

HOUR = 3_600_000  # ms
RATE = 30.0  # simulated seconds per second while webhooks are delivered
LIVE = 12.0  # seconds of that
LOST = 0.01  # of the deliveries
BEATS = 10  # of the story in each hour of the outage
FEW = 5  # requests a minute that a source allows while the hub is to be caught in the middle of its work
MANY = 10**9
pytestmark = pytest.mark.timeout(900)


@dataclass
class Time:
    """Of the hub (a file) and of the mocks (over HTTP)."""

    path: Path
    tools: Tools
    now: float = field(default_factory=lambda: time.time() * 1000)
    rate: float = 1.0
    at: float = field(default_factory=time.time)

    def read(self) -> int:
        return int(self.now + (time.time() - self.at) * 1000 * self.rate)

    async def set(self, *, ahead: int = 0, rate: float = 1.0) -> None:
        self.now, self.at, self.rate = self.read() + ahead, time.time(), rate
        part = self.path.with_suffix(".part")
        part.write_bytes(orjson.dumps({"now": self.now, "at": self.at, "rate": rate}))
        part.replace(self.path)
        await self.tools.all("clock", now=self.read(), rate=rate)


class Network:
    """Between the mocks and the hub. It loses deliveries and says that all is well: now and then, or all (`down`)."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._chance = Random(1)
        self.down = False
        self.carried, self.lost = 0, 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers, body = dict(request.headers), await request.read()
        if self.down or self._chance.random() < LOST:
            self.lost += 1
            return web.Response(status=202)
        async with self._hub.session.post(
            f"{self._hub.webhooks}{request.raw_path}", data=body, headers=headers
        ) as told:
            self.carried += told.status == 202
            return web.Response(status=told.status)


@asynccontextmanager
async def network(hub: Hub) -> AsyncIterator[tuple[Network, str]]:
    made = Network(hub)
    runner = web.ServerRunner(web.Server(made.handle, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def killed_in_the_middle(hub: Hub, tools: Tools, since: int) -> None:
    """Start the hub, and kill it when something was read, but not all: the sources allow a few requests only."""

    async def halfway() -> bool:
        sources = (await hub.get("/v1/sources"))["sources"]
        streams = [stream for source in sources for stream in source.get("streams", {}).values()]
        done = [stream for stream in streams if _after(stream.get("complete_up_to"), since)]
        return bool(done) and len(done) < len(streams)

    await tools.all("limit", requests=FEW, per=60)
    hub.start()
    await hub.ready()
    await hubs.until(halfway, "something was read, but not all")
    await hub.kill()
    await tools.all("limit", requests=MANY)


def _after(moment: str | None, since: int) -> bool:
    return moment is not None and to_ms(moment) >= since


async def compared(hub: Hub, since: int) -> None:
    """Until every listing that is due once a day was compared, too."""

    async def done() -> bool:
        sources = {each["connection"]: each.get("streams", {}) for each in (await hub.get("/v1/sources"))["sources"]}
        wanted = [
            (name, f"all {kind}")
            for name, each in hub.config.connections.items()
            for kind in _finds_deleted(each.connector)
        ]
        return all(_after(sources[name].get(stream, {}).get("complete_up_to"), since) for name, stream in wanted)

    await hubs.until(done, "every listing was compared")


async def said(store: Store) -> dict[str, Any]:
    """What every object says."""
    found: dict[str, Any] = {}
    after = ""
    async with store.writing() as writing:
        while keys := await writing.all_object_keys(after, 1_000):
            for key, registers in (await writing.objects(keys)).items():
                visible = Registers.load(registers).visible()
                found[key] = visible.state, {name: fact.value for name, fact in visible.facts.items()}
            after = keys[-1]
    return found


async def repairs(store: Store, tools: Tools) -> set[RepairRow]:
    return {row for name in tools.urls for row in await store.repairs(name, 1_000)}


async def verify(hub: Hub, tools: Tools, before: Mapping[str, Any], known: set[RepairRow]) -> int:
    """The store is the mocks' truth, and the ledger names what is other than before, nothing more; `known` are repairs
    of before."""
    acknowledged = await tools.acknowledged()
    async with hub.opened() as (_, store):
        assert await store.dead("open", 10) == []
        after = await said(store)
        # Nobody missed what came and went unseen.
        changed = {key for key, now in after.items() if before.get(key) != now and (key in before or now[0] == "live")}
        named = {row.key for row in await repairs(store, tools) - known}
        assert (sorted(named - changed), sorted(changed - named)) == ([], [])
        sums = [row for row in await store.ledger(0) if row.way in ("sweep", "listing")]
        assert sum(row.missing for row in sums) == sum(row.repaired for row in sums) >= len(changed)
        sources = {source for source, _ in await store.counts() if source}
        for source in tools.urls:
            account = next(each for each in sources if each.startswith(f"{source}/")).partition("/")[2]
            truth = (await tools.get(source, "state"))["truth"]
            lines = await missing(store, source, account, truth)
            told = await haunting(store, source, account, truth, acknowledged[source])
            lines += [line for line in told if line.split("/")[2] in _finds_deleted(registry.load(source))]
            assert not lines, "\n".join(lines[:20])
        return len(changed)


def _finds_deleted(connector: Connector[Any]) -> set[str]:
    """Kinds whose ids are listed at least once a day."""
    if connector.hydrate is None:
        return set()
    return {listing.kind for listing in connector.listings if listing.every <= timedelta(days=1)}


async def repaired(folder: Path, sections: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    async with (
        hubs.tools(folder / "mocks") as tools,
        hubs.hub(folder / "hub", hubs.settings(tools), **sections) as hub,
        network(hub) as (between, address),
    ):
        times = Time(folder / "clock.json", tools)
        hub.command = [sys.executable, "-m", "tests.simulated", str(times.path)]
        await times.set()
        await killed_in_the_middle(hub, tools, 0)
        hub.start()
        await hub.ready()
        await hub.polled()
        await tools.point(address)
        await times.set(rate=RATE)
        await tools.all("pace", pace=1)
        await asyncio.sleep(LIVE)
        await tools.all("pace", pace=0)
        await hubs.until(tools.delivered, "all webhooks are delivered, or lost")
        await times.set()
        carried, lost = between.carried, between.lost
        assert carried > 100 and lost > 0
        between.down = True
        for _ in range(24):
            await times.set(ahead=HOUR)
            await tools.all("step", beats=BEATS)
        await hubs.until(tools.delivered, "all webhooks are lost")
        between.down = False
        await times.set(ahead=HOUR)
        await hub.settled()
        await hub.stop()
        async with hub.opened() as (_, store):
            before, known = await said(store), await repairs(store, tools)
        since = times.read()
        await killed_in_the_middle(hub, tools, since)
        hub.start()
        await hub.ready()
        await hub.polled(since / 1000)
        await compared(hub, since)
        await hub.drained()
        count = await verify(hub, tools, before, known)
    with capsys.disabled():
        spent = time.monotonic() - began
        print(f"\n[outage] {carried} webhooks came, {between.lost} were lost, {count} objects repaired, {spent:.0f} s")


async def test_after_a_day_without_webhooks_one_sweep_repairs_and_names_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await repaired(tmp_path, {}, capsys)


@pytest.mark.kafka
@pytest.mark.postgres
async def test_the_same_on_kafka_and_postgresql(
    tmp_path: Path, machines: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    await repaired(tmp_path, machines, capsys)
