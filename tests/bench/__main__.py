"""`python -m tests.bench [short|full|backfill] [embedded|kafka|sources]`: JSON in build/ and a table.

short: 10,000 existing customers, few events: a first look in some minutes. full: also 300,000, as the README quotes it:
twenty minutes. backfill: only that, of 1,000,000 objects, with deliveries during several parts of it: an hour for each
pair; the others have a small one, beside deliveries and then alone. The last word takes one part alone. What is found
stands in the file at once, also where a run is cut short. Baselines run in between on the same broker with the same
payloads: the raw aiokafka hop, and Quix Streams in an environment of its own (build/quix; left out with a line where it
cannot be installed).
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from core import publish
from core.bus import Bus
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.projection import FOLD_REVISION
from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite
from tests.bench import backfill, hubs, pipeline, quix, sources, streams
from tests.bench.rows import BUILD, FIGURES, OF_BACKFILL, Report, Row, out, percentile
from tests.kafka.broker import Broker
from tests.postgres import server

RATES = (100, 500)
_DISK_CAP = 50_000_000_000  # bytes: a million objects take about 9 GB, from 80 % of the cap on polls wait


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run measures."""

    existing: tuple[int, ...]
    events: int
    seconds: float
    backfill: int  # objects


SIZES = {
    "short": Size((10_000,), 20_000, 5.0, 15_000),
    "full": Size((10_000, 300_000), 40_000, 8.0, 60_000),
    "backfill": Size((10_000,), 0, 25.0, 1_000_000),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A bus and a store, and how hub.yaml names them."""

    name: str
    folder: Path
    servers: str = ""
    url: str = ""

    @property
    def backends(self) -> str:
        if not self.servers:
            return f"bus: {{disk_cap: {_DISK_CAP}}}"
        bus = f'bus: {{type: kafka, servers: "{self.servers}", prefix: "{self.prefix}"}}'
        return f'{bus}\nstore: {{type: postgres, url: "{self.url}"}}'

    @property
    def prefix(self) -> str:
        return f"{self.folder.name}-"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Bus, Store]]:
        kind = {"kind": "demo", "fold_revision": FOLD_REVISION}
        if self.servers:
            bus, store = open_kafka(self.servers, prefix=self.prefix, options={}), open_postgres(self.url, **kind)
        else:
            bus = open_embedded(self.folder / "bus.db", disk_cap=_DISK_CAP)
            store = open_sqlite(self.folder / "hub.db", **kind)
        async with bus as opened_bus, store as opened_store:
            yield opened_bus, opened_store


def _where(pair: Pair, existing: int) -> str:
    return f"{pair.name}, {existing // 1000} k customers"


async def measure(pair: Pair, existing: int, size: Size, report: Report, *, baselines: bool) -> None:
    """One pair with so many customers: both streams, then the whole hub from outside."""
    where = _where(pair, existing)
    async with pair.opened() as (bus, store):
        seconds = await pipeline.load(store, existing)
        # As if they had been published long ago: the topic's head is the store's.
        await store.set_published(await store.published(), (await store.hub()).seq - 1)
        async with bus.sender(publish.SENDER) as sender:
            await publish.drain(sender, store)
        await _settled(pair)
        report.add("loaded", where, existing / seconds, "customers/s")
        for skewed in (False, True) if size.events else ():
            await _stream(pair, bus, store, where, existing, size, report, skewed=skewed, baselines=baselines)
    if size.events:
        await _settled(pair)
        await _outside(pair, where, existing, size, report)
    if existing == size.existing[0]:
        await backfill.measure(
            pair.folder, pair.backends, where, existing, size.backfill, size.seconds * 12, report, whole=not size.events
        )


async def _settled(pair: Pair) -> None:
    if pair.url:
        await asyncio.to_thread(pipeline.settle, pair.url)


async def _stream(
    pair: Pair,
    bus: Bus,
    store: Store,
    where: str,
    existing: int,
    size: Size,
    report: Report,
    *,
    skewed: bool,
    baselines: bool,
) -> None:
    name = "skewed" if skewed else "uniform"
    prepared = pipeline.messages(streams.events(size.events, existing, skewed=skewed))
    hop: Row | None = None
    if pair.servers and baselines:
        await pipeline.fill(bus, prepared)
        topics = f"{pair.prefix}events", f"{pair.prefix}raw"
        rate = await pipeline.raw_hop(pair.servers, *topics, size.events)
        hop = report.add(f"raw aiokafka hop, {name}", where, rate, "events/s")
        out.print(f"  Quix Streams, {name} …")
        if found := await quix.measure(BUILD, pair.servers, prepared):
            report.add(f"Quix Streams, {name}", where, found, "events/s", against=hop)
    else:
        await pipeline.fill(bus, prepared)
    rate = await pipeline.drained(bus, store, size.events)
    what = f"bus to published record, {name}"
    report.add(what, where, rate, "events/s", against=hop)
    few = size.existing[0]
    if existing > few and (row := report.find(what, _where(pair, few))):
        report.add(f"cost per event, {name}, against {few // 1000} k customers", where, row.value / rate, "times")


async def _outside(pair: Pair, where: str, existing: int, size: Size, report: Report) -> None:
    async with hubs.running(pair.folder, pair.backends) as hub:
        for rate in RATES:
            await _latencies(hub, f"webhook to feed, {rate} events/s", where, existing, rate, size.seconds, report)
        found = await hubs.client("lookup", hub.api, hub.token, 500, existing)
        for share in (0.5, 0.99):
            report.add(
                f"look-up by e-mail, p{share * 100:.0f}", where, percentile(found["seconds"], share) * 1000, "ms"
            )
        found = await hubs.client("door", hub.webhook, hubs.SECRET, size.seconds, existing)
        report.add("webhook door", where, found["per_second"], "deliveries/s")
        report.add("peak memory of the hub", where, hub.peak_mb(), "MB")
    if pair.servers:
        async with hubs.running(pair.folder, pair.backends, parts=hubs.APART) as hub:
            what = f"webhook to feed, {RATES[-1]} events/s, ingest apart"
            await _latencies(hub, what, where, existing, RATES[-1], size.seconds, report)
            report.add("peak memory of the hub, ingest apart", where, hub.peak_mb(), "MB")


async def _latencies(
    hub: hubs.Hub, what: str, where: str, existing: int, rate: int, seconds: float, report: Report
) -> None:
    async def load(rate: int, seconds: float) -> dict[str, Any]:
        return await hubs.client("latency", hub.webhook, hubs.SECRET, seconds, existing, rate, hub.api, hub.token)

    await load(RATES[0], hubs.WARM)
    found = await load(rate, seconds)
    for share in (0.5, 0.95, 0.99):
        report.add(f"{what}, p{share * 100:.0f}", where, percentile(found["seconds"], share) * 1000, "ms")
    if found["lost"]:
        report.add(f"{what}, not seen", where, found["lost"], "deliveries")


async def run(size: Size, only: str) -> Report:
    """Each pair with each number of customers, one after the other."""
    report = Report(FIGURES if size.events else OF_BACKFILL)
    if size.events and only in ("", "sources"):
        out.print("\nconnectors", style="bold")
        await sources.measure(report)
    if only == "sources":
        return report
    root = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        servers = url = ""
        if only != "embedded":
            broker = Broker(root / "kafka")
            servers = broker.start()
            stack.callback(broker.stop)
        for existing in size.existing:
            pairs = []
            if only != "kafka":
                pairs.append(Pair("embedded + SQLite", root / f"embedded{existing}"))
            if only != "embedded":
                url = stack.enter_context(server(pipeline.DATABASE))
                pairs.append(Pair("Kafka + PostgreSQL", root / f"kafka{existing}", servers, url))
            for pair in pairs:
                pair.folder.mkdir()
                out.print(f"\n{pair.name}, {existing:,} customers", style="bold")
                await measure(pair, existing, size, report, baselines=existing == size.existing[0])
    return report


def main() -> None:
    words = sys.argv[1:]
    size = next((word for word in words if word in SIZES), "full")
    only = next((word for word in words if word in ("embedded", "kafka", "sources")), "")
    report = uvloop.run(run(SIZES[size], only))
    report.show()


if __name__ == "__main__":
    main()
