"""Where an event's time goes: `python -m tests.bench.profile [sqlite|postgres] [CUSTOMERS] [EVENTS] [STREAM] [FILE]`.

Process and publish on a pinned stream without a bus, in CPU time of the hub and of PostgreSQL: a figure that neighbors
on the machine disturb less than events per second. STREAM is uniform or skewed; FILE gets cProfile's statistics.
"""

import cProfile
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path

import psycopg
import uvloop
from psycopg.rows import dict_row

from core import process, publish
from core.bus import Batch, Message, Record
from core.bus.topics import EVENTS, TOPICS, partition_of
from core.process import Settings
from core.projection import FOLD_REVISION
from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite
from tests.bench import pipeline, streams
from tests.bench.rows import out
from tests.postgres import Server

_TICK = os.sysconf("SC_CLK_TCK")


class Count:
    """A `Sender` that only counts."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0

    async def send(self, messages: Sequence[Message]) -> None:
        self.messages += len(messages)
        self.bytes += sum(len(message.value or b"") for message in messages)


class Clock:
    """Seconds of CPU: ours, and those of a server with all its processes."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self.spent: dict[str, list[float]] = {}

    def _now(self) -> list[float]:
        return [time.perf_counter(), time.process_time(), _ticks(self._server) / _TICK if self._server else 0.0]

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        before = self._now()
        yield
        spent = self.spent.setdefault(what, [0.0, 0.0, 0.0])
        for number, (begin, end) in enumerate(zip(before, self._now(), strict=True)):
            spent[number] += end - begin


def _ticks(parent: int) -> int:
    """Of all processes whose parent it is; those that have ended count with their parent."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            total += int(fields[11]) + int(fields[12])
        elif int(folder.name) == parent:
            total += sum(map(int, fields[11:15]))
    return total


def batches(messages: Sequence[Message], size: int) -> Iterator[list[Batch]]:
    """What a subscription would give, `size` records at a time."""
    partitions = TOPICS[EVENTS].partitions
    ends = [0] * partitions
    waiting = iter(messages)
    while chunk := list(islice(waiting, size)):
        records: list[list[Record]] = [[] for _ in range(partitions)]
        begins = list(ends)
        for message in chunk:
            number = partition_of(message, partitions)
            record = Record(EVENTS, number, ends[number], streams.START, message.key, message.value, message.headers)
            records[number].append(record)
            ends[number] += 1
        yield [Batch(EVENTS, n, begins[n], ends[n], found) for n, found in enumerate(records) if found]


_PAGES = """
SELECT wal_bytes AS "bytes of log", wal_fpi AS "full pages in it", hit AS "pages found", read AS "pages read"
FROM pg_stat_wal, (
    SELECT sum(heap_blks_hit + idx_blks_hit) AS hit, sum(heap_blks_read + idx_blks_read) AS read
    FROM pg_statio_user_tables
)
"""


def _pages(server: Server | None) -> dict[str, float]:
    """What was moved so far: of PostgreSQL by its own counters (its manual, "The Cumulative Statistics System"), of
    SQLite by the system's for this process, which does little else (proc(5), /proc/pid/io)."""
    if server is None:
        io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return {"bytes written": float(io["wchar"]), "bytes read": float(io["rchar"])}
    with psycopg.connect(server.url, autocommit=True, row_factory=dict_row) as connection:
        return {name: float(value) for name, value in (connection.execute(_PAGES).fetchone() or {}).items()}


def _show_pages(name: str, before: Mapping[str, float], after: Mapping[str, float], events: int) -> None:
    moved = (f"{(after[what] - began) / events:,.1f} {what}" for what, began in before.items())
    out.print(f"{name or 'measured'}: {', '.join(moved)} each", soft_wrap=True)


@asynccontextmanager
async def _store(kind: str, folder: Path) -> AsyncIterator[tuple[Store, Server | None]]:
    how = {"kind": "demo", "fold_revision": FOLD_REVISION, "secret": b"bench" * 8}
    if kind == "sqlite":
        async with open_sqlite(folder / "hub.db", **how) as store:  # type: ignore[arg-type]
            yield store, None
        return
    server = Server(pipeline.DATABASE)
    try:
        server.start()
        async with open_postgres(server.url, **how) as store:  # type: ignore[arg-type]
            yield store, server
    finally:
        server.remove()


async def measure(kind: str, customers: int, events: int, stream: str, file: str) -> None:
    """Load, run the stream in batches as process takes them, and print microseconds per event."""
    with tempfile.TemporaryDirectory() as folder:
        async with _store(kind, Path(folder)) as (store, server):
            clock = Clock(server.pid if server else None)
            with clock.on("load"):
                await pipeline.load(store, customers)
            _show(clock, customers)
            if server:
                pipeline.settle(server.url)
            await store.set_published(await store.published(), (await store.hub()).seq)
            prepared = pipeline.messages(streams.events(events * 2, customers, skewed=stream == "skewed"))
            for name, begin in (("warm", 0), ("", events)):
                before = _pages(server)
                await _run(store, clock, prepared[begin : begin + events], name, file if not name else "")
                _show_pages(name, before, _pages(server), events)
            _show(clock, events)


async def _run(store: Store, clock: Clock, prepared: Sequence[Message], name: str, file: str) -> None:
    profile, sender = cProfile.Profile(), Count()
    work = list(batches(prepared, process.BATCH))
    offsets = await store.offsets(EVENTS)
    for taken in work:
        moved = [
            batch._replace(begin=batch.begin + offsets.get(n, 0), end=batch.end + offsets.get(n, 0))
            for batch in taken
            for n in (batch.partition,)
        ]
        if file:
            profile.enable()
        with clock.on(f"{name} decode".strip()):
            decoded = process.decoded(moved)
        with clock.on(f"{name} apply".strip()):
            await process.apply(store, decoded, Settings())
        with clock.on(f"{name} publish".strip()):
            await publish.drain(sender, store)
        if file:
            profile.disable()
    each = sender.bytes / max(1, sender.messages)
    out.print(f"{name or 'measured'}: {sender.messages} records, {each:,.0f} bytes each")
    if file:
        profile.dump_stats(file)


def _show(clock: Clock, events: int) -> None:
    for what, (wall, ours, theirs) in clock.spent.items():
        us = [1e6 * seconds / events for seconds in (wall, ours, theirs)]
        out.print(f"{what:14} wall {us[0]:7.1f}   hub {us[1]:7.1f}   postgres {us[2]:7.1f}   us each")
    clock.spent.clear()


def main() -> None:
    defaults = ["postgres", "10000", "20000", "uniform", ""]
    kind, customers, events, stream, file = sys.argv[1:] + defaults[len(sys.argv) - 1 :]
    uvloop.run(measure(kind, int(customers), int(events), stream, file))


if __name__ == "__main__":
    main()
