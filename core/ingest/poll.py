"""Pollers: every stream of the connections that this process is assigned, page by page, each page before its cursor.

The cursors' topic is read as a consumer group: whoever is assigned a connection's partition polls it, nobody else.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from core.bus import Bus, Subscription
from core.bus.topics import CURSORS
from core.config.model import Connection
from core.errors import PermanentError, TransientError
from core.ingest import status
from core.ingest.cursors import Cursors, Saved, decode
from core.ingest.intake import Intake
from core.ingest.pace import Backoff, Lag, Pace, closing, live_first, patiently, told
from core.ingest.status import BUS, Board, Clock, ms
from core.sdk import Http, Stream

GROUP = "poll"
ASSIGNMENT = 0.5  # seconds between two looks at who polls what


@dataclass(frozen=True, slots=True)
class Tools:
    """What polling and fetching work with. `lag` says how many events process has still to take."""

    bus: Bus
    intake: Intake
    connections: Mapping[str, Connection]
    https: Mapping[str, Http]
    board: Board
    clock: Clock
    lag: Lag
    pace: Pace


class Poller:
    """Polls what it is assigned until it is cancelled."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._cursors = Cursors(tools.bus)
        self._running: dict[str, asyncio.Task[None]] = {}

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
            self._running[name] = asyncio.create_task(self._connection(name), name=f"poll {name}")

    async def _connection(self, name: str) -> None:
        tools = self._tools
        await tools.intake.known(name)
        saved = await self._cursors.streams(name)
        async with asyncio.TaskGroup() as streams:
            for stream in tools.connections[name].connector.streams:
                poll = StreamPoll(tools, self._cursors, tools.connections[name], stream, saved.get(stream.name))
                streams.create_task(poll.run(), name=f"poll {name}/{stream.name}")


class StreamPoll:
    """One stream of one connection. `raw` is its saved cursor as it stands on the bus."""

    def __init__(
        self, tools: Tools, cursors: Cursors, connection: Connection, stream: Stream[Any], raw: bytes | None
    ) -> None:
        self._tools = tools
        self._cursors = cursors
        self._connection = connection
        self._stream = stream
        self._raw = raw
        self._saved: Saved | None = None
        self._every = (stream.every or connection.settings.poll_every).total_seconds()
        self._backoff = Backoff(tools.pace)
        self._shown = tools.board[connection.name].streams.setdefault(stream.name, status.Stream())
        self._part = f"poll {stream.name}"

    async def run(self) -> None:
        """Poll for ever: at once if it is the first time, else when it is due."""
        while True:
            try:
                if self._saved is None:
                    self._saved = decode(self._raw)
                    self._show(self._saved)
                    await asyncio.sleep(self._due(self._saved))
                await self._once(self._saved)
            except Exception as failure:
                error = told(failure)
                self._shown.error = str(error)
                self._tools.board.broke(self._connection.name, self._part, error)
                wait = self._backoff.after(error)
            else:
                self._shown.error = None
                self._tools.board.healed(self._connection.name, self._part)
                self._backoff.reset()
                wait = self._every
            await asyncio.sleep(wait)

    async def _once(self, saved: Saved) -> None:
        tools, name = self._tools, self._connection.name
        began = saved.began or ms(tools.clock())
        seen: set[bytes] = set()
        await live_first(tools.lag, tools.pace)
        pages = self._stream.poll(
            tools.https[name], self._connection.settings, tools.intake.account(name), saved.cursor
        )
        async with closing(pages):
            async for page in pages:
                _check(page.cursor, seen)
                await self._publish(page.payloads)
                # Saved last: after a crash this page is fetched again rather than never.
                saved = await self._save(Saved(page.cursor, complete_up_to=saved.complete_up_to, began=began))
                await live_first(tools.lag, tools.pace)
        tools.board.polled(name, self._stream.name, 0)
        await self._save(Saved(saved.cursor, complete_up_to=began))

    async def _publish(self, payloads: Any) -> None:
        name = self._connection.name
        await patiently(lambda: self._tools.intake.payloads(name, payloads))
        self._tools.board.polled(name, self._stream.name, len(payloads))

    async def _save(self, saved: Saved) -> Saved:
        saved = replace(saved, at=ms(self._tools.clock()))
        await self._cursors.save(self._connection.name, self._stream.name, saved)
        self._saved = saved
        self._show(saved)
        return saved

    def _show(self, saved: Saved) -> None:
        self._shown.at, self._shown.complete_up_to = saved.at, saved.complete_up_to

    def _due(self, saved: Saved) -> float:
        """Seconds until the next poll: one that was cut short goes on at once."""
        if saved.complete_up_to is None or saved.began is not None:
            return 0.0
        return min(self._every, max(0.0, saved.complete_up_to / 1000 + self._every - self._tools.clock().timestamp()))


def _check(cursor: Any, seen: set[bytes]) -> None:
    """A loop ends by itself: the same cursor twice in one poll would go in circles."""
    if not isinstance(cursor, dict):
        raise PermanentError("the stream gave a cursor that is not an object")
    try:
        named = orjson.dumps(cursor, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise PermanentError("the stream gave a cursor that is no JSON") from error
    if named in seen:
        raise PermanentError("the source goes in circles: a cursor came twice")
    seen.add(named)
