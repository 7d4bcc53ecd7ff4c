"""The room: takes batches off the bus and commits them, one worker of perhaps many."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from core import deadletter, generation, purge
from core.bus import Batch, Bus, Subscription
from core.bus.topics import DEAD, EVENTS, PAST
from core.errors import GaveWay, OffsetsMoved, PermanentError, TransientError
from core.metrics import Metrics
from core.precedence import Precedence
from core.process.forget import TWINS, forget
from core.process.lots import Lots
from core.process.pieces import at_marks, begins, first, halves, is_mark
from core.process.revision import Due
from core.process.settings import Settings
from core.process.step import Decoded, Outcome, apply, decoded, prepare
from core.store import DeadRow, Store

GROUP, PAST_GROUP = "process", "process-past"
BATCH = 2_000
_IDLE = 0.5  # seconds
_TELL_EVERY = 1.0  # seconds between two words to the bus of what is done: each is a commit of its own
_WORTH_PREPARING = 200  # events; fewer are committed sooner than prepared
_LONGEST_PAUSE = 10.0
_PATIENT = 5  # times that a lot of the past gives way; then it is done all the same
_TWIN_WITHIN = 10.0  # seconds within which Kafka takes and shows both marks of a purge
_TWIN_AT_LEAST = 0.5  # seconds: the clocks of two machines are not one
_TWIN_LOOK = 0.02
_GARBAGE_AFTER = 100_000  # objects more than at the last look; a batch makes some hundred thousand, and none in circles
_GARBAGE_SOON = 5_000  # the same where only some come at a time: a look at few is over before a delivery notices

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
    precedence: Precedence | None = None,
) -> None:
    """Process until cancelled. A batch that is under way when cancelled is rolled back and comes again. `read_again`
    is called where events are not on the bus any more; it may raise TransientError. `precedence` is this process's.
    Raises StaleWorkerError."""
    calm_collector()
    given = bus, store, settings, metrics, read_again, precedence or Precedence(), asyncio.Lock(), Due(store, settings)
    live = _Worker(*given, "process", GROUP, (EVENTS, DEAD))
    past = _Worker(*given, "process of first fetches", PAST_GROUP, (PAST,))
    await _both(live.run(live.work, batch), past.run(past.catch_up, batch))


def calm_collector() -> None:
    """For the whole process: Python's own bound of 700 made the search for circles take a third of each batch."""
    gc.freeze()
    gc.set_threshold(_GARBAGE_AFTER, 50, 100)


