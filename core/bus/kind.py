"""Of which kind the people on a bus are, demo or real: marked at its birth, on both buses alike.

A mark is a record of the cursors' topic, which keeps the last value of each key for ever. The first mark in the log
counts, so that two processes that are the first at once come to the same; each has a key of its own, so that compaction
never puts a later one in its place.
"""

import asyncio
import uuid

from core.bus import Bus, Message, Record
from core.bus.topics import CURSORS, TOPICS, partition_of

_KEY = "_kind."  # no cursor has a key like this: theirs are connection/stream
_PAGE = 1_000
_LOOK = 0.05


def is_mark(record: Record) -> bool:
    return record.key.startswith(_KEY)


async def kind_of(bus: Bus) -> str | None:
    """`demo` or `real`; None where nobody has marked it."""
    ranges = await bus.range(CURSORS)
    partition = partition_of(Message(CURSORS, _KEY, None), len(ranges))
    position, head = ranges[partition]
    while position < head:
        batch = await bus.read(CURSORS, partition, position, _PAGE)
        for record in batch.records:
            if is_mark(record):
                return (record.value or b"").decode()
        if batch.end <= position:
            await asyncio.sleep(_LOOK)  # Kafka may be slow to give what it has
        position = batch.end
    return None


async def mark(bus: Bus, kind: str) -> str:
    """Answers what counts from now on: somebody else may have been first."""
    await bus.publish([Message(CURSORS, _KEY + uuid.uuid4().hex, kind.encode(), partition_by=_KEY)])
    return await kind_of(bus) or kind


async def is_new(bus: Bus) -> bool:
    """Whether nothing was ever written to it."""
    for topic in TOPICS:
        if any(end for _, end in (await bus.range(topic)).values()):
            return False
    return True
