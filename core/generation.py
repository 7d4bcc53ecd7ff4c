"""Versions never fall, also after a restored backup or a lost topic: then a new generation begins.

Whoever writes or publishes checks before it begins: a restored store would otherwise give out versions once more that
the feed has seen with other contents.
"""

import structlog

from core.bus import Bus
from core.bus.topics import CUSTOMERS
from core.store import Store

_LOOK_BACK = 200  # offsets at the end of a partition; transactions leave markers between records

log = structlog.get_logger()


async def check(bus: Bus, store: Store) -> None:
    """Begin a new generation, and publish all anew, where the store is behind the topic (it was restored from a backup)
    or the topic is empty though records were published (it was lost)."""
    # In this order: what was published before we looked must be there, what is published meanwhile need not.
    published = await store.published()
    newest = await head(bus)
    async with store.writing() as writing:
        hub = writing.hub
        lost = newest == (0, 0) and published > 0
        if not lost and newest <= (hub.generation, hub.seq):
            return
        hub = await writing.new_generation(hub.fold_revision, hub.rules)
        while hub.generation <= newest[0]:
            hub = await writing.new_generation(hub.fold_revision, hub.rules)
    why = "the feed's topic is empty" if lost else "the store is older than the feed"
    log.warning(f"{why}: a new generation begins", feed=f"{newest[0]}-{newest[1]}")


async def head(bus: Bus) -> tuple[int, int]:
    """The highest (generation, seq) on the topic; (0, 0) where it is empty. Looks at the end of each partition."""
    newest = (0, 0)
    for partition, (low, high) in (await bus.range(CUSTOMERS)).items():
        begin = max(low, high - _LOOK_BACK)
        while begin < high:
            batch = await bus.read(CUSTOMERS, partition, begin, _LOOK_BACK)
            for record in batch.records:
                generation, _, seq = dict(record.headers)["version"].decode().partition("-")
                newest = max(newest, (int(generation), int(seq)))
            if batch.end <= begin:
                break
            begin = batch.end
    return newest
