"""Writing to Kafka: the shared idempotent producer, and the transactional sender."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition, errors
from aiokafka.producer.transaction_manager import TransactionState

from core.bus import Message
from core.bus.kafka_client import ANSWER_WITHIN, Client, kafka_errors, started, stopped
from core.bus.topics import refuse_large
from core.errors import PermanentError

BATCH_FROM = 64  # messages in one call
TRANSACTION_MS = 30_000  # a sender that dies in mid-transaction holds up readers for so long

Place = Callable[[Message], TopicPartition]
Ends = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


async def _send(producer: AIOKafkaProducer, place: Place, messages: Sequence[Message]) -> dict[TopicPartition, int]:
    """Where in each partition some of them stand, once all are acknowledged."""
    groups: dict[TopicPartition, list[Message]] = {}
    for message in messages:
        groups.setdefault(place(message), []).append(message)
    send = _send_batches if len(messages) >= BATCH_FROM else _send_each
    waiting: list[asyncio.Future[Any]] = []
    try:
        for at, group in groups.items():
            await send(producer, at, group, waiting)
        done = await asyncio.gather(*waiting)
    except BaseException:
        for sent in waiting:
            sent.cancel()
        raise
    return {TopicPartition(sent.topic, sent.partition): sent.offset for sent in done}


async def _send_each(
    producer: AIOKafkaProducer, at: TopicPartition, messages: Sequence[Message], waiting: list[asyncio.Future[Any]]
) -> None:
    """One by one, so that what many publishers send at once shares a batch."""
    for message in messages:
        key, headers = message.key.encode(), list(message.headers)
        waiting.append(await producer.send(at.topic, message.value, key, at.partition, headers=headers))


async def _send_batches(
    producer: AIOKafkaProducer, at: TopicPartition, messages: Sequence[Message], waiting: list[asyncio.Future[Any]]
) -> None:
    """As batches of our own: half the work per message."""
    batch = producer.create_batch()
    for message in messages:
        fields = {
            "timestamp": None,
            "key": message.key.encode(),
            "value": message.value,
            "headers": list(message.headers),
        }
        if batch.append(**fields) is None:  # full; an empty one takes a message of any size
            waiting.append(await producer.send_batch(batch, at.topic, partition=at.partition))
            batch = producer.create_batch()
            batch.append(**fields)
    waiting.append(await producer.send_batch(batch, at.topic, partition=at.partition))


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close without waiting for the broker to take what is pending; its callers are told that it failed."""
    producer._message_accumulator.fail_all(errors.ProducerClosed())
    await stopped(producer)


class Producer:
    """One idempotent producer for all publishers. After a failure it is replaced: its sequence numbers may have a gap,
    and then it would be refused for ever."""

    def __init__(self, client: Client, place: Place) -> None:
        self._client = client
        self._place = place
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def publish(self, messages: Sequence[Message]) -> None:
        refuse_large(messages)
        producer: AIOKafkaProducer | None = None
        with kafka_errors("publishing"):
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    producer = self._producer or await self._open()
                    await _send(producer, self._place, messages)
            except (TimeoutError, errors.KafkaError):
                if producer is not None and producer is self._producer:
                    self._producer = None
                    self._leave(producer)
                raise

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                self._producer = await started(self._client.producer())
            return self._producer

    def _leave(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_abandon(producer))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Nothing is pending but what callers gave up waiting for."""
        if self._producer is not None:
            self._leave(self._producer)
            self._producer = None
        await asyncio.gather(*self._leaving)


class KafkaSender:
    """See Sender. A transaction that could not be ended in time is ended by the next `send`, before its own."""

    def __init__(self, client: Client, id: str, place: Place, ends: Ends) -> None:
        self._producer = client.producer(transactional_id=f"{client.prefix}{id}", transaction_timeout_ms=TRANSACTION_MS)
        self._place = place
        self._ends = ends
        self._broken: PermanentError | None = None

    async def start(self) -> None:
        """Fences every earlier sender of this id; what they had under way is committed or aborted when this returns."""
        with kafka_errors("opening a sender"):
            async with asyncio.timeout(ANSWER_WITHIN):
                await started(self._producer)

    async def send(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        refuse_large(messages)
        if self._broken is not None:
            raise PermanentError(str(self._broken))
        with kafka_errors("sending"):
            async with asyncio.timeout(ANSWER_WITHIN):
                try:
                    await self._transaction(messages)
                except errors.KafkaTimeoutError:
                    raise
                except errors.KafkaError as error:
                    # Sequence numbers are lost with what failed: the broker would refuse all that follows.
                    self._broken = PermanentError(
                        f"sending: {error!r}: this sender is fenced or broken, open a new one"
                    )
                    raise self._broken from error

    async def _transaction(self, messages: Sequence[Message]) -> None:
        await self._settle()
        await self._producer.begin_transaction()
        sent = await _send(self._producer, self._place, messages)
        await self._producer.commit_transaction()
        # The broker answers before the end of the transaction stands in every partition; readers pass it as a whole.
        while not await self._visible(sent):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def _visible(self, sent: Mapping[TopicPartition, int]) -> bool:
        return all(end > sent[at] for at, end in (await self._ends(list(sent))).items())

    async def _settle(self) -> None:
        """End what an earlier `send` left open when it failed or was cancelled."""
        manager = self._producer._txn_manager
        match manager.state:
            case TransactionState.IN_TRANSACTION | TransactionState.ABORTABLE_ERROR:
                await self._producer.abort_transaction()
            case TransactionState.COMMITTING_TRANSACTION | TransactionState.ABORTING_TRANSACTION:
                await asyncio.shield(manager.wait_for_transaction_end())
            case TransactionState.FATAL_ERROR:
                raise errors.KafkaError("the producer has failed")

    async def close(self) -> None:
        """An open transaction would hold up every reader until the broker gives up on it."""
        with suppress(TimeoutError, errors.KafkaError):
            async with asyncio.timeout(ANSWER_WITHIN / 2):
                await self._settle()
        await _abandon(self._producer)
