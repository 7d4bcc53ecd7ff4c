"""The room: takes batches off the bus and commits them, one worker of perhaps many."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from core import deadletter, generation, purge
from core.bus import Batch, Bus, Subscription
from core.bus.topics import DEAD, EVENTS
from core.errors import OffsetsMoved, PermanentError, TransientError
from core.metrics import Metrics
from core.process.forget import forget
from core.process.step import Decoded, Outcome, Settings, apply, decoded, prepare
from core.store import DeadRow, Store

GROUP = "process"
BATCH = 2_000
_IDLE = 0.5  # seconds
_WORTH_PREPARING = 200  # events; fewer are committed sooner than prepared
_LONGEST_PAUSE = 10.0
_GARBAGE_AFTER = 100_000  # objects more than at the last look; a batch makes some hundred thousand, and none in circles

log = structlog.get_logger()


# Has the sources asked again for what the bus lost, and answers which connections, each with since when.
ReadAgain = Callable[[], Awaitable[Mapping[str, str]]]


async def run(
    bus: Bus,
    store: Store,
    settings: Settings,
    metrics: Metrics,
    *,
    batch: int = BATCH,
    read_again: ReadAgain | None = None,
) -> None:
    """Process until cancelled. A batch that is under way when cancelled is rolled back and comes again. `read_again`
    is called where events are not on the bus any more; it may raise TransientError."""
    worker = _Worker(bus, store, settings, metrics, read_again)
    calm_collector()
    while True:
        try:
            await generation.check(bus, store)
            async with bus.subscribe([EVENTS, DEAD], GROUP, start=worker.start) as subscription:
                await worker.work(subscription, batch)
        except TransientError as error:
            await worker.broke(error)


def calm_collector() -> None:
    """For the whole process: Python's own bound of 700 made the search for circles take a third of each batch."""
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER, 50, 100)


