"""How much is on the bus and not yet in the store, and of which connections."""

from collections import Counter
from collections.abc import Mapping, Sequence

from core.bus import Bus
from core.bus.topics import EVENTS, PAST
from core.store import Store

_READ = 50  # events that are read of a partition; of more it is reckoned by their shares


async def lag(bus: Bus, store: Store, topics: Sequence[str] = (EVENTS, PAST)) -> int:
    """Events that are on the bus and not yet in the store."""
    return sum([behind(await store.offsets(topic), await bus.range(topic)) for topic in topics])


def behind(stored: Mapping[int, int], range_: Mapping[int, tuple[int, int]]) -> int:
    """The same from what the store has of each partition and what the bus has."""
    return sum(max(0, head - stored.get(part, low)) for part, (low, head) in range_.items())


async def waiting(bus: Bus, store: Store) -> dict[str, int]:
    """The same by connection: exact where little waits, else about. Raises TransientError."""
    found: Counter[str] = Counter()
    for topic in (EVENTS, PAST):
        stored = await store.offsets(topic)
        for partition, (low, head) in (await bus.range(topic)).items():
            begin = max(stored.get(partition, low), low)
            if begin >= head:
                continue
            batch = await bus.read(topic, partition, begin, _READ)
            named = Counter(_connection(record.headers) for record in batch.records)
            share = (head - begin) / max(1, batch.end - begin)
            for connection, count in named.items():
                found[connection] += round(count * max(1.0, share))
    return {connection: count for connection, count in found.items() if connection}


def _connection(headers: Sequence[tuple[str, bytes]]) -> str:
    return next(
        (value.decode(errors="ignore") for name, value in headers if name in ("ce_connection", "connection")), ""
    )
