"""The bus of a hub in one process: a log in one SQLite file, durable with group commit."""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from core.bus import Batch, Bus, Message, Sender, Start, Subscription
from core.bus.committer import Committer, Ranges
from core.bus.groups import Group, Place
from core.bus.log import TIGHT, Clock, Log, Part, Reader, connect, sqlite_errors
from core.bus.member import EmbeddedSender, Member
from core.bus.topics import TOPICS, Topic
from core.errors import ConfigError, PermanentError, TransientError
from core.writeahead import Mode, WriteAheadLog

CHECKPOINT_EVERY = 0.5  # seconds between two looks at the write-ahead log
CHECKPOINT_ABOVE = 16 * 1024 * 1024  # bytes of write-ahead log: a checkpoint holds up the commits beside it
WAIT_ABOVE = 64 * 1024 * 1024  # then commits wait for the checkpoint, or it would grow for ever

T = TypeVar("T")
log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_embedded(
    path: Path,
    *,
    disk_cap: int,
    topics: Mapping[str, Topic] = TOPICS,
    upkeep_every: float = 5.0,
    clock: Clock = lambda: time.time_ns() // 1_000_000,
) -> AsyncIterator[Bus]:
    """The log at `path`, for this process alone. `disk_cap`: bytes above which `publish` raises TransientError;
    `upkeep_every`: seconds between two rounds of compaction and retention. Raises ConfigError where another process has
    the log open, or the file is none of ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(_locked(path))
        try:
            file = await asyncio.to_thread(Log, path, topics, disk_cap, clock)
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{path} cannot be opened as a bus: {error}; restore it, or move it away") from error
        stack.callback(file.close)
        bus = EmbeddedBus(file, topics)
        stack.push_async_callback(bus.close)
        bus.keep_up(upkeep_every)
        yield bus


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes must never write one log."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode() or "unknown"
        os.close(descriptor)
        raise ConfigError(
            f"{path} is in use by process {holder}: stop it first, or give this hub another `data:` folder"
        ) from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        # PRIVACY: SQLite gives its side files the mode of the main one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        yield
    finally:
        os.close(descriptor)


class EmbeddedBus:
    """Bus on a Log. The event loop knows of the log's ends only what is committed."""

    def __init__(self, file: Log, topics: Mapping[str, Topic]) -> None:
        self._file = file
        self._topics = topics
        self._parts = dict(file.parts)
        self._places = {part.id: place for place, part in self._parts.items()}
        self._ranges: Ranges = file.ranges()
        self._groups: dict[str, Group[Member]] = {}
        self._senders: dict[str, int] = {}
        self._members: set[Member] = set()
        self._reader = Reader(file.path)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="bus-read")
        self._write_ahead = WriteAheadLog(file.path, due=CHECKPOINT_ABOVE, most=WAIT_ABOVE)
        self._checkpointing = ThreadPoolExecutor(1, thread_name_prefix="bus-checkpoint")
        self._committer = Committer(file, self._committed)
        self._tasks: list[asyncio.Task[None]] = []

    # -- writing

    async def publish(self, messages: Sequence[Message]) -> None:
        if messages:
            await self._committer.submit(lambda file: file.append(messages))

    @asynccontextmanager
    async def sender(self, id: str) -> AsyncIterator[Sender]:
        epoch = self._senders[id] = self._senders.get(id, 0) + 1
        # What the predecessor has handed over already is written before the successor looks at the log.
        await self._committer.submit(lambda file: None)
        yield EmbeddedSender(self, id, epoch)

    async def publish_as(self, id: str, epoch: int, messages: Sequence[Message]) -> None:
        """`publish`, unless another sender of the same id was opened since."""
        if self._senders[id] != epoch:
            raise PermanentError(f"another sender {id!r} took over")
        await self.publish(messages)

    def _committed(self, ranges: Ranges) -> None:
        moved = {place[0] for place, range_ in ranges.items() if range_[1] != self._ranges[place][1]}
        self._ranges = ranges
        for member in self._members:
            if not moved.isdisjoint(member.topics):
                member.wake.set()

    # -- reading

    @asynccontextmanager
    async def subscribe(
        self, topics: Sequence[str], group: str, *, start: Start | None = None
    ) -> AsyncIterator[Subscription]:
        members = self._groups.setdefault(group, Group())
        member = Member(self, frozenset(topics), group, start)
        members.join(member, topics)
        self._members.add(member)
        self._wake(members)
        try:
            yield member
        finally:
            members.leave(member)
            self._members.discard(member)
            self._wake(members)

    def settle(self, member: Member) -> tuple[set[Place], set[Place]]:
        members = self._groups[member.group]
        counts = {topic: sum(1 for name, _ in self._parts if name == topic) for topic in member.topics}
        taken, gone = members.settle(member, counts)
        if gone:
            self._wake(members)
        return taken, gone

    def owns(self, member: Member, place: Place) -> bool:
        return self._groups[member.group].owners.get(place) is member

    async def members(self, group: str) -> int:
        return len(found.members) if (found := self._groups.get(group)) else 0

    @staticmethod
    def _wake(group: Group[Member]) -> None:
        for member, _ in group.members:
            member.wake.set()

    async def read(self, topic: str, partition: int, begin: int, limit: int) -> Batch:
        (batch,) = await self.fetch([((topic, partition), begin)], limit, limit)
        return batch

    async def fetch(self, wanted: Sequence[tuple[Place, int]], share: int, limit: int) -> list[Batch]:
        """From each place at most `share` records, of all at most `limit`, in one look."""
        looks = [(place, self._parts[place], begin, *self.bounds(place)) for place, begin in wanted]

        def look(reader: Reader) -> list[Batch]:
            found, left = [], limit
            for place, part, begin, first, end in looks:
                most = min(share, left)
                records = reader.read(part, max(begin, first), end, most) if most else []
                left -= len(records)
                after = max(begin, end) if len(records) < most else records[-1].offset + 1 if records else begin
                found.append(Batch(*place, begin, after, records))
            return found

        return await self._look(look)

    def bounds(self, place: Place) -> tuple[int, int]:
        if place not in self._ranges:
            raise PermanentError(f"there is no partition {place[1]} of topic {place[0]!r}")
        return self._ranges[place]

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        return {number: self._ranges[name, number] for name, number in self._places_of(topic)}

    async def at_time(self, topic: str, moment: int) -> Mapping[int, int]:
        places = [(place[1], self._parts[place], *self._ranges[place]) for place in self._places_of(topic)]
        return await self._look(
            lambda reader: {number: reader.at_time(part, begin, end, moment) for number, part, begin, end in places}
        )

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        found = await self._look(lambda reader: reader.committed(group))
        return {self._places[id][1]: offset for id, offset in found.items() if self._places[id][0] == topic}

    def _places_of(self, topic: str) -> list[Place]:
        if places := [place for place in self._ranges if place[0] == topic]:
            return places
        raise PermanentError(f"there is no topic {topic!r}")

    async def _look(self, work: Callable[[Reader], T]) -> T:
        with sqlite_errors():
            return await asyncio.get_running_loop().run_in_executor(self._reading, work, self._reader)

    # -- offsets and upkeep

    async def commit(self, group: str, offsets: Mapping[Place, int]) -> None:
        await self._committer.submit(lambda file: file.commit(group, offsets))

    async def forget(self, group: str, offsets: Mapping[Place, int]) -> None:
        await self._committer.submit(lambda file: file.hold(group, offsets, move=True))

    async def hold(self, group: str, offsets: Mapping[Place, int]) -> None:
        """From now on retention waits for this group."""
        await self._committer.submit(lambda file: file.hold(group, offsets, move=False))

    @property
    def tight(self) -> bool:
        return self._file.tight

    async def check(self) -> Sequence[str]:
        found = [
            f"the bus's {task.get_name()} has stopped, so its file grows: restart the hub ({task.exception()!r})"
            for task in self._tasks
            if task.done()
        ]
        used = await self._committer.submit(lambda file: file.used())
        if used >= self._file.disk_cap * TIGHT:
            found.append(
                f"the bus uses {used:,} of its {self._file.disk_cap:,} bytes: raise bus.disk_cap in hub.yaml; "
                "polls wait, so that deliveries still have room"
            )
        return found + await self._late()

    async def _late(self) -> list[str]:
        """Groups whose next record is older than half of its topic's retention."""
        holds = await self._look(lambda reader: reader.holds())
        late = set()
        for group, id, offset in holds:
            topic = self._topics.get(self._places[id][0])
            if topic is None or topic.retention is None or offset >= self._ranges[self._places[id]][1]:
                continue
            horizon = self._file.clock() - topic.retention // timedelta(milliseconds=2)
            batch = await self.read(*self._places[id], offset, 1)
            if batch.records and batch.records[0].timestamp < horizon:
                late.add((group, topic.name))
        return [
            f"group {group!r} is behind on {topic!r} by more than half of its retention: start or repair what reads it"
            for group, topic in sorted(late)
        ]

    def keep_up(self, every: float) -> None:
        """Begin the background work: checkpoints, compaction and retention."""
        self._tasks = [
            asyncio.create_task(self._checkpoints(), name="checkpoint"),
            asyncio.create_task(self._upkeep(every), name="compaction and retention"),
        ]

    async def _upkeep(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            for part in self._parts.values():
                with suppress(TransientError):  # a full disk: publishers say so
                    await self._tidy(part)

    async def _tidy(self, part: Part) -> None:
        more = True
        while more:
            more = await self._committer.submit(lambda file: file.upkeep(part))
            await asyncio.sleep(0.05 if more else 0)  # publishers first

    async def _checkpoints(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY)
            with suppress(sqlite3.Error, OSError):  # tried again
                if mode := self._write_ahead.wants():
                    await loop.run_in_executor(self._checkpointing, self._checkpoint, mode)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._committer.close()
        self._reading.shutdown()
        self._checkpointing.shutdown()
        self._reader.close()
        with suppress(sqlite3.Error, OSError):  # as `_checkpoints`: what was published is safe in the log
            await asyncio.to_thread(self._checkpoint, "TRUNCATE")

    def _checkpoint(self, mode: Mode) -> None:
        with closing(connect(self._file.path)) as connection:
            self._write_ahead.checkpoint(connection, "PASSIVE")
            self._write_ahead.checkpoint(connection, mode)  # of what came meanwhile, so that the log can begin anew
