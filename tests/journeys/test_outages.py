"""Store down, bus down, sources that fail: what is acknowledged waits, and everything heals without a restart."""

import asyncio
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from core import registry
from core.bus.embedded import open_embedded
from core.config.model import Connection
from core.ingest import Pace
from core.sdk import mock as kit
from tests import hubs, postgres
from tests.fixtures_bus import kafka_node
from tests.hubs import Hub, Tools
from tests.ingesting import running, until
from tests.journeys.sameness import missing

SOURCES = ("aircall", "guru", "intercom")
FAULTS = ("429", "500", "timeout", "unauthorized", "cut", "html")  # what mocks can be told to answer
TOKEN = registry.mock("aircall").DEMO["webhook_token"]
PATIENT = aiohttp.ClientTimeout(total=60)


async def lag(hub: Hub) -> float:
    """As its metrics tell it."""
    lines = [line for line in (await hub.get("/metrics")).splitlines() if line.startswith('hub_lag{group="process"}')]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


async def started(tools: Tools, hub: Hub) -> dict[str, int]:
    """The first fetch is done, webhooks go to the hub. Its processes, to see that nobody started them again."""
    hub.start()
    await hub.ready()
    await hub.polled()
    await hub.settled()
    await hubs.until(lambda: _no_lag(hub), "the first fetch is processed")
    await tools.point(hub.webhooks)
    return {name: process.pid for name, process in hub.running.items()}


async def healed(tools: Tools, hub: Hub, processes: dict[str, int]) -> None:
    """Everything arrives by itself, and nothing is missing."""
    await hubs.until(tools.delivered, "all webhooks are delivered")
    await hubs.until(lambda: _no_lag(hub), "process has caught up")
    await hub.settled()
    assert {name: process.pid for name, process in hub.running.items() if process.poll() is None} == processes
    await hub.drained()
    async with hub.opened() as (_, store):
        assert await store.dead("open", 10) == []
        for source in tools.urls:
            accounts = {account for account, _ in await store.counts() if account.startswith(f"{source}/")}
            truth = (await tools.get(source, "state"))["truth"]
            lines = await missing(store, source, accounts.pop().partition("/")[2], truth)
            assert not lines, "\n".join(lines[:20])


async def _no_lag(hub: Hub) -> bool:
    return await lag(hub) == 0


async def grows(tools: Tools, hub: Hub) -> None:
    """The story goes on while the store is away: all of it is taken, and lags."""
    before = await refused(tools)
    await tools.all("step", beats=60)
    await hubs.until(tools.delivered, "webhooks are taken while the store is down")
    assert await refused(tools) == before
    await hubs.until(lambda: _lags(hub), "the lag grows")


async def _lags(hub: Hub) -> bool:
    return await lag(hub) > 5


async def refused(tools: Tools) -> int:
    """Webhooks that were not taken, forged ones aside."""
    entries = [entry for name in tools.urls for entry in await tools.get(name, "deliveries")]
    return sum(not (200 <= entry["status"] < 300 or entry["forged"]) for entry in entries)


def said(hub: Hub, event: str) -> int:
    """How many lines of the log tell this."""
    lines = [orjson.loads(line) for line in hub.log().splitlines() if line.startswith("{")]
    return sum(line["event"] == event for line in lines)


@pytest.mark.timeout(600)
async def test_a_locked_sqlite_holds_up_nobody_at_the_door(tmp_path: Path) -> None:
    async with hubs.tools(tmp_path / "mocks", SOURCES) as tools:
        async with hubs.hub(tmp_path / "hub", hubs.settings(tools)) as hub:
            processes = await started(tools, hub)
            lock = sqlite3.connect(hub.folder / "data" / "hub.db", isolation_level=None)
            try:
                lock.execute("BEGIN IMMEDIATE")
                await grows(tools, hub)
                await hubs.until(lambda: said(hub, "process waits"), "process says that it waits")
            finally:
                lock.close()
            await healed(tools, hub, processes)
            assert said(hub, "process waits") == said(hub, "process goes on") == 1


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(600)
async def test_postgres_that_is_down_holds_up_nobody_at_the_door(tmp_path: Path, machines: dict[str, Any]) -> None:
    database = postgres.Server()
    try:
        database.start()
        sections = {**machines, "store": {"type": "postgres", "url": database.url}}
        async with hubs.tools(tmp_path / "mocks", SOURCES) as tools:
            async with hubs.hub(tmp_path / "hub", hubs.settings(tools), **sections) as hub:
                processes = await started(tools, hub)
                await asyncio.to_thread(database.stop)
                await grows(tools, hub)
                await hubs.until(lambda: said(hub, "process waits"), "process says that it waits")
                await asyncio.to_thread(database.start)
                await healed(tools, hub, processes)
                assert said(hub, "process waits") == said(hub, "process goes on") == 1
    finally:
        database.remove()


