"""Quix Streams beside the hub: a keyed JSON update with its durable state, in an environment of its own."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from core.bus import Message
from tests.bench.rows import out

VERSION = "quixstreams==3.28.1"
_PROGRAM = """
import sys, time
from quixstreams import Application
servers, topic, into, count, state, group = sys.argv[1:]
app = Application(broker_address=servers, consumer_group=group, auto_offset_reset="earliest", state_dir=state,
                  loglevel=None, auto_create_topics=True)
source = app.topic(topic, key_deserializer="str", value_deserializer="json")
frame = app.dataframe(source)

def update(value, state):
    known = state.get("fields", {})
    known.update(value)
    state.set("fields", known)
    return known

frame = frame.apply(update, stateful=True).to_topic(app.topic(into, value_serializer="json"))
began = time.perf_counter()
app.run(count=int(count), timeout=30, collect=False)
print(int(count) / (time.perf_counter() - began))
"""


async def measure(build: Path, servers: str, messages: Sequence[Message]) -> float | None:
    """Events per second, its start included; None where it cannot be installed here. The payloads are the hub's, on a
    topic of their own, keyed by the object that they are about."""
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
        process = await asyncio.create_subprocess_exec(
            python, "-c", _PROGRAM, servers, group, f"{group}-out", str(len(messages)), state, group,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await process.communicate()
    return float(printed.split()[-1]) if process.returncode == 0 and printed.split() else None


async def _fill(servers: str, topic: str, messages: Sequence[Message]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 8, 1), NewTopic(f"{topic}-out", 8, 1)])
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
