"""The bus on Apache Kafka: many processes, many machines."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient

from core.bus import Batch, Bus, Message, Sender, Start, Subscription
from core.bus.kafka_client import ANSWER_WITHIN, Client, kafka_errors, make_client, started, stopped
from core.bus.kafka_group import KafkaSubscription, to_records
from core.bus.kafka_producer import KafkaSender, Producer
from core.bus.kafka_topics import complaints, create
from core.bus.topics import TOPICS, Topic, partition_of
from core.errors import PermanentError, TransientError

_GROUP = ("error", "name", "state", "type", "protocol", "members")  # how Kafka describes one (DescribeGroups)


@asynccontextmanager
async def open_kafka(
    servers: str,
    *,
    prefix: str,
    options: Mapping[str, Any],
    topics: Mapping[str, Topic] = TOPICS,
    replication: int | None = None,
) -> AsyncIterator[Bus]:
    """Creates what is missing of `topics`, with `replication` copies (None: three, or as many as there are brokers).
    Raises ConfigError on wrong options, TransientError where no broker answers."""
    client = make_client(servers, prefix, options)
    await client.validate()
    named = {prefix + topic.name: topic for topic in topics.values()}
    with kafka_errors(f"connecting to {servers}"):
        async with asyncio.timeout(3 * ANSWER_WITHIN), _admin(client) as admin:
            counts = await create(admin, named, replication)
    bus = KafkaBus(client, topics, {named[name].name: count for name, count in counts.items()})
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def _admin(client: Client) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = await started(client.admin())
    try:
        yield admin
    finally:
        await stopped(admin)


class KafkaBus:
    """Bus on aiokafka. `counts`: partitions per topic, as they are."""

    def __init__(self, client: Client, topics: Mapping[str, Topic], counts: Mapping[str, int]) -> None:
        self._client = client
        self._topics = topics
        self._counts = counts
        self._producer = Producer(client, self._place)
        self._opening = asyncio.Lock()
        self._looker: AIOKafkaConsumer | None = None
        self._reading = asyncio.Lock()
        self._stands: tuple[TopicPartition, int] | None = None  # where the last `read` left the looker
        self._subscriptions: set[KafkaSubscription] = set()

    def _place(self, message: Message) -> TopicPartition:
        return self._at(message.topic, partition_of(message, self._count(message.topic)))

    def _at(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._client.prefix + topic, partition)

    def _count(self, topic: str) -> int:
        if (count := self._counts.get(topic)) is None:
            raise PermanentError(f"there is no topic {topic!r}")
        return count

    def _all(self, topic: str) -> list[TopicPartition]:
        return [self._at(topic, number) for number in range(self._count(topic))]

    # -- writing

    @property
    def tight(self) -> bool:
        return False  # the brokers' disks are watched by those who run them

    async def publish(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._producer.publish(messages)

    @asynccontextmanager
    async def sender(self, id: str) -> AsyncIterator[Sender]:
        sender = KafkaSender(self._client, id, self._place, self.ends)
        await sender.start()
        try:
            yield sender
        finally:
            await sender.close()

    # -- reading

    @asynccontextmanager
    async def subscribe(
        self, topics: Sequence[str], group: str, *, start: Start | None = None
    ) -> AsyncIterator[Subscription]:
        for topic in topics:
            self._count(topic)
        subscription = KafkaSubscription(self._client, topics, group, start)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            await subscription.close()

    @asynccontextmanager
    async def _look(self, doing: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that belongs to no group, for looks that move nothing."""
        with kafka_errors(doing):
            async with asyncio.timeout(ANSWER_WITHIN):
                async with self._opening:
                    if self._looker is None:
                        self._looker = await started(self._client.consumer(fetch_max_wait_ms=20))
                yield self._looker

    async def read(self, topic: str, partition: int, begin: int, limit: int) -> Batch:
        at = self._at(topic, partition)
        async with self._look(f"reading {topic}") as looker, self._reading:
            first, last = (await looker.beginning_offsets([at]))[at], (await looker.end_offsets([at]))[at]
            position = max(begin, first)
            records: list[Any] = []
            if position < last:
                if at not in looker.assignment():
                    looker.assign([at])
                if self._stands != (at, position):
                    looker.seek(at, position)
                looker.resume(at)
            self._stands = None
            while position < last and not records:
                records = (await looker.getmany(at, timeout_ms=20, max_records=limit)).get(at, [])
                position = await looker.position(at)
            if at in looker.assignment():
                self._stands = at, position
                if position >= last:  # or its waiting fetch would hold up the connection's next request
                    looker.pause(at)
        return Batch(topic, partition, begin, max(begin, position), to_records(topic, records))

    async def ends(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Behind the last record that everybody sees."""
        async with self._look("looking at the ends") as looker:
            found: Mapping[TopicPartition, int] = await looker.end_offsets(list(places))
            return found

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        places = self._all(topic)
        async with self._look(f"looking at {topic}") as looker:
            first, last = await looker.beginning_offsets(places), await looker.end_offsets(places)
        return {at.partition: (first[at], last[at]) for at in places}

    async def at_time(self, topic: str, moment: int) -> Mapping[int, int]:
        places = self._all(topic)
        async with self._look(f"looking at {topic}") as looker:
            found = await looker.offsets_for_times(dict.fromkeys(places, moment))
            last = await looker.end_offsets(places)
        return {at.partition: found[at].offset if found[at] else last[at] for at in places}

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        with kafka_errors(f"looking at group {group}"):
            async with asyncio.timeout(ANSWER_WITHIN), _admin(self._client) as admin:
                found = await admin.list_consumer_group_offsets(
                    self._client.prefix + group, partitions=self._all(topic)
                )
        return {at.partition: moved.offset for at, moved in found.items() if moved.offset >= 0}

    async def members(self, group: str) -> int:
        with kafka_errors(f"looking at group {group}"):
            async with asyncio.timeout(ANSWER_WITHIN), _admin(self._client) as admin:
                answers = await admin.describe_consumer_groups([self._client.prefix + group])
        described = [dict(zip(_GROUP, each, strict=False)) for answer in answers for each in answer.groups]
        for error in (errors.for_code(each["error"]) for each in described):
            if error is not errors.NoError:
                raise TransientError(f"looking at group {group}: {error.__name__}")
        return sum(len(each["members"]) for each in described)

    # -- offsets and settings

    async def forget(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Committed in the group's name, so that everybody's tools see its lag; the hub never reads them back."""
        members = [subscription for subscription in self._subscriptions if subscription.group == group]
        for member in members:
            await member.keep(offsets)
        if not members:
            await self._commit(group, {self._at(*place): offset for place, offset in offsets.items()})

    async def _commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        consumer = self._client.consumer(group_id=self._client.prefix + group)
        with kafka_errors(f"committing as group {group}"):
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await started(consumer)
                    consumer.assign(list(offsets))
                    with suppress(errors.CommitFailedError):  # it has members elsewhere: they tell for themselves
                        await consumer.commit(dict(offsets))
            finally:
                await stopped(consumer)

    async def check(self) -> Sequence[str]:
        named = {self._client.prefix + topic.name: topic for topic in self._topics.values()}
        with kafka_errors("checking the topics"):
            async with asyncio.timeout(3 * ANSWER_WITHIN), _admin(self._client) as admin:
                said = await complaints(admin, named)
                groups = [name for name, _ in await admin.list_consumer_groups()]
        ours = sorted(name for name in groups if name.startswith(self._client.prefix))
        return said + await self._late([name.removeprefix(self._client.prefix) for name in ours])

    async def _late(self, groups: Sequence[str]) -> list[str]:
        """Groups whose next record is older than half of its topic's retention."""
        said = []
        now = time.time_ns() // 1_000_000
        for topic in self._topics.values():
            if topic.retention is None:
                continue
            horizon = await self.at_time(topic.name, now - topic.retention // timedelta(milliseconds=2))
            for group in groups:
                committed = await self.committed(group, topic.name)
                if any(offset < horizon[number] for number, offset in committed.items()):
                    said.append(
                        f"group {group!r} is behind on {topic.name!r} by more than half of its retention: "
                        "start or repair what reads it"
                    )
        return said

    async def close(self) -> None:
        await self._producer.close()
        if self._looker is not None:
            await stopped(self._looker)
