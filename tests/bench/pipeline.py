"""From bus to published record with one worker, and the raw hop beside it."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.progress import Progress

from core import process, publish
from core.bus import Bus, Message, Record
from core.bus.codec import decode, encode
from core.bus.topics import EVENTS, TOPICS
from core.metrics import Metrics
from core.process import Settings
from core.process.folding import fold_touched
from core.process.objects import Changed, change
from core.process.people import Moved, birth_id, put_people
from core.store import Store
from schemas.event import Event
from tests.bench import streams
from tests.bench.rows import out

_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
# What PostgreSQL's manual gives a machine of its own, and the README our users.
DATABASE = {"shared_buffers": f"{_MEMORY // 4}MB", "max_wal_size": "8GB"}
_CHUNK = 2_000
_BOTH = ("hubspot", "intercom")


async def load(store: Store, count: int) -> float:
    """Put `count` customers into an empty store, past identity: who is who is known. Returns seconds."""
    process.calm_collector()
    began = time.perf_counter()
    events = streams.customers(count)
    with Progress(console=out, transient=True) as progress:
        bar = progress.add_task("  loading", total=count)
        while chunk := list(islice(events, _CHUNK)):
            await _load(store, chunk)
            progress.advance(bar, len(chunk) // len(_BOTH))
    return time.perf_counter() - began


def settle(url: str) -> None:
    """Leave PostgreSQL as if what is in it had come long ago: what it does after so many rows would go on for minutes
    beside what is measured, and its checkpoint holds up commits."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


async def _load(store: Store, chunk: Sequence[Event]) -> None:
    async with store.writing() as writing:
        changed = Changed()
        change(changed, {event.subject: [decode(_record(encode(event)))] for event in chunk}, {}, Settings().rules)
        await writing.put_objects(changed.rows)
        await put_people(writing, changed)
        moved = Moved()
        pairs: list[tuple[str, str]] = []
        for key in changed.after:
            number = key.rpartition("/")[2]
            id = birth_id(writing.hub.secret, f"hubspot/bench/contact/{number}")
            pairs.append((key, id))
            joined = {f"{vendor}/bench/contact/{number}": f"email:customer{number}@example.com" for vendor in _BOTH}
            moved.identity[id] = {"joined_by": joined}
            moved.fold.add(id)
        await writing.set_customers(pairs)
        await fold_touched(writing, changed, moved, dict(pairs), Settings(), [], 0)


def _record(message: Message) -> Record:
    return Record(message.topic, 0, 0, 0, message.key, message.value, message.headers)


def messages(events: Iterator[Event]) -> list[Message]:
    return [encode(event) for event in events]


async def fill(bus: Bus, prepared: Sequence[Message]) -> None:
    for begin in range(0, len(prepared), 5_000):
        await bus.publish(prepared[begin : begin + 5_000])


async def drained(bus: Bus, store: Store, events: int, *, batch: int = process.BATCH) -> float:
    """Events per second from a full bus to published records: one worker, one publisher.

    The clock starts with the first commit, and what that held does not count: before it the worker joins its group,
    which the raw hop does not. It stops when the last record is published.
    """
    metrics = Metrics()
    rooms = [
        asyncio.create_task(process.run(bus, store, Settings(), metrics, batch=batch)),
        asyncio.create_task(publish.run(bus, store, metrics)),
    ]
    try:
        began, first = 0.0, 0
        while (applied := _applied(metrics)) < events or await store.published() < (await store.hub()).seq:
            if applied and not first:
                began, first = time.perf_counter(), applied
            await asyncio.sleep(0.01)
            for room in rooms:
                if room.done():
                    room.result()
        return (events - first) / (time.perf_counter() - began)
    finally:
        for room in rooms:
            room.cancel()
        await asyncio.gather(*rooms, return_exceptions=True)


def _applied(metrics: Metrics) -> int:
    """Events that are committed. Asking this process costs the bus and the store nothing."""
    found = (sample for family in metrics.applied.collect() for sample in family.samples)
    return int(sum(sample.value for sample in found if sample.name.endswith("_total")))


async def raw_hop(servers: str, topic: str, into: str, events: int) -> float:
    """The named baseline: consume, `send` per message to another topic, acks awaited per batch, with aiokafka alone."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=5)
    await consumer.start()
    await producer.start()
    try:
        partitions = [TopicPartition(topic, partition) for partition in range(TOPICS[EVENTS].partitions)]
        ends = await consumer.end_offsets(partitions)
        starts = {partition: max(0, end - events // len(partitions)) for partition, end in ends.items()}
        consumer.assign(partitions)
        for partition, start in starts.items():
            consumer.seek(partition, start)
        total, done = sum(ends[p] - starts[p] for p in partitions), 0
        began = time.perf_counter()
        while done < total:
            found = await consumer.getmany(timeout_ms=500, max_records=process.BATCH)
            acks = [
                await producer.send(into, record.value, key=record.key, headers=list(record.headers))
                for records in found.values()
                for record in records
            ]
            await asyncio.gather(*acks)
            done += len(acks)
        return done / (time.perf_counter() - began)
    finally:
        await producer.stop()
        await consumer.stop()
