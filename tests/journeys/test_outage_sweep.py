"""A day without webhooks, and one in a hundred lost before: after one sweep the records are those of a hub without a
past, which fetches the same mocks whole, at the same time, and hears no webhook; and the ledger names exactly what was
missed. The hub is killed in the middle of its first fetch and of the sweep.

Hubs and mocks live in one simulated time, in processes of their own.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from aiohttp import web

from core.sdk import Connector, to_ms
from core.store import RepairRow, Store
from schemas.key import key, parse
from tests import hubs
from tests.hubs import Hub, Tools
from tests.journeys.kinds import BEGUN, CHANGES, SETTINGS, STILL, STOCK, STRAY, happen
from tests.journeys.sameness import comparable, differences, objects

HOUR = 3_600_000  # ms
RATE = 30.0  # simulated seconds per second while webhooks are delivered
LIVE = 12.0  # seconds of that
LOST = 0.01  # of the deliveries
BEATS = 10  # of the story in each hour of the outage
FEW = 5  # requests a minute that a source allows while the hub is to be caught in the middle of its work
MANY = 10**9
LEAST = {"aircall": 20, "guru": 8, "hubspot": 25, "intercom": 60}  # objects of each source that the outage must hide
pytestmark = pytest.mark.timeout(900)

# What webhooks alone tell and no list brings, as the connector's README says: whoever fetches afresh cannot know it,
# so that these deliveries never arrive here. By source, what their events begin with, and why.
TOLD_ONCE = {
    "aircall": {
        "message.": "the API has no list of text messages",
        "ai_voice_agent.": "the API has no list of talks with AI voice agents",
        "call.external_transferred": "no read of a call tells to which number outside it was passed on",
    },
}
# What is repaired although no lost delivery names it, and why.
UNTOLD = {
    ("guru", "card"): "who unverifies a card is told by no event",
    ("hubspot", "contact"): "a contact shows the name of its company, whose deliveries name the company alone",
    ("intercom", "note"): "no topic tells of what staff note on a contact",
}


@dataclass
class Time:
    """Of the hubs (a file) and of the mocks (over HTTP)."""

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


Bodies = dict[str, list[str]]  # by source


class Network:
    """Between the mocks and the hub. It loses deliveries and says that all is well: some of them (`stray`), as `chance`
    has it, or all while it is `down` (`lost`)."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._random = Random(1)
        self.chance = LOST
        self.down = False
        self.carried = 0
        self.stray: Bodies = {name: [] for name in hubs.SOURCES}
        self.lost: Bodies = {name: [] for name in hubs.SOURCES}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers, body = dict(request.headers), await request.read()
        source = request.path.split("/")[2]
        if told_once(source, body):
            return web.Response(status=202)
        if self.down or self._random.random() < self.chance:
            (self.lost if self.down else self.stray)[source].append(body.decode())
            return web.Response(status=202)
        async with self._hub.session.post(
            f"{self._hub.webhooks}{request.raw_path}", data=body, headers=headers
        ) as told:
            self.carried += told.status == 202
            return web.Response(status=told.status)


def named_in(bodies: Bodies, keys: Collection[str]) -> set[str]:
    """Which objects these deliveries name; an id may have several parts."""
    text = {source: "\n".join(each) for source, each in bodies.items()}
    parsed = {each: parse(each) for each in keys}
    return {each for each, its in parsed.items() if all(part in text[its.vendor] for part in its.id.split(":"))}


def told_once(source: str, body: bytes) -> bool:
    if source not in TOLD_ONCE:
        return False
    told = orjson.loads(body)
    return str(told.get("event") or told.get("event_name")).startswith(tuple(TOLD_ONCE[source]))


def kinds_of(keys: Collection[str]) -> set[tuple[str, str]]:
    """(source, kind) of each."""
    return {(its.vendor, its.kind) for its in map(parse, keys)}


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


def _finds_deleted(connector: Connector[Any]) -> set[str]:
    """Kinds whose ids are listed at least once a day."""
    if connector.hydrate is None:
        return set()
    return {listing.kind for listing in connector.listings if listing.every <= timedelta(days=1)}


async def fetched(hub: Hub) -> None:
    """It begins, reads all that there is, and ends."""
    hub.start()
    await hub.ready()
    await hub.polled()
    await hub.drained()


async def repairs(store: Store, tools: Tools) -> set[RepairRow]:
    return {row for name in tools.urls for row in await store.repairs(name, 1_000)}


