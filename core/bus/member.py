"""A member of a consumer group, and a sender, on the embedded bus."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.bus import Batch, Message, Start
from core.bus.groups import Place
from core.errors import PermanentError

if TYPE_CHECKING:
    from core.bus.embedded import EmbeddedBus


class EmbeddedSender:
    """See Sender. One publish is one commit, so all or none."""

    def __init__(self, bus: "EmbeddedBus", id: str, epoch: int) -> None:
        self._bus = bus
        self._id = id
        self._epoch = epoch

    async def send(self, messages: Sequence[Message]) -> None:
        await self._bus.publish_as(self._id, self._epoch, messages)


class Member:
    """See Subscription. `wake` is set when something was written to its topics or its group has changed."""

    def __init__(self, bus: "EmbeddedBus", topics: frozenset[str], group: str, start: Start | None) -> None:
        self.topics = topics
        self.group = group
        self.wake = asyncio.Event()
        self._bus = bus
        self._start = start
        self._owned: set[Place] = set()
        self._positions: dict[Place, int] = {}
        self._turn = 0

    def assigned(self) -> frozenset[Place]:
        return frozenset(self._owned)

    async def next(self, limit: int, timeout: float) -> Sequence[Batch]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self.wake.clear()
            await self._settle()
            if batches := await self._fetch(limit):
                return batches
            try:
                async with asyncio.timeout_at(deadline):
                    await self.wake.wait()
            except TimeoutError:
                return ()

    async def commit(self, batches: Sequence[Batch]) -> None:
        offsets = {(batch.topic, batch.partition): batch.end for batch in batches}
        mine = {place: offset for place, offset in offsets.items() if self._bus.owns(self, place)}
        if mine:
            await self._bus.commit(self.group, mine)

    async def seek(self, positions: Mapping[Place, int]) -> None:
        self._positions |= {place: offset for place, offset in positions.items() if place in self._owned}

    async def _settle(self) -> None:
        taken, gone = self._bus.settle(self)
        self._owned = self._owned - gone | taken
        for place in gone:
            self._positions.pop(place, None)
        # Also those for which an earlier attempt failed.
        if new := [place for place in sorted(self._owned) if place not in self._positions]:
            positions = await self._begin(new)
            await self._bus.hold(self.group, positions)
            self._positions |= positions

    async def _begin(self, places: Sequence[Place]) -> dict[Place, int]:
        if self._start is not None:
            known = dict(await self._start(places))
        else:
            topics = {topic for topic, _ in places}
            committed = {topic: await self._bus.committed(self.group, topic) for topic in topics}
            known = {(t, number): offset for t, found in committed.items() for number, offset in found.items()}
        return {place: known.get(place, self._bus.bounds(place)[0]) for place in places}

    async def _fetch(self, limit: int) -> list[Batch]:
        waiting = [place for place in sorted(self._positions) if self._check(place)]
        if not waiting:
            return []
        # In turn and in equal shares, so that one partition's backlog does not hold up the others.
        self._turn += 1
        turn = self._turn % len(waiting)
        wanted = [(place, self._positions[place]) for place in waiting[turn:] + waiting[:turn]]
        found = await self._bus.fetch(wanted, -(-limit // len(waiting)), limit)
        # No await from here on: a caller that was cancelled before has missed nothing.
        self._positions |= {(batch.topic, batch.partition): batch.end for batch in found}
        return [batch for batch in found if batch.records]

    def _check(self, place: Place) -> bool:
        """Is there something to read? Raises PermanentError where the position is not within the log."""
        begin, end = self._bus.bounds(place)
        position = self._positions[place]
        if not begin <= position <= end:
            raise PermanentError(
                f"offset {position} of {place[0]} partition {place[1]} is outside of the log ({begin} to {end}): "
                "the log was replaced or cut; sweep the sources, then start from offsets that it has"
            )
        return position < end