class _Worker:
    def __init__(
        self, bus: Bus, store: Store, settings: Settings, metrics: Metrics, read_again: ReadAgain | None
    ) -> None:
        self._bus, self._store, self._settings, self._metrics = bus, store, settings, metrics
        self._read_again = read_again
        self._pause = 0.0
        self._under_way: set[str] = set()  # subjects of the batch that is being committed

    async def start(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Where the store says that these partitions go on. An offset that the topic does not have (a bus that was lost
        or put back, a retention that was too short) is an alarm: the worker goes on with what there is."""
        found: dict[tuple[str, int], int] = {}
        for topic in {topic for topic, _ in partitions}:
            stored, ranges = await self._store.offsets(topic), await self._bus.range(topic)
            mine = {p: stored[p] for t, p in partitions if t == topic and p in stored}
            lost = {p: next for p, next in mine.items() if not ranges[p][0] <= next <= ranges[p][1]}
            if lost:
                await self._skip(topic, lost, {p: ranges[p][0] for p in lost})
            found |= {(topic, p): ranges[p][0] if p in lost else next for p, next in mine.items()}
        return found

    async def _skip(self, topic: str, lost: Mapping[int, int], begins: Mapping[int, int]) -> None:
        """Said once. The sources are asked before the offsets move: who dies in between asks once more."""
        again = await self._read_again() if self._read_again and topic == EVENTS else {}
        async with self._store.writing() as writing:
            await writing.move_offsets(
                [(topic, partition, next, begins[partition]) for partition, next in lost.items()]
            )
        log.error(
            "the bus does not have what process would read next: events may be missing",
            topic=topic,
            wanted=dict(lost),
            begins_at=dict(begins),
            remedy="lengthen the topic's retention, and wait: the sources are read again, as hub status shows"
            if again
            else "lengthen the topic's retention, and read again what is lost: "
            "hub backfill CONNECTION --since 15d, for each connection",
            **({"reads_again_since": dict(again)} if again else {}),
        )

    async def work(self, subscription: Subscription, limit: int) -> None:
        ahead = asyncio.ensure_future(self._next(subscription, limit))
        try:
            while True:
                batches, work = await ahead
                # Fetched, taken apart and prepared while the database works.
                self._under_way = {event.subject for event in work.events}
                ahead = asyncio.ensure_future(self._next(subscription, limit))
                if not batches:
                    continue
                moved = await self._commit(work, batches)
                self._under_way = set()
                if moved is not None:
                    await _ended(ahead)
                    await subscription.seek(moved)
                    ahead = asyncio.ensure_future(self._next(subscription, limit))
        finally:
            await _ended(ahead)

    async def _next(self, subscription: Subscription, limit: int) -> tuple[Sequence[Batch], Decoded]:
        batches = await subscription.next(limit, _IDLE)
        work = decoded(batches)
        if self._store.beside and self._under_way and len(work.events) >= _WORTH_PREPARING:
            with suppress(TransientError):  # the transaction will tell
                await prepare(self._store, work, self._under_way, self._settings)
        return batches, work

    async def _commit(self, work: Decoded, batches: Sequence[Batch]) -> Mapping[tuple[str, int], int] | None:
        """Until it is committed, or somebody else was first: then where to go on."""
        if work.marks:
            return await self._parted(batches)
        while True:
            try:
                outcome = await apply(self._store, work, self._settings)
            except OffsetsMoved as moved:
                return moved.stored
            except TransientError as error:
                await self.broke(error)
            except PermanentError as error:
                await self._bisect(work, batches, error)
                return None
            else:
                self._healed()
                await self._count(outcome, work)
                return None

    async def _parted(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], int] | None:
        """What stands before a purge's mark, then the purge, then what stands behind it."""
        for part in (part for batch in batches for part in _at_marks(batch)):
            moved = await (self._purge(part) if _is_mark(part) else self._commit(decoded([part]), [part]))
            if moved is not None:
                return moved
        return None

    async def _purge(self, batch: Batch) -> Mapping[tuple[str, int], int] | None:
        """Until its source is forgotten in this partition, or somebody else has it: then where to go on."""
        mark, place = purge.decode(batch.records[0]), (batch.topic, batch.partition)
        while True:
            try:
                await forget(self._store, mark, *place, batch.begin, self._settings)
            except OffsetsMoved as moved:
                return moved.stored
            except TransientError as error:
                await self.broke(error)
            else:
                self._healed()
                log.info("purged", connection=mark.connection, topic=batch.topic, partition=batch.partition)
                await self._bus.forget(GROUP, {place: batch.end})
                return None

    async def _bisect(self, work: Decoded, batches: Sequence[Batch], error: PermanentError) -> None:
        """The database refuses something in this batch for good: halve it until that one is alone, and bury it."""
        size = sum(len(batch.records) for batch in batches)
        if size > 1:
            for half in _halves(batches):
                await self._commit(decoded(half), half)
            return
        records = [record for batch in batches for record in batch.records]
        letters = [deadletter.of_record(record, deadletter.reason_of(error), record.timestamp) for record in records]
        while True:
            try:
                # Where not even the letter can be kept, the error ends the process: nothing may be passed over.
                await apply(self._store, replace(work, events=[], dead=letters), self._settings)
                return
            except OffsetsMoved:
                return
            except TransientError as transient:
                await self.broke(transient)

    async def broke(self, error: TransientError) -> None:
        if not self._pause:
            log.warning("process waits", reason=str(error))
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or 0.2)
        await asyncio.sleep(self._pause)

    def _healed(self) -> None:
        if self._pause:
            log.info("process goes on")
            self._pause = 0.0

    async def _count(self, outcome: Outcome, work: Decoded) -> None:
        now = time.time() * 1000
        for connection, (count, oldest) in outcome.connections.items():
            self._metrics.applied.labels(connection).inc(count)
            self._metrics.apply.labels(connection).observe(max(0.0, now - oldest) / 1000)
        for hour in outcome.ledger:
            if hour.missing:
                self._metrics.missing.labels(hour.connection).inc(hour.missing)
                self._metrics.repaired.labels(hour.connection).inc(hour.repaired)
        for row in outcome.dead:
            self._dead(row)
        await self._bus.forget(GROUP, {(topic, partition): end for topic, partition, _, end in work.moves})

    def _dead(self, row: DeadRow) -> None:
        if row.stage == "fold":  # the others were counted when they were published
            self._metrics.dead.labels(row.connection, row.stage).inc()
            log.warning("dead letter", connection=row.connection, stage=row.stage, reason=row.reason)


async def lag(bus: Bus, store: Store) -> int:
    """Events that are on the bus and not yet in the store."""
    return behind(await store.offsets(EVENTS), await bus.range(EVENTS))


def behind(stored: Mapping[int, int], range_: Mapping[int, tuple[int, int]]) -> int:
    """The same from what the store has of each partition and what the bus has."""
    return sum(max(0, head - stored.get(part, low)) for part, (low, head) in range_.items())


def _halves(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Two parts of about equal size; each partition's records stay in order and without holes between them."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return [list(batches[:middle]), list(batches[middle:])]
    batch = batches[0]
    middle = len(batch.records) // 2
    cut = batch.records[middle].offset
    return [
        [batch._replace(end=cut, records=batch.records[:middle])],
        [batch._replace(begin=cut, records=batch.records[middle:])],
    ]


def _at_marks(batch: Batch) -> list[Batch]:
    """The batch in pieces without holes between them, each mark alone."""
    parts, begin = [], batch.begin
    for index in [index for index, record in enumerate(batch.records) if purge.is_mark(record)]:
        offset = batch.records[index].offset
        before = [record for record in batch.records[:index] if record.offset >= begin]
        if offset > begin:
            parts.append(batch._replace(begin=begin, end=offset, records=before))
        parts.append(batch._replace(begin=offset, end=offset + 1, records=[batch.records[index]]))
        begin = offset + 1
    if batch.end > begin:
        rest = [record for record in batch.records if record.offset >= begin]
        parts.append(batch._replace(begin=begin, records=rest))
    return parts


def _is_mark(batch: Batch) -> bool:
    return len(batch.records) == 1 and purge.is_mark(batch.records[0])


async def _ended(task: "asyncio.Future[tuple[Sequence[Batch], Decoded]]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
