"""Publish: what changed in the store goes to the compacted `customers` topic, in order, never backwards.

One is active: opening the sender fences its predecessors, before anything is read. A crash between sending and
remembering sends the same or a newer state again; consumers drop a version that they have seen.
"""

import asyncio
import time
from collections.abc import Sequence

import orjson
import structlog

from core import generation
from core.bus import Bus, Message, Sender
from core.bus.topics import CUSTOMERS
from core.errors import PermanentError, TransientError
from core.metrics import Metrics
from core.store import CustomerRow, HubRow, Store

SENDER = "publish"
BATCH = 500
_TICK = 1.0  # seconds; notices come at once, this is for those that get lost
_LONGEST_PAUSE = 10.0

log = structlog.get_logger()


def message(hub: HubRow, row: CustomerRow) -> Message:
    """A record as the topic carries it: key the customer's id, the version first, the cause in a header."""
    version = f"{hub.generation}-{row.seq}"
    value = b'{"version":"%s",%s' % (version.encode(), row.record[1:])
    headers = [("version", version.encode()), ("content-type", b"application/json"), ("cause", row.cause)]
    return Message(CUSTOMERS, row.id, None if row.status == "erased" else value, headers=headers)


async def run(bus: Bus, store: Store, metrics: Metrics) -> None:
    """Publish until cancelled. Where another publisher takes over, this one waits and tries to take back later."""
    pause = 0.0
    while True:
        try:
            await generation.check(bus, store)
            async with bus.sender(SENDER) as sender, store.notified(_TICK) as notices:
                await drain(sender, store, metrics)
                if pause:
                    log.info("publish goes on")
                    pause = 0.0
                async for _ in notices:
                    await drain(sender, store, metrics)
        except (TransientError, PermanentError) as error:
            if not pause:
                log.warning("publish waits", reason=str(error))
            pause = min(_LONGEST_PAUSE, pause * 2 or 0.5)
            await asyncio.sleep(pause)


async def drain(sender: Sender, store: Store, metrics: Metrics | None = None) -> int:
    """Send everything that is committed and not yet sent. Returns how many records that were."""
    sent = 0
    while True:
        old = await store.published()
        hub, rows = await store.changes(old, BATCH)
        if not rows:
            return sent
        await sender.send([message(hub, row) for row in rows])
        sent += len(rows)
        if metrics:
            _count(metrics, rows)
        if not await store.set_published(old, rows[-1].seq):
            continue  # a fenced predecessor was slower than its fence: read again


def _count(metrics: Metrics, rows: Sequence[CustomerRow]) -> None:
    metrics.customers.inc(len(rows))
    now = time.time() * 1000
    for row in rows:
        cause = orjson.loads(row.cause)
        if cause.get("received"):
            metrics.feed.labels(cause["connection"]).observe(max(0.0, now - cause["received"]) / 1000)
