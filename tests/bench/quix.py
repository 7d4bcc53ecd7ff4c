"""Quix Streams beside the hub: a keyed JSON update with its durable state, in an environment of its own.

It keeps what the hub keeps: every `process.BATCH` events a checkpoint, with its output and its state's changelog
acknowledged, then its offsets. (By default it makes one every 5 s, which would hold this whole run: nothing durable on
the way.) What it did is not its own word: its output topic is read by others, every message counted, the last one of
each key compared with what the update must give, and the time taken from the broker's clock on the messages.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from core import process
from core.bus import Message
from tests.bench.rows import out

VERSION = "quixstreams==3.28.1"
_PARTITIONS = 8
_PROGRAM = """
import sys
from quixstreams import Application
servers, topic, into, count, every, state, group = sys.argv[1:]
app = Application(broker_address=servers, consumer_group=group, auto_offset_reset="earliest", state_dir=state,
                  loglevel=None, auto_create_topics=True, commit_every=int(every))
source = app.topic(topic, key_deserializer="str", value_deserializer="json")
frame = app.dataframe(source)

def update(value, state):
    known = state.get("fields", {})
    known.update(value)
    state.set("fields", known)
    return known

frame = frame.apply(update, stateful=True).to_topic(app.topic(into, value_serializer="json"))
app.run(count=int(count), timeout=30, collect=False)
"""


async def measure(build: Path, servers: str, messages: Sequence[Message]) -> float | None:
    """Events per second, from its first checkpoint's output to its last; None where it cannot be installed here. The
    payloads are the hub's, on a topic of their own, keyed by the object that they are about. Raises RuntimeError where
    its output is not what it must be."""
    python = build / "quix" / "bin" / "python"
    if not python.exists():
        build.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(build / "quix")], check=True)
        made = subprocess.run([python, "-m", "pip", "install", "-q", VERSION], check=False)
        if made.returncode:
            shutil.rmtree(build / "quix")
            out.print("  Quix Streams cannot be installed here: left out", style="yellow")
            return None
    group = f"quix-{uuid.uuid4().hex[:8]}"
    await _fill(servers, group, messages)
    with tempfile.TemporaryDirectory() as state:
        process_ = await asyncio.create_subprocess_exec(
            python, "-c", _PROGRAM, servers, group, f"{group}-out", str(len(messages)), str(process.BATCH), state,
            group,
        )  # fmt: skip
        if await process_.wait():
            raise RuntimeError("Quix Streams failed")
    return await _verified(servers, f"{group}-out", messages)


async def _fill(servers: str, topic: str, messages: Sequence[Message]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        stamped = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics(
            [
                NewTopic(topic, _PARTITIONS, 1),
                NewTopic(f"{topic}-out", _PARTITIONS, 1, topic_configs=stamped),
            ]
        )
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
    await producer.start()
    try:
        for begin in range(0, len(messages), 5_000):
            chunk = messages[begin : begin + 5_000]
            acks = [await producer.send(topic, each.value, key=each.partition_by.encode()) for each in chunk]
            await asyncio.gather(*acks)
    finally:
        await producer.stop()


async def _verified(servers: str, topic: str, messages: Sequence[Message]) -> float:
    expected: dict[str, dict[str, object]] = {}
    for message in messages:
        expected.setdefault(message.partition_by, {}).update(orjson.loads(message.value or b"{}"))
    found: dict[str, bytes] = {}
    times: list[int] = []
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(_PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(each) < end for each, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                times += (record.timestamp for record in records)
                found |= {record.key.decode(): record.value for record in records}
    finally:
        await consumer.stop()
    wrong = sum(orjson.loads(found.get(key, b"{}")) != value for key, value in expected.items())
    if len(times) != len(messages) or wrong:
        raise RuntimeError(f"Quix Streams wrote {len(times)} of {len(messages)} messages, {wrong} keys are wrong")
    times.sort()
    first = process.BATCH  # what came before the clock started does not count, as with the hub
    return 1000 * (len(times) - first) / max(1, times[-1] - times[first - 1])
