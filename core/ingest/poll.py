"""Pollers: every stream of the connections that this process is assigned, page by page, each page before its cursor.

The cursors' topic is read as a consumer group: whoever is assigned a connection's partition polls it, nobody else.
"""

import asyncio
from collections.abc import Iterable

from core.bus import Record, Subscription
from core.bus.topics import CURSORS
from core.errors import TransientError
from core.ingest.cursors import DUE, SWEEP, Cursors, asked, listing_name
from core.ingest.listing import ListingPoll
from core.ingest.status import BUS, ms
from core.ingest.stream import StreamPoll
from core.ingest.tools import Tools
from core.ingest.unlisted import forget_all_but, path_of

GROUP = "poll"
ASSIGNMENT = 0.5  # seconds between two looks at who polls what


class Poller:
    """Polls what it is assigned until it is cancelled."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cursors = Cursors(tools.bus)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[str, int] = {}  # by the cursor's key: the newest order that was heard
        self._soon: set[str] = set()  # by the cursor's key: orders that wait for more of their kind
        self._started = False  # what is assigned first is swept at once: nobody may have listened meanwhile

    async def run(self) -> None:
        every = self._tools.connections.values()
        folder = self._tools.folder
        wanted = {path_of(folder, each.name, it.kind) for each in every for it in each.connector.listings}
        await asyncio.to_thread(forget_all_but, folder, wanted)
        try:
            partitions = {name: await self._cursors.partition(name) for name in self._tools.connections}
            async with self._tools.bus.subscribe([CURSORS], GROUP) as subscription:
                while True:
                    await self._look(subscription)
                    await self._tell()
                    owned = {partition for _, partition in subscription.assigned()}
                    await self._assign({name for name, partition in partitions.items() if partition in owned})
                    self._started = self._started or bool(owned)
        finally:
            await self._assign(set())

    async def _look(self, subscription: Subscription) -> None:
        """Cursors come by that we know already, and now and then one with which a person asks for a new beginning, or
        another process for a sweep. The assignment changes only here."""
        try:
            if batches := await subscription.next(1000, ASSIGNMENT):
                for record in (record for batch in batches for record in batch.records):
                    await self._heed(record)
                await subscription.commit(batches)
        except TransientError as error:
            self._tools.board.broke(BUS, GROUP, error)
            await asyncio.sleep(ASSIGNMENT)
        else:
            self._tools.board.healed(BUS, GROUP)

    async def _heed(self, record: Record) -> None:
        name, _, part = record.key.rpartition("/")
        when = asked(record.value)
        if name in self._running and part == SWEEP:
            if when != self._asked.get(record.key):
                self._asked[record.key] = when
                self._tools.board.wake(name)
            return
        if part.startswith(DUE):
            if name in self._running and when > self._asked.get(record.key, 0):
                self._asked[record.key] = when
                self._later(name, record.key, part.removeprefix(DUE))
            return
        if name not in self._running or when <= self._asked.get(record.key, 0):
            return
        self._asked[record.key] = when
        await self._stop([self._running.pop(name)])
        # What ran until now may have saved its own cursor behind the order.
        if asked((await self._cursors.streams(name)).get(part)) < when:
            await self._cursors.put(name, part, record.value or b"")

    def _later(self, name: str, key: str, part: str) -> None:
        """Such orders come in swarms, and a source's lists show late what it tells: one round for all, a poll later."""
        if key not in self._soon:
            self._soon.add(key)
            wait = self._tools.connections[name].settings.poll_every.total_seconds()
            asyncio.get_running_loop().call_later(wait, self._wake, name, key, part)

    def _wake(self, name: str, key: str, part: str) -> None:
        self._soon.discard(key)
        if stream := self._tools.board[name].streams.get(part):
            stream.wake.set()

    async def _tell(self) -> None:
        """Order a sweep where this process noticed that a downtime has ended: of whoever polls the connection, now or
        next. What is polled here knows already."""
        board = self._tools.board
        while board.missed:
            name, now = board.missed.pop(), ms(self._tools.clock())
            if self._tools.connections[name].connector.streams:
                if name in self._running:
                    self._asked[f"{name}/{SWEEP}"] = now
                await self._cursors.sweep(name, now)

    async def _stop(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        stopping = list(tasks)
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)

    async def _assign(self, mine: set[str]) -> None:
        for task in self._running.values():
            if task.done():
                task.result()  # it fails by a mistake of ours only
        gone = {name: self._running.pop(name) for name in self._running.keys() - mine}
        await self._stop(gone.values())
        for name in gone:
            self._tools.board[name].polls_here = False
        for name in mine - self._running.keys():
            self._tools.board[name].polls_here = True
            work = self._connection(name, at_once=not self._started)
            self._running[name] = asyncio.create_task(work, name=f"poll {name}")

    async def _connection(self, name: str, *, at_once: bool) -> None:
        tools = self._tools
        await tools.intake.known(name)
        saved = await self._cursors.streams(name)
        self._asked |= {f"{name}/{part}": asked(raw) for part, raw in saved.items()}
        connection = tools.connections[name]
        async with asyncio.TaskGroup() as parts:
            for stream in connection.connector.streams:
                poll = StreamPoll(
                    tools, self._cursors, connection, stream, saved.get(stream.name),
                    at_once=at_once, ordered=max(asked(saved.get(SWEEP)), asked(saved.get(DUE + stream.name))),
                )  # fmt: skip
                parts.create_task(poll.run(), name=f"poll {name}/{stream.name}")
            if tools.known is None or connection.connector.hydrate is None:
                return
            for listing in connection.connector.listings:
                part = listing_name(listing.kind)
                work = ListingPoll(
                    tools, tools.known, self._cursors, connection, listing, saved.get(part),
                    ordered=asked(saved.get(DUE + part)),
                )  # fmt: skip
                parts.create_task(work.run(), name=f"list {name}/{listing.kind}")
