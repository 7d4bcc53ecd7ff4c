"""A member of a Kafka consumer group whose positions are always explicit.

aiokafka swallows exceptions of the rebalance listener and would then go on silently from the broker's offset. So the
listener only counts: each rebalance is an epoch, positions are set by `next`, outside of it, and whatever was read
while the epoch changed is thrown away.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition, errors

from core.bus import Batch, Record, Start
from core.bus.kafka_client import ANSWER_WITHIN, RETRY_AFTER, Client, kafka_errors, started
from core.errors import PermanentError, TransientError

JOIN_WITHIN = 3 * ANSWER_WITHIN  # a rebalance waits for members that have died

Place = tuple[str, int]
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
        with kafka_errors(f"reading as group {self.group}"):
            try:
                consumer = self._consumer or await self._join()
                return await self._next(consumer, limit, deadline)
            except errors.OffsetOutOfRangeError as error:
                raise self._outside(error) from error
            except (errors.KafkaError, TransientError):
                await self.close()
                raise

    async def commit(self, batches: Sequence[Batch]) -> None:
        await self.keep({(batch.topic, batch.partition): batch.end for batch in batches})

    async def keep(self, offsets: Mapping[Place, int]) -> None:
        """Commit for those partitions that are still ours; for the others, whoever has them now does."""
        ours = {self._partition(place): offset for place, offset in offsets.items()}
        ours = {partition: offset for partition, offset in ours.items() if partition in self._positions}
        if self._consumer is None or not ours:
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
            with suppress(TimeoutError, errors.KafkaError):
                async with asyncio.timeout(ANSWER_WITHIN):
                    await consumer.stop()

    # -- one consumer's life

    async def _join(self) -> AIOKafkaConsumer:
        async with asyncio.timeout(ANSWER_WITHIN):
            consumer = await started(self._client.consumer(group_id=self._client.prefix + self.group))
        self._epochs = _Epochs()
        consumer.subscribe(list(self._topics), listener=self._epochs)
        self._heard = time.time()
        self._consumer = consumer
        return consumer

    async def _next(self, consumer: AIOKafkaConsumer, limit: int, deadline: float) -> list[Batch]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                # A rebalance holds up `getmany` without regard to its own timeout.
                async with asyncio.timeout_at(deadline + 0.2):
                    await self._epochs.settled.wait()
            except TimeoutError:
                return self._silence(JOIN_WITHIN)
            epoch = self._epochs.epoch
            if self._epoch != epoch and not await self._position(consumer, epoch):
                continue
            wait = max(0.0, deadline - loop.time())
            found: dict[TopicPartition, list[Any]] = {}
            with suppress(TimeoutError):
                async with asyncio.timeout(wait + 0.2):
                    found = await consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
            if self._epochs.epoch != epoch:
                continue
            if found:
                self._heard = time.time()
                return [await self._batch(consumer, partition, records) for partition, records in found.items()]
            if loop.time() >= deadline:
                answered = [consumer.last_poll_timestamp(partition) or 0 for partition in self._positions]
                self._heard = max(self._heard, max(answered, default=0) / 1000)
                return self._silence(ANSWER_WITHIN) if answered else []

    def _silence(self, allowed: float) -> list[Batch]:
        if time.time() - self._heard > allowed:
            raise TransientError(f"Kafka has been silent for {allowed:.0f} s; see the brokers", retry_after=RETRY_AFTER)
        return []

    async def _position(self, consumer: AIOKafkaConsumer, epoch: int) -> bool:
        """Seek to where each partition begins; False where a rebalance came between."""
        self._positions = {}
        partitions = sorted(consumer.assignment())
        if partitions:
            first, last = await _bounds(consumer, partitions)
            known = await self._known(consumer, partitions)
            positions = {p: self._within(p, known.get(self._place(p)), first[p], last[p]) for p in partitions}
        else:
            positions = {}
        if self._epochs.epoch != epoch:
            return False
        for partition, offset in positions.items():
            consumer.seek(partition, offset)
        self._positions = positions
        self._epoch = epoch
        self._heard = time.time()
        return True

    async def _known(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> Mapping[Place, int]:
        if self._start is not None:
            return await self._start([self._place(partition) for partition in partitions])
        async with asyncio.timeout(ANSWER_WITHIN):
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

    def _outside(self, error: errors.OffsetOutOfRangeError) -> PermanentError:
        offsets = error.args[0] if error.args else {}
        return PermanentError(", ".join(_outside(partition, offsets[partition]) for partition in offsets) + _REMEDY)

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


async def _bounds(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    async with asyncio.timeout(ANSWER_WITHIN):
        return await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
