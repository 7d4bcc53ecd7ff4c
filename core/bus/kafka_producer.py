"""Writing to Kafka: the shared idempotent producer, and the transactional sender."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaProducer, TopicPartition, errors
from aiokafka.producer.transaction_manager import TransactionState

from core.bus import Message
from core.bus.kafka_client import ANSWER_WITHIN, Client, kafka_errors, started, stopped
from core.bus.topics import refuse_large
from core.errors import HubError, PermanentError

TRANSACTION_MS = 30_000  # a sender that dies in mid-transaction holds up readers for so long

Place = Callable[[Message], TopicPartition]
Ends = Callable[[Sequence[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


async def _send(producer: AIOKafkaProducer, place: Place, messages: Sequence[Message]) -> dict[TopicPartition, int]:
    """The last offset per partition, once all are acknowledged."""
    waiting = []
    try:
        for message in messages:
            at = place(message)
            sent = await producer.send(
                at.topic,
                value=message.value,
                key=message.key.encode(),
                partition=at.partition,
                headers=list(message.headers),
            )
            waiting.append(sent)
        done = await asyncio.gather(*waiting)
    except BaseException:
        for sent in waiting:
            sent.cancel()
        raise
    return {TopicPartition(sent.topic, sent.partition): sent.offset for sent in done}


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
        try:
            with kafka_errors("sending"):
                async with asyncio.timeout(ANSWER_WITHIN):
                    await self._transaction(messages)
        except HubError as error:
            if self._producer._txn_manager.is_fatal_error():
                self._broken = PermanentError(f"{error}; this sender is fenced or broken, open a new one")
                raise self._broken from error
            raise

    async def _transaction(self, messages: Sequence[Message]) -> None:
        await self._settle()
        await self._producer.begin_transaction()
        last = await _send(self._producer, self._place, messages)
        await self._producer.commit_transaction()
        # The broker answers before the end of the transaction stands in every partition.
        while not await self._visible(last):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def _visible(self, last: Mapping[TopicPartition, int]) -> bool:
        return all(end > last[at] for at, end in (await self._ends(list(last))).items())

    async def _settle(self) -> None:
        """End what an earlier `send` left open when it failed or was cancelled."""
        manager = self._producer._txn_manager
        match manager.state:
            case TransactionState.IN_TRANSACTION | TransactionState.ABORTABLE_ERROR:
                await self._producer.abort_transaction()
            case TransactionState.COMMITTING_TRANSACTION | TransactionState.ABORTING_TRANSACTION:
                await asyncio.shield(manager.wait_for_transaction_end())

    async def close(self) -> None:
        """An open transaction would hold up every reader until the broker gives up on it."""
        with suppress(TimeoutError, errors.KafkaError):
            async with asyncio.timeout(ANSWER_WITHIN / 2):
                await self._settle()
        await _abandon(self._producer)
