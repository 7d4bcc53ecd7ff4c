"""The bus: topics with partitions, ordered per partition, durable. One interface, two implementations."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]
Start = Callable[[Sequence[tuple[str, int]]], Awaitable[Mapping[tuple[str, int], int]]]


@dataclass(frozen=True, slots=True)
class Message:
    """What is published. `partition_by` chooses the partition: crc32 of its UTF-8 modulo the topic's count."""

    topic: str
    key: str
    value: bytes | None  # None: a tombstone
    partition_by: str = ""  # empty: by key
    headers: Headers = ()


class Record(NamedTuple):
    """What is read. `timestamp` is epoch ms, when the bus took it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str
    value: bytes | None
    headers: Headers


class Batch(NamedTuple):
    """Consecutive records of one partition. `begin` is the position read from, `end` the position to go on at:
    `end - begin` may exceed len(records), where compaction or transactions left holes."""

    topic: str
    partition: int
    begin: int
    end: int
    records: Sequence[Record]


class Subscription(Protocol):
    """A member of a consumer group; each partition is with one member at a time."""

    async def next(self, limit: int, timeout: float) -> Sequence[Batch]:
        """At most `limit` records over all assigned partitions; returns as soon as there are any, empty after
        `timeout` seconds. Never again what it returned, except after `seek` or a rebalance."""
        ...

    async def commit(self, batches: Sequence[Batch]) -> None:
        """Durably move the group's own offsets behind these. For groups without `start`."""
        ...

    async def seek(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Go on from these offsets; partitions that are not assigned are passed over."""
        ...

    def assigned(self) -> frozenset[tuple[str, int]]:
        """What this member reads now. Changes only inside `next`."""
        ...


class Sender(Protocol):
    """A transactional producer; opening one fences all earlier ones of the same id (they raise PermanentError)."""

    async def send(self, messages: Sequence[Message]) -> None:
        """All or none, durable and visible on return."""
        ...


class Bus(Protocol):
    """Raises TransientError where the bus is down or full; the message says what to do."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Durable on return, and in this order per partition. Concurrent callers share commits."""
        ...

    def subscribe(
        self, topics: Sequence[str], group: str, *, start: Start | None = None
    ) -> AbstractAsyncContextManager[Subscription]:
        """Join `group`. With `start` the offsets are the caller's: it is awaited with newly assigned partitions and
        answers where to begin (a partition it leaves out begins at the topic's earliest offset); an offset outside of
        the topic's range raises PermanentError from `next`. Without it the group's committed offsets count."""
        ...

    def sender(self, id: str) -> AbstractAsyncContextManager[Sender]:
        """See Sender."""
        ...

    async def read(self, topic: str, partition: int, begin: int, limit: int) -> Batch:
        """Look at at most `limit` records from offset `begin` on, outside of any group; empty at the head."""
        ...

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Per partition the earliest offset and the next one to be written."""
        ...

    async def at_time(self, topic: str, moment: int) -> Mapping[int, int]:
        """Per partition the first offset with a timestamp at or after `moment` (epoch ms)."""
        ...

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """The offsets that a group without `start` has committed."""
        ...

    async def members(self, group: str) -> int:
        """How many read as this group, in all processes; one that died counts for the seconds until it is noticed."""
        ...

    async def forget(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Tell the bus how far a group that keeps its own offsets has come, so that retention may pass it."""
        ...

    @property
    def tight(self) -> bool:
        """Whether there is so little room left that who can wait should."""
        ...

    async def check(self) -> Sequence[str]:
        """What stands against keeping the promises (replication, retention), one sentence with remedy each."""
        ...
