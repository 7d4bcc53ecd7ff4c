"""One follower of the store wakes all subscribers, and keeps the newest changes at hand for them.

So a hundred subscribers cost the store what one costs, as long as they keep up; whoever is behind reads the store.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import structlog

from core.errors import TransientError
from core.store import CustomerRow, Store

log = structlog.get_logger()
WINDOW = 1_000  # customers; each once, by its newest version
_PAGE = 500
_LOOK = 1.0  # seconds after which one looks without having been woken


class Page(NamedTuple):
    """Changes in order. `seq` is the head of `generation` at that moment."""

    generation: int
    seq: int
    rows: list[CustomerRow]


class Follower:
    """`run` follows until it is cancelled; `closed` tells subscribers to end."""

    def __init__(self, store: Store, window: int = WINDOW) -> None:
        self._store = store
        self._size = window
        self._window: OrderedDict[str, CustomerRow] = OrderedDict()
        self._floor = 0  # everything above it, up to the head, stands in the window
        self._generation = -1
        self._head = 0
        self._news = asyncio.Event()
        self.closed = False
        self.readers = 0

    async def run(self) -> None:
        """Follow the store; while it is down, wait for it."""
        healthy = True
        while True:
            try:
                async with self._store.notified(_LOOK) as notices:
                    await self._read()
                    if not healthy:
                        log.info("api: the store is back")
                        healthy = True
                    async for _ in notices:
                        await self._read()
            except TransientError as error:
                if healthy:
                    log.warning("api: the store is unavailable, the feed waits", reason=str(error))
                healthy = False
                await asyncio.sleep(_LOOK)

    async def after(self, generation: int, seq: int, limit: int, at_most: int | None = None) -> Page:
        """Customers that changed behind `seq`, in order; of a newer generation than `generation` where there is one."""
        if generation == self._generation and seq >= self._floor and at_most is None:
            return Page(generation, self._head, self._newer(seq)[:limit])
        hub, rows = await self._store.changes(seq, limit, at_most=at_most)
        return Page(hub.generation, hub.seq, rows)

    async def wait(self, generation: int, seq: int, timeout: float) -> None:
        """Until there is something behind this position, or `timeout` seconds."""
        behind = (self._generation, self._head) > (generation, seq)
        if behind or self.closed:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Counts a subscriber as long as it is there."""
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _newer(self, seq: int) -> list[CustomerRow]:
        found = []
        for row in reversed(self._window.values()):
            if row.seq <= seq:
                break
            found.append(row)
        return found[::-1]

    async def _read(self) -> None:
        before = (self._generation, self._head)
        while True:
            hub, rows = await self._store.changes(self._head, _PAGE)
            if hub.generation != self._generation:
                self._window.clear()
                self._generation, self._head, self._floor = hub.generation, hub.seq, hub.seq
                break
            for row in rows:
                self._window[row.id] = row
                self._window.move_to_end(row.id)
                self._head = row.seq
            while len(self._window) > self._size:
                self._floor = self._window.popitem(last=False)[1].seq
            if len(rows) < _PAGE:
                self._head = max(self._head, hub.seq)
                break
        if before != (self._generation, self._head):
            self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