async def kinds_in(tools: Tools, found: Collection[str]) -> set[tuple[str, str]]:
    """(source, kind) of all that lives in the mocks: something of each, and all of it is `found`, and no more."""
    parsed = {each: parse(each) for each in found}
    kinds = set()
    for source in tools.urls:
        account = next(its.account for its in parsed.values() if its.vendor == source)
        for kind, shown in (await tools.get(source, "state"))["truth"].items():
            wanted = {key(source, account, kind, id) for id in shown}
            assert wanted, f"{source} has no {kind}"
            assert {each for each, its in parsed.items() if (its.vendor, its.kind) == (source, kind)} == wanted
            kinds.add((source, kind))
    return kinds


@dataclass(frozen=True)
class Before:
    """What the hub said and had repaired before the sweep."""

    objects: dict[str, Any]
    repairs: set[RepairRow]


async def verify(hub: Hub, fresh: Hub, tools: Tools, between: Network, before: Before) -> Counter[str]:
    """Records and objects are those of the hub without a past; the ledger names what it knew and this one did not, and
    nothing more. How many of each source that were."""
    async with hub.opened() as (_, store), fresh.opened() as (_, other):
        assert await store.dead("open", 10) == await other.dead("open", 10) == []
        now = await objects(other)
        kinds, was = await kinds_in(tools, now), before.objects
        lines = differences(await objects(store), now) + differences(await comparable(store), await comparable(other))
        missed = {each for each in {*was, *now} if was.get(each) != now.get(each)}
        # The messages of a conversation that is gone are not named: they went with it.
        missed = {each for each in missed if was.get(each, {}).get("conversation") not in was.keys() - now.keys()}
        named = {row.key for row in await repairs(store, tools) - before.repairs}
        assert not lines, "\n".join(lines[:40])
        assert kinds - kinds_of(missed) == STILL
        assert (sorted(named - missed), sorted(missed - named)) == ([], [])
        while_down, before_it = named_in(between.lost, named), named_in(between.stray, named)
        assert kinds_of(named - while_down - before_it) <= UNTOLD.keys()
        assert {source for source, _ in kinds_of(before_it - while_down)} == set(tools.urls)
        counts = Counter(each.partition("/")[0] for each in named)
        sums = [row for row in await store.ledger(0) if row.way in ("sweep", "listing")]
        for source, least in LEAST.items():
            rows = [row for row in sums if row.connection == source]
            assert sum(row.missing for row in rows) == sum(row.repaired for row in rows) >= counts[source] >= least
        return counts


async def repaired(folder: Path, sections: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    async with hubs.tools(folder / "mocks") as tools:
        connections = hubs.settings(tools, SETTINGS)
        async with (
            hubs.hub(folder / "hub", connections, **sections) as hub,
            hubs.hub(folder / "fresh", connections) as fresh,
            network(hub) as (between, address),
        ):
            times = Time(folder / "clock.json", tools)
            hub.command = fresh.command = [sys.executable, "-m", "tests.simulated", str(times.path)]
            await times.set()
            await happen(tools, STOCK)
            await killed_in_the_middle(hub, tools, 0)
            hub.start()
            await hub.ready()
            await hub.polled()
            await tools.point(address)
            await times.set(rate=RATE)
            await tools.all("pace", pace=1)
            await asyncio.sleep(LIVE)
            await tools.all("pace", pace=0)
            await happen(tools, BEGUN)
            await hubs.until(tools.delivered, "all webhooks are delivered, or lost")
            assert between.carried > 100 and any(between.stray.values())
            between.chance = 1.0
            await happen(tools, STRAY)
            await hubs.until(tools.delivered, "one webhook of each source is lost for certain")
            await times.set()
            between.down = True
            for hour in range(24):
                await times.set(ahead=HOUR)
                await tools.all("step", beats=BEATS)
                if hour == 12:
                    await happen(tools, CHANGES)
            await hubs.until(tools.delivered, "all webhooks are lost")
            between.down, between.chance = False, LOST
            await times.set(ahead=HOUR)
            await hub.settled()
            await hub.stop()
            async with hub.opened() as (_, store):
                before = Before(await objects(store), await repairs(store, tools))
            since = times.read()
            await killed_in_the_middle(hub, tools, since)
            hub.start()
            await hub.ready()
            await hub.polled(since / 1000)
            await compared(hub, since)
            await asyncio.gather(hub.drained(), fetched(fresh))
            counts = await verify(hub, fresh, tools, between, before)
    with capsys.disabled():
        stray, lost = (sum(map(len, bodies.values())) for bodies in (between.stray, between.lost))
        said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        spent = time.monotonic() - began
        print(f"\n[outage] {between.carried} came, {stray} + {lost} were lost; repaired {said}; {spent:.0f} s")


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
