"""Every topic with its settings, in one table. Both buses create and check topics from here."""

from dataclasses import dataclass
from datetime import timedelta

RAW = "raw"
EVENTS = "events"
HINTS = "hints"
CURSORS = "cursors"
DEAD = "dead"
CUSTOMERS = "customers"


@dataclass(frozen=True, slots=True)
class Topic:
    """`retention` None keeps for ever; `compact` keeps at least the last value of each key."""

    name: str
    partitions: int
    retention: timedelta | None
    compact: bool
    why: str


TOPICS = {
    topic.name: topic
    for topic in (
        Topic(RAW, 8, timedelta(days=14), True, "payloads as they came, after the cuts: evidence and replay"),
        Topic(EVENTS, 8, timedelta(days=14), True, "what process reads; keyed by event, partitioned by subject"),
        Topic(HINTS, 8, timedelta(days=7), False, "objects that a webhook only named, waiting to be fetched"),
        Topic(CURSORS, 8, None, True, "where each stream's poll goes on; assignment says who polls"),
        Topic(DEAD, 4, timedelta(days=30), False, "inputs that cannot be handled, with the reason"),
        Topic(CUSTOMERS, 8, None, True, "the unified records; its partition count is fixed for life"),
    )
}
