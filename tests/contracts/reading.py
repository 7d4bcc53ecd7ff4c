"""Reading from a bus in tests."""

import asyncio
import time
from collections.abc import Callable, Sequence

from core.bus import Batch, Bus, Message, Record, Subscription

SOON = 30.0  # seconds that something may take at most; nothing is asserted on speed


def messages(count: int, topic: str = "plain", prefix: str = "k") -> list[Message]:
    return [Message(topic, f"{prefix}{number}", str(number).encode()) for number in range(count)]


async def collect(subscription: Subscription, count: int, *, commit: bool = False, limit: int = 500) -> list[Batch]:
    """Batches until `count` records came."""
    found: list[Batch] = []
    deadline = time.monotonic() + SOON
    while sum(len(batch.records) for batch in found) < count and time.monotonic() < deadline:
        batches = await subscription.next(limit, 0.5)
        found += batches
        if commit:
            await subscription.commit(batches)
    return found


def records(batches: Sequence[Batch]) -> list[Record]:
    return [record for batch in batches for record in batch.records]


def values(batches: Sequence[Batch]) -> list[bytes | None]:
    return [record.value for record in records(batches)]


async def everything(bus: Bus, topic: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    found: list[Record] = []
    for partition, (begin, end) in (await bus.range(topic)).items():
        while begin < end:
            batch = await bus.read(topic, partition, begin, 1000)
            assert batch.end > begin
            begin = batch.end
            found += batch.records
    return found


async def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)
