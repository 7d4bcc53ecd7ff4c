"""Publish: what changed in the store goes to the compacted `customers` topic, in order, never backwards.

One is active: opening the sender fences its predecessors, before anything is read. A crash between sending and
remembering sends the same or a newer state again; consumers drop a version that they have seen.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog

from core import generation
from core.bus import Bus, Message, Sender
from core.bus.topics import CUSTOMERS
from core.errors import PermanentError, TransientError
from core.metrics import Metrics
from core.precedence import Precedence
from core.store import CustomerRow, HubRow, Store

SENDER = "publish"
BATCH = 500
_TICK = 1.0  # seconds; notices come at once, this is for those that get lost
_LINGER = 0.1  # seconds that the next commits are gathered for after a send, for each send is a sync of a disk
_REMEMBER = 1.0  # seconds between two marks in the store of how far was sent: each is a commit
_LONGEST_PAUSE = 10.0

log = structlog.get_logger()


def message(hub: HubRow, row: CustomerRow) -> Message:
    """A record as the topic carries it: key the customer's id, the version first, the cause in a header."""
    version = f"{hub.generation}-{row.seq}"
    value = b'{"version":"%s",%s' % (version.encode(), row.record[1:])
    headers = [("version", version.encode()), ("content-type", b"application/json"), ("cause", row.cause)]
    return Message(CUSTOMERS, row.id, None if row.status == "erased" else value, headers=headers)


async def run(bus: Bus, store: Store, metrics: Metrics, precedence: Precedence | None = None) -> None:
    """Publish until cancelled. Where another publisher takes over, this one waits and tries to take back later.
    `precedence` is this process's."""
    precedence = precedence or Precedence()
    pause = 0.0
    while True:
        try:
            await generation.check(bus, store)
            async with bus.sender(SENDER) as sender, store.notified(_TICK) as notices:
                sent = await Sent.of(store)
                await sent.drain(sender, metrics)
                if pause:
                    log.info("publish goes on")
                    pause = 0.0
                async for _ in notices:
                    await precedence.free()
                    await sent.drain(sender, metrics, remember_every=_REMEMBER)
                    await asyncio.sleep(_LINGER)
        except (TransientError, PermanentError) as error:
            if not pause:
                log.warning("publish waits", reason=str(error))
            pause = min(_LONGEST_PAUSE, pause * 2 or 0.5)
            await asyncio.sleep(pause)


async def drain(sender: Sender, store: Store, metrics: Metrics | None = None) -> int:
    """Send everything that is committed and not yet sent. Returns how many records that were."""
    return await (await Sent.of(store)).drain(sender, metrics)


@dataclass(slots=True)
class Sent:
    """How far was sent, and how far the store remembers that it was: what lies between is sent twice after a crash."""

    store: Store
    seq: int
    remembered: int
    generation: int
    at: float = 0.0  # when it was remembered, on the loop's clock

    @classmethod
    async def of(cls, store: Store) -> "Sent":
        # In this order: a generation that begins in between is seen with the first changes.
        generation, seq = (await store.hub()).generation, await store.published()
        return cls(store, seq, seq, generation)

    async def drain(self, sender: Sender, metrics: Metrics | None = None, *, remember_every: float = 0.0) -> int:
        """Send what is not yet sent, and remember it if that was not done for so many seconds."""
        count = 0
        while True:
            hub, rows = await self.store.changes(self.seq, BATCH)
            if hub.generation != self.generation:
                self.generation, self.seq = hub.generation, await self.store.published()
                self.remembered = self.seq
                continue
            if rows:
                await sender.send([message(hub, row) for row in rows])
                self.seq = rows[-1].seq
                count += len(rows)
                if metrics:
                    _count(metrics, rows)
            if self.seq != self.remembered and asyncio.get_running_loop().time() - self.at >= remember_every:
                await self._remember()
            if len(rows) < BATCH:  # whatever is committed meanwhile rings again
                return count

    async def _remember(self) -> None:
        if not await self.store.set_published(self.remembered, self.seq):
            self.seq = await self.store.published()  # a fenced predecessor was slower than its fence
        self.remembered, self.at = self.seq, asyncio.get_running_loop().time()


def _count(metrics: Metrics, rows: Sequence[CustomerRow]) -> None:
    metrics.customers.inc(len(rows))
    now = time.time() * 1000
    for row in rows:
        cause = orjson.loads(row.cause)
        if cause.get("received"):
            metrics.feed.labels(cause["connection"]).observe(max(0.0, now - cause["received"]) / 1000)
