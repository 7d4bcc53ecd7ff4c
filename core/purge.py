"""Taking a connection out again: marks on the bus, behind which nothing that its source said counts any more.

A mark stands in every partition of the events, of those from first fetches, and of the dead letters. Process applies it
in its place, once it has come to it in both topics of events: what came before is forgotten, what comes after (the
connection was added again) counts. So a purge outlives a crash, a replay of the bus and a store that is made anew. What
earlier messages held is made void: events, raw payloads and learnt shapes by tombstones of their keys, which compaction
turns into nothing; dead letters expire. Hints that wait only name what to fetch: whoever reads them finds no such
connection, or one that was added again and fetches its own.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import orjson

from core.bus import Bus, Message, Record
from core.bus.topics import DEAD, EVENTS, PAST, RAW, SHAPES, partition_of
from core.errors import PermanentError

_KEY = "purge/"  # no event and no letter has a key like this: theirs are digests
_PAGE = 1_000
_LOOK = 0.05

Places = dict[str, int]  # "topic/partition" -> offset


class Mark(NamedTuple):
    """`source` is `vendor/account`, with which the keys of its objects begin; `partitions` those of the events."""

    connection: str
    source: str
    partitions: int

    def holds(self, key: str, partition: int) -> bool:
        """Whether an object is to be forgotten at the mark of this partition: only there all that it said has come."""
        named = key.startswith(f"{self.source}/")
        return named and partition_of(Message(EVENTS, key, None), self.partitions) == partition


def is_mark(record: Record) -> bool:
    return record.key.startswith(_KEY)


def decode(record: Record) -> Mark:
    return Mark(**orjson.loads(record.value or b""))


async def begin(bus: Bus, connection: str, source: str, now: int) -> tuple[Places, Places]:
    """Set the marks: durable on return. `now` is epoch ms. Answers how far process must come until all is forgotten,
    and from where on there is something to make void. Raises PermanentError where the topics do not fit."""
    mark = Mark(connection, source, len(await bus.range(EVENTS)))
    if (others := len(await bus.range(PAST))) != mark.partitions:
        # PRIVACY: an object would stand in another partition there, and come back from behind its mark.
        raise PermanentError(
            f"the topics {EVENTS} and {PAST} have {mark.partitions} and {others} partitions: once nothing waits in "
            f"{PAST}, stop the hub, delete that topic, and start the hub, which makes it anew"
        )
    value, messages = orjson.dumps(mark._asdict()), []
    for topic in topics():
        count = len(await bus.range(topic))
        messages += [Message(topic, f"{_KEY}{source}/{now}/{n}", value, _into(n, count)) for n in range(count)]
    await bus.publish(messages)
    ends = {f"{topic}/{n}": end for topic in topics() for n, (_, end) in (await bus.range(topic)).items()}
    kept = (EVENTS, PAST, RAW, SHAPES)
    void = {f"{topic}/{n}": low for topic in kept for n, (low, _) in (await bus.range(topic)).items()}
    return ends, void


async def void(bus: Bus, connection: str, source: str, places: Mapping[str, int], seconds: float) -> tuple[Places, int]:
    """Write tombstones over messages of this source, from `places` on, for about so long. Answers where to go on
    (nowhere: all is done) and how many messages are still to be looked at. Doing it twice does no harm."""
    left, until = dict(places), time.monotonic() + seconds
    behind = 0
    for place in places:
        topic, _, number = place.rpartition("/")
        ranges = await bus.range(topic)
        end = ranges[int(number)][1]
        while left[place] < end and time.monotonic() < until:
            batch = await bus.read(topic, int(number), left[place], _PAGE)
            if batch.end <= left[place]:
                await asyncio.sleep(_LOOK)  # Kafka may be slow to give what it has
            theirs = [
                record for record in batch.records if record.value is not None and _theirs(record, connection, source)
            ]
            into = _into(int(number), len(ranges))
            await bus.publish([Message(topic, record.key, None, into) for record in theirs])
            left[place] = batch.end
        if left[place] >= end:
            del left[place]
        else:
            behind += end - left[place]
    return left, behind


def _theirs(record: Record, connection: str, source: str) -> bool:
    headers = dict(record.headers)
    if record.topic == SHAPES:
        return record.key.startswith(f"{connection}/")
    if "ce_source" in headers:
        return headers["ce_source"].decode() == source
    subjects = headers.get("subjects", b"").decode().split("\n")
    return headers.get("connection", b"").decode() == connection or any(it.startswith(f"{source}/") for it in subjects)


@lru_cache
def _into(partition: int, count: int) -> str:
    """A `partition_by` that leads into this partition."""
    made = (f"{partition}.{n}" for n in itertools.count())
    return next(each for each in made if partition_of(Message("", each, None), count) == partition)


def reached(stored: Mapping[str, Mapping[int, int]], ends: Mapping[str, int]) -> bool:
    """Whether process has come that far; `stored`: its offsets by topic."""
    places = ((place.rpartition("/"), end) for place, end in ends.items())
    return all(stored.get(topic, {}).get(int(number), 0) >= end for (topic, _, number), end in places)


def topics() -> Sequence[str]:
    return EVENTS, PAST, DEAD
