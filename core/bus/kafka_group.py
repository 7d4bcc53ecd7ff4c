"""A member of a Kafka consumer group whose positions are always explicit.

aiokafka swallows exceptions of the rebalance listener and would then go on silently from the broker's offset. So the
listener only counts: each rebalance is an epoch, positions are set by `next`, outside of it, and whatever was read
while the epoch changed is thrown away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors

from core.bus import Batch, Record, Start
from core.bus.kafka_client import ANSWER_WITHIN, Client, kafka_errors, started, stopped
from core.errors import PermanentError

JOIN_WITHIN = 3 * ANSWER_WITHIN  # a rebalance waits for members that have died

Place = tuple[str, int]
Offsets = Mapping[TopicPartition, int]
Found = Mapping[TopicPartition, list[Any]]
log = structlog.get_logger(__name__)


class _Epochs(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts rebalances; `settled` is set while none is going on."""

    def __init__(self) -> None:
        self.epoch = 0
        self.settled = asyncio.Event()

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.epoch += 1
        self.settled.clear()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.epoch += 1
        self.settled.set()


class KafkaSubscription:
    """See Subscription. After an error that Kafka does not heal by itself, the next `next` joins the group anew."""

    def __init__(self, client: Client, topics: Sequence[str], group: str, start: Start | None) -> None:
        self.group = group
        self._client = client
        self._topics = {client.prefix + topic: topic for topic in topics}
        self._start = start
        self._consumer: AIOKafkaConsumer | None = None
        self._epochs = _Epochs()
        self._epoch = -1  # of the positions
        self._positions: dict[TopicPartition, int] = {}
        self._heard = 0.0  # when Kafka last answered, time.time()

    def assigned(self) -> frozenset[Place]:
        return frozenset(map(self._place, self._positions))

    async def next(self, limit: int, timeout: float) -> Sequence[Batch]:
        deadline = asyncio.get_running_loop().time() + timeout
        consumer = self._consumer or await self._join()
        while True:
            if not await self._settled(deadline):
                return await self._silence(JOIN_WITHIN)
            epoch = self._epochs.epoch
            if self._epoch != epoch:
                await self._position(consumer, epoch)
                continue
            found = await self._poll(consumer, limit, deadline)
            if self._epoch != epoch or self._epochs.epoch != epoch:
                continue
            if found:
                return [await self._batch(consumer, partition, records) for partition, records in found.items()]
            if asyncio.get_running_loop().time() >= deadline:
                return await self._silence(ANSWER_WITHIN)

    async def commit(self, batches: Sequence[Batch]) -> None:
        await self.keep({(batch.topic, batch.partition): batch.end for batch in batches})

    async def keep(self, offsets: Mapping[Place, int]) -> None:
        """Commit for those partitions that are still ours; for the others, whoever has them now does."""
        if self._consumer is None:
            return
        assigned = self._consumer.assignment() & self._positions.keys()
        ours = {self._partition(place): offset for place, offset in offsets.items()}
        ours = {partition: offset for partition, offset in ours.items() if partition in assigned}
        if not ours:
            return
        with (
            kafka_errors(f"committing as group {self.group}"),
            suppress(errors.CommitFailedError, errors.IllegalStateError),
        ):
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._consumer.commit(ours)

    async def seek(self, positions: Mapping[Place, int]) -> None:
        if self._consumer is None or self._epoch != self._epochs.epoch:
            return  # a rebalance is going on, which asks for positions again
        for place, offset in positions.items():
            partition = self._partition(place)
            if partition in self._positions:
                self._consumer.seek(partition, offset)
                self._positions[partition] = offset

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._positions = {}
        self._epoch = -1
        if consumer is not None:
            await stopped(consumer)

    # -- one consumer's life

    @asynccontextmanager
    async def _kafka(self) -> AsyncIterator[None]:
        """What Kafka itself does here; a consumer that failed is replaced by the next `next`."""
        with kafka_errors(f"reading as group {self.group}"):
            try:
                yield
            except errors.OffsetOutOfRangeError as error:
                raise PermanentError(", ".join(_outside(*item) for item in error.args[0].items()) + _REMEDY) from error
            except errors.KafkaError:
                await self.close()
                raise

    async def _join(self) -> AIOKafkaConsumer:
        async with self._kafka(), asyncio.timeout(ANSWER_WITHIN):
            consumer = await started(self._client.consumer(group_id=self._client.prefix + self.group))
        self._epochs = _Epochs()
        consumer.subscribe(list(self._topics), listener=self._epochs)
        self._heard = time.time()
        self._consumer = consumer
        return consumer

    async def _settled(self, deadline: float) -> bool:
        """Wait while a rebalance is going on, which would hold up `getmany` without regard to its timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._epochs.settled.wait()
        return self._epochs.settled.is_set()

    async def _poll(self, consumer: AIOKafkaConsumer, limit: int, deadline: float) -> Found:
        wait = max(0.0, deadline - asyncio.get_running_loop().time())
        found: Found = {}
        async with self._kafka():
            try:
                async with asyncio.timeout(wait + 0.2):
                    found = await consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
            except TimeoutError:
                pass
            except errors.NoOffsetForPartitionError:
                # Partitions came while it waited, and aiokafka looked for positions sooner than we could set them.
                # Leaving the group for that would give the others new partitions, too, and so on in turns.
                self._epoch = -1
            answers = [consumer.last_poll_timestamp(partition) or 0 for partition in consumer.assignment()]
        # A member without partitions hears nothing, and misses nothing.
        self._heard = max([self._heard, *(answer / 1000 for answer in answers)]) if answers else time.time()
        return found

    async def _silence(self, allowed: float) -> list[Batch]:
        """Nothing came: because there is nothing, or because nobody answers?"""
        if (silent := time.time() - self._heard) > allowed:
            async with self._kafka():
                raise errors.KafkaTimeoutError(f"no answer for {silent:.0f} s; see whether the brokers run")
        return []

    async def _position(self, consumer: AIOKafkaConsumer, epoch: int) -> None:
        """Seek to where each partition begins; to no avail where a rebalance comes between."""
        self._positions = {}
        partitions = sorted(consumer.assignment())
        first, last = await self._bounds(consumer, partitions)
        known = await self._known(consumer, partitions)
        positions = {at: self._within(at, known.get(self._place(at)), first[at], last[at]) for at in partitions}
        if self._epochs.epoch != epoch:
            return
        for partition, offset in positions.items():
            consumer.seek(partition, offset)
        self._positions = positions
        self._epoch = epoch
        self._heard = time.time()

    async def _bounds(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> tuple[Offsets, Offsets]:
        async with self._kafka(), asyncio.timeout(ANSWER_WITHIN):
            return await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)

    async def _known(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Mapping[Place, int]:
        if self._start is not None:
            return await self._start([self._place(partition) for partition in partitions]) if partitions else {}
        async with self._kafka(), asyncio.timeout(ANSWER_WITHIN):
            committed = {partition: await consumer.committed(partition) for partition in partitions}
        return {self._place(partition): offset for partition, offset in committed.items() if offset is not None}

    def _within(self, partition: TopicPartition, offset: int | None, first: int, last: int) -> int:
        if offset is None:
            return first
        if first <= offset <= last:
            return offset
        if self._start is None and offset < first:
            log.error("retention passed this group", group=self.group, topic=partition.topic, lost=first - offset)
            return first
        raise PermanentError(_outside(partition, offset) + f" ({first} to {last})" + _REMEDY)

    async def _batch(self, consumer: AIOKafkaConsumer, partition: TopicPartition, records: Sequence[Any]) -> Batch:
        topic, number = self._topics[partition.topic], partition.partition
        begin = self._positions[partition]
        end = self._positions[partition] = await consumer.position(partition)
        return Batch(topic, number, begin, end, to_records(topic, records))

    def _place(self, partition: TopicPartition) -> Place:
        return self._topics[partition.topic], partition.partition

    def _partition(self, place: Place) -> TopicPartition:
        return TopicPartition(self._client.prefix + place[0], place[1])


_REMEDY = ": the log was replaced or cut; sweep the sources, then start from offsets that it has"


def _outside(partition: TopicPartition, offset: int) -> str:
    return f"offset {offset} of {partition.topic} partition {partition.partition} is outside of the log"


def to_records(topic: str, found: Sequence[Any]) -> list[Record]:
    return [
        Record(topic, r.partition, r.offset, r.timestamp, (r.key or b"").decode(), r.value, r.headers) for r in found
    ]
