"""Pollers: every stream of the connections that this process is assigned, page by page, each page before its cursor.

The cursors' topic is read as a consumer group: whoever is assigned a connection's partition polls it, nobody else.
"""

import asyncio

from core.bus import Subscription
from core.bus.topics import CURSORS
from core.errors import TransientError
from core.ingest.cursors import Cursors
from core.ingest.status import BUS
from core.ingest.stream import StreamPoll
from core.ingest.tools import Tools

GROUP = "poll"
ASSIGNMENT = 0.5  # seconds between two looks at who polls what


class Poller:
    """Polls what it is assigned until it is cancelled."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cursors = Cursors(tools.bus)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._started = False  # what is assigned first is swept at once: nobody may have listened meanwhile

    async def run(self) -> None:
        try:
            partitions = {name: await self._cursors.partition(name) for name in self._tools.connections}
            async with self._tools.bus.subscribe([CURSORS], GROUP) as subscription:
                while True:
                    await self._look(subscription)
                    owned = {partition for _, partition in subscription.assigned()}
                    await self._assign({name for name, partition in partitions.items() if partition in owned})
        finally:
            await self._assign(set())

    async def _look(self, subscription: Subscription) -> None:
        """Cursors come by that we know already: what counts is the assignment, which changes only here."""
        try:
            if batches := await subscription.next(1000, ASSIGNMENT):
                await subscription.commit(batches)
        except TransientError as error:
            self._tools.board.broke(BUS, GROUP, error)
            await asyncio.sleep(ASSIGNMENT)
        else:
            self._tools.board.healed(BUS, GROUP)

    async def _assign(self, mine: set[str]) -> None:
        for task in self._running.values():
            if task.done():
                task.result()  # it fails by a mistake of ours only
        gone = {name: self._running.pop(name) for name in self._running.keys() - mine}
        for task in gone.values():
            task.cancel()
        await asyncio.gather(*gone.values(), return_exceptions=True)
        for name in gone:
            self._tools.board[name].polls_here = False
        for name in mine - self._running.keys():
            self._tools.board[name].polls_here = True
            work = self._connection(name, at_once=not self._started)
            self._running[name] = asyncio.create_task(work, name=f"poll {name}")
        self._started = self._started or bool(mine)

    async def _connection(self, name: str, *, at_once: bool) -> None:
        tools = self._tools
        await tools.intake.known(name)
        saved = await self._cursors.streams(name)
        async with asyncio.TaskGroup() as streams:
            for stream in tools.connections[name].connector.streams:
                raw = saved.get(stream.name)
                poll = StreamPoll(tools, self._cursors, tools.connections[name], stream, raw, at_once=at_once)
                streams.create_task(poll.run(), name=f"poll {name}/{stream.name}")
