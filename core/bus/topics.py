"""Every topic with its settings, in one table. Both buses create and check topics from here."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from core.bus import Message
from core.errors import PermanentError

RAW = "raw"
EVENTS = "events"
PAST = "past"
HINTS = "hints"
CURSORS = "cursors"
QUOTA = "quota"
SHAPES = "shapes"
DEAD = "dead"
CUSTOMERS = "customers"
LETTERS_KEPT = timedelta(days=30)  # dead letters: on the bus and in the store


@dataclass(frozen=True, slots=True)
class Topic:
    """`retention` None keeps for ever; `compact` keeps at least the last value of each key."""

    name: str
    partitions: int
    retention: timedelta | None
    compact: bool
    why: str
    like: str = ""  # made with as many partitions as this one has: the same objects are in both


TOPICS = {
    topic.name: topic
    for topic in (
        Topic(RAW, 8, timedelta(days=14), True, "payloads as they came, after the cuts: evidence and replay"),
        Topic(EVENTS, 8, timedelta(days=14), True, "what process reads; keyed by event, partitioned by subject"),
        Topic(
            PAST, 8, timedelta(days=14), True, "the same from first fetches: read while nothing is under way", EVENTS
        ),
        Topic(HINTS, 8, timedelta(days=7), False, "objects that a webhook only named, waiting to be fetched"),
        Topic(CURSORS, 8, None, True, "where each stream's poll goes on; assignment says who polls; the bus's kind"),
        Topic(QUOTA, 8, timedelta(days=1), False, "what processes claim of a source's limit; the order decides"),
        Topic(SHAPES, 4, None, True, "which fields each kind of payload has, so that a change is noticed"),
        Topic(DEAD, 4, LETTERS_KEPT, False, "inputs that cannot be handled, with the reason"),
        Topic(CUSTOMERS, 8, None, True, "the unified records; its partition count is fixed for life"),
    )
}

# The largest value of a message, in bytes; both buses refuse more.
MAX_VALUE = 8 * 1024 * 1024


def partition_of(message: Message, count: int) -> int:
    """Where a message goes; the same on both buses, so that a log may move between them."""
    return zlib.crc32((message.partition_by or message.key).encode()) % count


def refuse_large(messages: Sequence[Message]) -> None:
    """Raises PermanentError before anything is sent, so that one message does not stop a batch half-way."""
    for message in messages:
        if message.value is not None and len(message.value) > MAX_VALUE:
            raise PermanentError(f"a message of {len(message.value):,} bytes is above the bus's {MAX_VALUE:,}")