class _Worker:
    """One consumer group's. Two of them, deliveries' and first fetches', share nothing but who goes first: what breaks
    the one holds up the other only where the store is down."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        read_again: ReadAgain | None,
        precedence: Precedence,
        beginning: asyncio.Lock,
        due: Due,
        name: str,
        group: str,
        topics: Sequence[str],
    ) -> None:
        self._bus, self._store, self._settings, self._metrics = bus, store, settings, metrics
        self._read_again = read_again
        self._precedence = precedence
        self._beginning, self._due = beginning, due
        self._name, self._group, self._topics = name, group, topics
        self._lots = Lots()
        self._ahead: Sequence[Batch] = ()  # fetched behind the batch that is being committed
        self._fetched = 0  # batches that go first and are not yet committed
        self._pause = 0.0
        self._under_way: set[str] = set()  # subjects of the batch that is being committed
        self._done: dict[tuple[str, int], int] = {}  # where each partition's next record stands, not yet told
        self._told = 0.0  # on the loop's clock

    async def run(self, work: Callable[[Subscription, int], Awaitable[None]], limit: int) -> None:
        while True:
            try:
                async with self._beginning:  # a new generation is begun once
                    await self._due.begin()
                    await generation.check(self._bus, self._store)
                async with self._bus.subscribe(self._topics, self._group, start=self.start) as subscription:
                    await work(subscription, limit)
            except TransientError as error:
                await self.broke(error)

    async def start(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Where the store says that these partitions go on. An offset that the topic does not have (a bus that was lost
        or put back, a retention that was too short) is an alarm: the worker goes on with what there is."""
        found: dict[tuple[str, int], int] = {}
        for topic in {topic for topic, _ in partitions}:
            stored, ranges = await self._store.offsets(topic), await self._bus.range(topic)
            mine = {p: stored.get(p, 0) for t, p in partitions if t == topic}
            lost = {p: next for p, next in mine.items() if not ranges[p][0] <= next <= ranges[p][1]}
            if lost:
                await self._skip(topic, lost, {p: ranges[p][0] for p in lost})
            found |= {(topic, p): ranges[p][0] if p in lost else next for p, next in mine.items()}
        self._done |= found  # whoever had them before may have died before it told
        return found

    async def _skip(self, topic: str, lost: Mapping[int, int], begins: Mapping[int, int]) -> None:
        """Said once. The sources are asked before the offsets move: who dies in between asks once more."""
        again = await self._read_again() if self._read_again and topic != DEAD else {}
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
        ahead: asyncio.Future[tuple[Sequence[Batch], Decoded]] | None = None
        try:
            while True:
                batches, work = await (ahead or self._next(subscription, limit))
                self._ahead = ()
                self._under_way = {event.subject for event in work.events}
                # Where many wait, more are fetched, taken apart and prepared while the database works. Else behind it,
                # with all that came meanwhile: what is fetched too early leaves the rest to wait for one commit more.
                many = len(work.events) >= _WORTH_PREPARING
                ahead = asyncio.ensure_future(self._next(subscription, limit)) if many else None
                await self._tell()
                moved = await self._commit(work, batches) if batches else None
                self._under_way = set()
                self._took(-bool(batches))
                if moved is not None:
                    if ahead is not None:
                        await _ended(ahead)
                        self._took(-self._fetched)
                    self._did(moved)
                    await subscription.seek({**begins([*batches, *self._ahead]), **moved})
                    ahead = None
        finally:
            if ahead is not None:
                await _ended(ahead)
            self._took(-self._fetched)

    def _took(self, more: int) -> None:
        """So many more batches are fetched and not yet committed: all else waits for them."""
        self._fetched += more
        for _ in range(abs(more)):
            (self._precedence.enter if more > 0 else self._precedence.leave)()

    async def catch_up(self, subscription: Subscription, limit: int) -> None:
        """Take what first fetches brought, in lots, while no delivery is under way."""
        while True:
            batches = await subscription.next(limit, _IDLE)
            await self._tell()
            while batches:
                lot, batches = first(batches, self._lots.size)
                if (moved := await self._aside(lot)) is not None:
                    self._did(moved)
                    await subscription.seek({**begins([*lot, *batches]), **moved})
                    break

    async def _aside(self, lot: Sequence[Batch]) -> Mapping[tuple[str, int], int] | None:
        """As `_commit`; it gives way to deliveries, some times."""
        work, gave = decoded(lot), 0
        while True:
            await self._precedence.free()
            began = time.monotonic()
            try:
                moved = await self._commit(work, lot, self._goes_first if gave < _PATIENT else None)
            except GaveWay:
                gave += 1
                continue
            took, busy = time.monotonic() - began, self._precedence.expected
            if busy and gc.get_count()[0] > _GARBAGE_SOON:
                gc.collect(0)
            await asyncio.sleep(self._lots.took(took, busy=busy))
            return moved

    def _goes_first(self) -> bool:
        return self._precedence.taken

    async def _next(self, subscription: Subscription, limit: int) -> tuple[Sequence[Batch], Decoded]:
        self._ahead = batches = await subscription.next(limit, _IDLE)
        if batches:
            self._took(1)
        work = decoded(batches)
        if self._store.beside and self._under_way and len(work.events) >= _WORTH_PREPARING:
            with suppress(TransientError):  # the transaction will tell
                await prepare(self._store, work, self._under_way, self._settings)
        return batches, work

    async def _commit(
        self, work: Decoded, batches: Sequence[Batch], give_way: Callable[[], bool] | None = None
    ) -> Mapping[tuple[str, int], int] | None:
        """Until it is committed, or somebody else was first: then where to go on. With `give_way` it may raise
        GaveWay."""
        if work.marks:
            return await self._parted(batches)
        while True:
            try:
                outcome = await apply(self._store, work, self._settings, give_way)
            except OffsetsMoved as moved:
                return moved.stored
            except TransientError as error:
                await self.broke(error)
            except PermanentError as error:
                await self._bisect(work, batches, error)
                return None
            else:
                self._healed()
                self._count(outcome, work)
                return None

    async def _parted(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], int] | None:
        """What stands before a purge's mark, then the purge, then what stands behind it."""
        parts = [part for batch in batches for part in at_marks(batch)]
        for number, part in enumerate(parts):
            moved = await (self._purge(part) if is_mark(part) else self._commit(decoded([part]), [part]))
            if moved is not None:
                return {**begins(parts[number:]), **moved}
        return None

    async def _purge(self, batch: Batch) -> Mapping[tuple[str, int], int] | None:
        """Until its source is forgotten in this partition, or somebody else has it: then where to go on."""
        mark, places = purge.decode(batch.records[0]), [(batch.topic, batch.partition, batch.begin)]
        while True:
            try:
                if twin := await self._twin(batch):
                    places.append(twin)
                await forget(self._store, mark, places, self._settings)
            except OffsetsMoved as moved:
                return moved.stored
            except TransientError as error:
                await self.broke(error)
                del places[1:]
            else:
                self._healed()
                log.info("purged", connection=mark.connection, topic=batch.topic, partition=batch.partition)
                self._did({(topic, partition): offset + 1 for topic, partition, offset in places})
                return None

    async def _twin(self, batch: Batch) -> tuple[str, int, int] | None:
        """The same mark among the other events of this partition's objects, once all before it is applied. None where
        it was passed long ago: the topics are not kept for the same time. Raises OffsetsMoved where somebody else has
        moved past either of the marks."""
        if (topic := TWINS.get(batch.topic)) is None:
            return None
        mark, partition, until = batch.records[0], batch.partition, 0.0
        while not until or time.monotonic() < until:
            stored = (await self._store.offsets(batch.topic)).get(partition, batch.begin)
            if stored != batch.begin:
                raise OffsetsMoved({(batch.topic, partition): stored})
            low, high = (await self._bus.range(topic)).get(partition, (0, 0))
            begin = max((await self._store.offsets(topic)).get(partition, low), low)
            found = await self._bus.read(topic, partition, begin, BATCH) if begin < high else None
            if found is None or found.end <= begin:
                # It came when the mark did, or a moment later: an old mark's need not be waited for.
                within = min(_TWIN_WITHIN, mark.timestamp / 1000 + _TWIN_WITHIN - time.time())
                until = until or time.monotonic() + max(_TWIN_AT_LEAST, within)
                await asyncio.sleep(_TWIN_LOOK)
                continue
            if found.records and found.records[0].timestamp > mark.timestamp + _TWIN_WITHIN * 1000:
                break
            for part in at_marks(found):
                if not is_mark(part):
                    moved = await self._commit(decoded([part]), [part])
                elif part.records[0].key == mark.key:
                    return topic, partition, part.begin
                else:
                    moved = await self._purge_alone(part)
                if moved is not None:
                    break  # somebody else goes on there: look again
        log.warning("a purge's mark has no twin", topic=topic, partition=partition, remedy="none is needed: it expired")
        return None

    async def _purge_alone(self, part: Batch) -> Mapping[tuple[str, int], int] | None:
        """A mark whose twin was passed before."""
        try:
            place = part.topic, part.partition, part.begin
            await forget(self._store, purge.decode(part.records[0]), [place], self._settings)
        except OffsetsMoved as moved:
            return moved.stored
        return None

    async def _bisect(self, work: Decoded, batches: Sequence[Batch], error: PermanentError) -> None:
        """The database refuses something in this batch for good: halve it until that one is alone, and bury it."""
        size = sum(len(batch.records) for batch in batches)
        if size > 1:
            for half in halves(batches):
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
            log.warning(f"{self._name} waits", reason=str(error))
        self._pause = min(_LONGEST_PAUSE, self._pause * 2 or 0.2)
        await asyncio.sleep(self._pause)

    def _healed(self) -> None:
        if self._pause:
            log.info(f"{self._name} goes on")
            self._pause = 0.0

    def _count(self, outcome: Outcome, work: Decoded) -> None:
        self._due.look(outcome.hub)
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
        self._did({(topic, partition): end for topic, partition, _, end in work.moves})

    def _did(self, ends: Mapping[tuple[str, int], int]) -> None:
        """The store has all before these, also where somebody else brought it there."""
        self._done |= {place: end for place, end in ends.items() if place[0] in self._topics}

    async def _tell(self) -> None:
        """Retention need not keep what is done. What a worker no longer tells, the next one does that starts."""
        now = asyncio.get_running_loop().time()
        if self._done and now - self._told >= _TELL_EVERY:
            self._told, done = now, self._done
            self._done = {}
            try:
                await self._bus.forget(self._group, done)
            except TransientError:
                self._done = done | self._done
                raise

    def _dead(self, row: DeadRow) -> None:
        if row.stage == "fold":  # the others were counted when they were published
            self._metrics.dead.labels(row.connection, row.stage).inc()
            log.warning("dead letter", connection=row.connection, stage=row.stage, reason=row.reason)


async def _both(*jobs: Coroutine[Any, Any, None]) -> None:
    """Until one of them fails, with what it failed of."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            await _ended(task)


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