@pytest.mark.kafka
@pytest.mark.timeout(600)
async def test_while_kafka_is_down_sources_are_asked_to_come_again(tmp_path: Path) -> None:
    broker = kafka_node(tmp_path / "kafka")
    try:
        bus = {"type": "kafka", "servers": broker.start()}
        # Aircall and HubSpot try again for so long; what others give up, sweeps find.
        async with hubs.tools(tmp_path / "mocks", ("aircall", "hubspot")) as tools:
            connections = hubs.settings(tools, {"hubspot": {"poll_every": "2s"}})
            async with hubs.hub(tmp_path / "hub", connections, bus=bus) as hub:
                processes = await started(tools, hub)
                await asyncio.to_thread(broker.kill)
                body = {"event": "call.created", "timestamp": int(time.time()), "token": TOKEN, "data": {"id": 1}}
                async with hub.session.post(f"{hub.webhooks}/hooks/aircall", json=body, timeout=PATIENT) as answer:
                    assert answer.status == 503
                    assert int(answer.headers["Retry-After"]) > 0
                await tools.all("step", beats=60)
                await hubs.until(lambda: said(hub, "bus unavailable"), "the hub says that the bus is away")
                await asyncio.to_thread(broker.start)
                await healed(tools, hub, processes)
                assert said(hub, "bus unavailable") == said(hub, "bus is back")
    finally:
        await asyncio.to_thread(broker.stop)


@pytest.mark.parametrize("retry_after", [None, 1])
async def test_a_failing_source_is_said_once_and_once_that_it_is_back(tmp_path: Path, retry_after: int | None) -> None:
    async with AsyncExitStack() as stack:
        mocks, connections = {}, {}
        for name in ("aircall", "intercom"):
            connector, module = registry.load(name), registry.mock(name)
            mock = mocks[name] = await stack.enter_async_context(kit.running(module.simulator(7, {}), pace=0))
            settings = {**module.DEMO, "type": name, "mock": True, "base_url": mock.url, "poll_every": "1s"}
            connections[name] = Connection(name, connector, connector.config(**{"account": "example", **settings}))
            mock.limit = 10**9
        bus = await stack.enter_async_context(open_embedded(tmp_path / "bus.db", disk_cap=10**9))
        lines = stack.enter_context(capture_logs())
        pace = Pace(first=0.05, longest=0.5, rest=0.1, longest_rest=0.2, report=0.1)
        hub = await stack.enter_async_context(running(bus, *connections.values(), pace=pace))
        for fault in FAULTS:
            await until(lambda: _well(hub, "aircall"), 60)
            lines.clear()
            given = {"kind": fault, "times": 8, "retry_after": retry_after}
            async with hub.session.post(f"{mocks['aircall'].url}/_mock/fault", json=given):  # type: ignore[union-attr]
                pass
            await until(lambda: hub.documents["aircall"]["error"], 60)
            heard = hub.documents["intercom"]["last_poll"]
            await until(lambda was=heard: hub.documents["intercom"]["last_poll"] > was, 60)
            await until(lambda: _well(hub, "aircall"), 120)
            told = [(line["event"], line["connection"]) for line in lines]
            assert told == [("source unavailable", "aircall"), ("source is back", "aircall")], fault


def _well(hub: Any, name: str) -> bool:
    return name in hub.documents and hub.documents[name]["last_poll"] is not None and not hub.documents[name]["error"]
