"""Fetches what webhooks only named: in batches, per connection, so that a throttled source delays only itself.

The hints wait on the bus; the group's offset passes one only after what it names was fetched and published.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import orjson
import structlog

from core.bus import Batch, Message, Record, Subscription
from core.bus.topics import HINTS, partition_of
from core.errors import NormalizeError, PermanentError, RateLimitedError, TransientError, UnauthorizedError
from core.ingest.cursors import listing_name
from core.ingest.lane import MISSING, Lane, Wanted
from core.ingest.pace import Backoff, closing, patiently, told
from core.ingest.status import BUS, ms
from core.ingest.tools import Tools
from core.sdk import Hint, Payload

GROUP = "hydrate"
LOOK = 0.5  # seconds between two looks at the assignment, and between two commits
MOST_TRIES = 5  # failures of one object alone, while others could be fetched
_PART = "hydrate"

log = structlog.get_logger()


@dataclass(slots=True)
class _Fetching:
    """A lane at work. `limit`: how many objects one fetch asks for; `wins`: fetches that went well."""

    lane: Lane
    task: "asyncio.Task[None] | None" = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    limit: int = 1
    wins: int = 0


class Hydrator:
    """Fetches until it is cancelled. `most` hints per connection wait in memory, the others on the bus."""

    def __init__(self, tools: Tools, *, most: int | None = None) -> None:
        self._tools = tools
        self._most = most
        self._fetching: dict[tuple[int, str], _Fetching] = {}
        self._heads: dict[int, int] = {}
        self._committed: dict[int, int] = {}

    async def run(self) -> None:
        try:
            async with self._tools.bus.subscribe([HINTS], GROUP) as subscription:
                while True:
                    try:
                        await self._look(subscription)
                    except TransientError as error:
                        self._tools.board.broke(BUS, GROUP, error)
                        await asyncio.sleep(LOOK)
                    else:
                        self._tools.board.healed(BUS, GROUP)
        finally:
            await self._stop(list(self._fetching))

    async def _look(self, subscription: Subscription) -> None:
        batches = await subscription.next(1000, LOOK)
        owned = {partition for _, partition in subscription.assigned()}
        await self._stop([place for place in self._fetching if place[0] not in owned])
        for partition in self._heads.keys() - owned:
            del self._heads[partition]
            self._committed.pop(partition, None)
        for batch in batches:
            self._heads[batch.partition] = batch.end
            self._committed.setdefault(batch.partition, batch.begin)
            for record in batch.records:
                await self._add(record)
        for (partition, name), fetching in self._fetching.items():
            if fetching.task is not None and fetching.task.done():
                fetching.task.result()  # it ends by a mistake of ours only
            await self._catch_up(partition, name, fetching.lane)
            fetching.wake.set()
        await self._commit(subscription)

    async def _add(self, record: Record) -> None:
        name = _connection(record)
        connection = self._tools.connections.get(name)
        if connection is None or connection.connector.hydrate is None:
            return  # the connection was removed from hub.yaml: nobody can fetch it any more
        fetching = self._fetching.get((record.partition, name))
        if fetching is None:
            fetching = _Fetching(Lane(), limit=connection.connector.batch)
            if self._most is not None:
                fetching.lane.most = self._most
            self._fetching[record.partition, name] = fetching
            fetching.task = asyncio.create_task(self._run(name, fetching), name=f"hydrate {name}")
        lane = fetching.lane
        if lane.behind is None and lane.full:
            lane.behind = record.offset
        if lane.behind is None:
            await self._put(name, lane, record)

    async def _put(self, name: str, lane: Lane, record: Record) -> None:
        if record.value is None:
            return  # a tombstone names nothing to fetch
        try:
            lane.add(_wanted(record, record.value))
        except NormalizeError as error:
            await patiently(partial(self._tools.intake.unreadable, name, record, error))

    async def _catch_up(self, partition: int, name: str, lane: Lane) -> None:
        """Read again from the bus what there was no room for."""
        while lane.behind is not None and len(lane.waiting) <= lane.most // 2:
            batch = await self._tools.bus.read(HINTS, partition, lane.behind, 1000)
            head = self._heads[partition]
            for record in batch.records:
                if lane.full:
                    lane.behind = record.offset
                    return
                if _connection(record) == name:
                    await self._put(name, lane, record)
            if batch.end <= lane.behind < head:
                return  # nothing came: later
            lane.behind = None if batch.end >= head else batch.end

    async def _commit(self, subscription: Subscription) -> None:
        batches = []
        for partition, head in self._heads.items():
            undone = [fetching.lane.undone() for (its, _), fetching in self._fetching.items() if its == partition]
            end = min([head, *(offset for offset in undone if offset is not None)])
            begin = self._committed[partition]
            if end > begin:
                batches.append(Batch(HINTS, partition, begin, end, ()))
        if batches:
            await subscription.commit(batches)
            self._committed |= {batch.partition: batch.end for batch in batches}

    async def _stop(self, places: Sequence[tuple[int, str]]) -> None:
        tasks = [task for place in places if (task := self._fetching.pop(place).task) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, fetching: _Fetching) -> None:
        await self._tools.intake.known(name)
        backoff = Backoff(self._tools.pace)
        while True:
            chunk = fetching.lane.take(ms(self._tools.clock()), fetching.limit)
            if not chunk:
                await self._rest(fetching)
                continue
            error = await self._fetch(name, fetching, chunk)
            if error is None:
                backoff.reset()
            elif isinstance(error, TransientError):
                await asyncio.sleep(backoff.after(error))

    async def _rest(self, fetching: _Fetching) -> None:
        due = fetching.lane.next_due()
        wait = None if due is None else max(0.005, (due - ms(self._tools.clock())) / 1000)
        fetching.wake.clear()
        try:
            async with asyncio.timeout(wait):
                await fetching.wake.wait()
        except TimeoutError:
            pass

    async def _fetch(self, name: str, fetching: _Fetching, chunk: list[Wanted]) -> Exception | None:
        """Fetch and publish; what the source brought before it failed is published, too."""
        tools, lane = self._tools, fetching.lane
        started = ms(tools.clock())
        found, failure = await self._read(name, [hint for wanted in chunk for hint in wanted.hints])
        try:
            if found:
                await patiently(lambda: tools.intake.payloads(name, found, *_origin(chunk[0])))
        except Exception as mistake:  # what the connector gave is no payload
            failure = failure or told(mistake)
        if failure is None:
            lane.done(chunk, started, int(tools.pace.settle * 1000))
            tools.board.hydrated(name, len(chunk))
            tools.board.healed(name, _PART)
            fetching.wins += 1
            fetching.limit = min(tools.connections[name].connector.batch, fetching.limit * 2)
            return None
        await self._failed(name, fetching, chunk, failure)
        return failure

    async def _read(self, name: str, hints: list[Hint]) -> tuple[list[Payload], Exception | None]:
        connection = self._tools.connections[name]
        hydrate = connection.connector.hydrate
        assert hydrate is not None
        account = self._tools.intake.account(name)
        found: list[Payload] = []
        try:
            http = self._tools.https[name].of("sweep" if hints[0].action == MISSING else "live")
            async with closing(hydrate(http, connection.settings, account, hints)) as payloads:
                async for payload in payloads:
                    found.append(payload)  # noqa: PERF401  (what came before a failure counts)
        except Exception as failure:
            return found, told(failure)
        return found, None

    async def _failed(self, name: str, fetching: _Fetching, chunk: list[Wanted], error: Exception) -> None:
        """A source that is down keeps all waiting; an object that fails alone, while others do not, is given up."""
        board, lane = self._tools.board, fetching.lane
        if len(chunk) > 1:
            # Whose fault it is shows in smaller fetches, unless it is plainly the source's.
            if not isinstance(error, RateLimitedError | UnauthorizedError):
                fetching.limit = max(1, len(chunk) // 2)
            lane.back(chunk)
            if isinstance(error, TransientError):
                board.broke(name, _PART, error)
            return
        alone = chunk[0]
        lost = isinstance(error, PermanentError) or alone.tries + 1 >= MOST_TRIES
        if lost:
            for hint in alone.hints:
                await patiently(partial(self._tools.intake.unhydrated, name, hint, error))
            lane.drop(alone)
            return
        board.broke(name, _PART, error)
        blamed = fetching.wins > 0 and not isinstance(error, RateLimitedError | UnauthorizedError)
        fetching.wins = 0
        lane.back(chunk, tries=1 if blamed else 0)


def _origin(wanted: Wanted) -> tuple[str, str]:
    """Way and stream of what is fetched; those of one chunk are alike."""
    return ("hydrate", "") if wanted.listed is None else ("listing", listing_name(wanted.listed))


async def caught_up(tools: Tools, name: str) -> None:
    """Until what a connection's webhooks have named by now was fetched, so that a sweep does not count as missed what
    only waits for its turn. Not for ever: what delays the one may delay the other."""
    partition = partition_of(Message(HINTS, name, None), len(await patiently(lambda: tools.bus.range(HINTS))))
    low, head = (await patiently(lambda: tools.bus.range(HINTS)))[partition]
    with suppress(TimeoutError):
        async with asyncio.timeout(tools.pace.hints):
            # Another process may be the one that fetches: only the bus knows how far it is.
            while (await patiently(lambda: tools.bus.committed(GROUP, HINTS))).get(partition, low) < head:  # noqa: ASYNC110
                await asyncio.sleep(min(LOOK, tools.pace.look))


def _connection(record: Record) -> str:
    return dict(record.headers).get("connection", b"").decode(errors="replace")


def _wanted(record: Record, value: bytes) -> Wanted:
    """Raises NormalizeError where it is no hint that we know, such as one of a newer hub."""
    try:
        hint = Hint(**orjson.loads(value))
    except (TypeError, ValueError) as error:
        raise NormalizeError(f"not a hint of ours: {type(error).__name__}") from error
    if [type(each) for each in (hint.kind, hint.id, hint.at, hint.action)] != [str, str, int, str]:
        raise NormalizeError("not a hint of ours: a field of another type")
    return Wanted((hint,), record.offset, record.timestamp)
