"""A bus of one examination, in memory: durable as long as it is held, so a crash is a new reader of the same bus."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

from core.bus import Batch, Message, Record, Start, Subscription
from core.bus.groups import Group, Place
from core.bus.topics import CURSORS, PAST, TOPICS, partition_of, refuse_large
from core.errors import PermanentError
from core.ingest.status import Clock, ms


class MemoryBus:
    """A Bus. While `deadly`, who publishes of a first fetch or saves a stream's cursor dies of it, the first time and
    the third."""

    tight = False

    def __init__(self, clock: Clock) -> None:
        self.deadly = False
        self.crashed = asyncio.Event()
        self.saved = 0  # how many cursors
        self._tries: Counter[str] = Counter()  # by the cursor's key, or the topic
        self._clock = clock
        self._log: dict[Place, list[Record]] = {
            (name, number): [] for name, topic in TOPICS.items() for number in range(topic.partitions)
        }
        self._committed: dict[tuple[str, Place], int] = {}
        self._groups: dict[str, Group[_Member]] = {}
        self._members: list[_Member] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        refuse_large(messages)
        if self.deadly and self._dies(messages):
            self.crashed.set()
            await asyncio.Event().wait()  # who is dead does nothing more; the examiner cancels him
        self.saved += sum(message.topic == CURSORS for message in messages)
        for message in messages:
            place = message.topic, partition_of(message, TOPICS[message.topic].partitions)
            log = self._log[place]
            log.append(Record(*place, len(log), ms(self._clock()), message.key, message.value, message.headers))
        for member in self._members:
            member.wake.set()

    def _dies(self, messages: Sequence[Message]) -> bool:
        steps = {step for message in messages if (step := _step(message))}
        self._tries.update(steps)
        return any(self._tries[step] in (1, 3) for step in steps)

    def records(self, topic: str) -> list[Record]:
        """All of a topic, partition by partition."""
        return [record for (name, _), log in self._log.items() if name == topic for record in log]

    @asynccontextmanager
    async def subscribe(
        self, topics: Sequence[str], group: str, *, start: Start | None = None
    ) -> AsyncIterator[Subscription]:
        assert start is None, "who examines ingest keeps no offsets of its own"
        members = self._groups.setdefault(group, Group())
        member = _Member(self, group, frozenset(topics))
        members.join(member, topics)
        self._members.append(member)
        try:
            yield member
        finally:
            members.leave(member)
            self._members.remove(member)

    async def read(self, topic: str, partition: int, begin: int, limit: int) -> Batch:
        records = self._log[topic, partition][begin : begin + limit]
        return Batch(topic, partition, begin, begin + len(records), records)

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        return {number: (0, len(log)) for (name, number), log in self._log.items() if name == topic}

    async def at_time(self, topic: str, moment: int) -> Mapping[int, int]:
        return {
            number: next((record.offset for record in log if record.timestamp >= moment), len(log))
            for (name, number), log in self._log.items()
            if name == topic
        }

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        return {place[1]: at for (name, place), at in self._committed.items() if name == group and place[0] == topic}

    def behind(self, group: str, topic: str) -> int:
        """How many records the group has not committed."""
        return sum(
            len(log) - self._committed.get((group, place), 0) for place, log in self._log.items() if place[0] == topic
        )

    async def members(self, group: str) -> int:
        return len(found.members) if (found := self._groups.get(group)) else 0

    async def forget(self, group: str, offsets: Mapping[Place, int]) -> None:
        pass  # nothing is ever deleted here

    async def check(self) -> Sequence[str]:
        return ()

    def sender(self, id: str) -> NoReturn:
        raise PermanentError("ingest needs no transactions")


def _step(message: Message) -> str:
    """Of a poll; empty for the rest, such as the account that is saved beside the cursors."""
    if message.topic == CURSORS and not message.key.rpartition("/")[2].startswith("_"):
        return message.key
    return PAST if message.topic == PAST else ""


class _Member:
    """See Subscription."""

    def __init__(self, bus: MemoryBus, group: str, topics: frozenset[str]) -> None:
        self.wake = asyncio.Event()
        self._bus, self._group, self._topics = bus, group, topics
        self._positions: dict[Place, int] = {}

    def assigned(self) -> frozenset[Place]:
        return frozenset(self._positions)

    async def next(self, limit: int, timeout: float) -> Sequence[Batch]:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            self.wake.clear()
            self._settle()
            if batches := await self._fetch(limit):
                return batches
            try:
                async with asyncio.timeout_at(deadline):
                    await self.wake.wait()
            except TimeoutError:
                return ()

    async def _fetch(self, limit: int) -> list[Batch]:
        found = []
        for place, begin in self._positions.items():
            batch = await self._bus.read(*place, begin, limit)
            if batch.records:
                found.append(batch)
                limit -= len(batch.records)
                self._positions[place] = batch.end
        return found

    def _settle(self) -> None:
        counts = {topic: TOPICS[topic].partitions for topic in self._topics}
        taken, gone = self._bus._groups[self._group].settle(self, counts)
        for place in gone:
            del self._positions[place]
        self._positions |= {place: self._bus._committed.get((self._group, place), 0) for place in taken}

    async def commit(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._bus._committed[self._group, (batch.topic, batch.partition)] = batch.end

    async def seek(self, positions: Mapping[Place, int]) -> None:
        self._positions |= {place: offset for place, offset in positions.items() if place in self._positions}
