"""What first fetches bring: a consumer group of its own, which gives way to deliveries and does not hold them up."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import process
from core.bus import Batch, Bus, Record, Subscription
from core.bus.codec import encode
from core.bus.topics import DEAD, EVENTS, PAST, partition_of
from core.errors import TransientError
from core.metrics import Metrics
from core.precedence import Precedence
from core.process import Settings
from core.process import lots as lots_
from core.process.lots import Lots
from core.process.pieces import begins, first
from core.process.run import GROUP, PAST_GROUP
from core.sdk import Maker, Payload
from core.store import Store
from core.store.writing import Transaction
from schemas.entities import Person
from tests import worlds
from tests.core.test_process import Between, drain, folded, hub

MAKER = Maker("desk")


@asynccontextmanager
async def working(bus: Any, store: Store, **more: Any) -> AsyncIterator[None]:
    worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics(), **more))
    try:
        yield
        assert not worker.done()
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def until(said: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await said():
            await asyncio.sleep(0.01)


async def test_what_a_first_fetch_brought_waits_while_a_delivery_is_under_way_but_not_for_ever(tmp_path: Path) -> None:
    events = worlds.world(7)
    wanted = await folded(tmp_path / "straight", events)
    fetched, told, precedence = 0, 0, Precedence()
    async with hub(tmp_path / "hub") as (bus, store):
        await worlds.publish(bus, events)
        precedence.enter()  # a delivery that never ends
        worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics(), precedence=precedence))
        async with asyncio.timeout(60):
            while not (told and fetched):
                fetched = fetched or await process.lag(bus, store, [PAST]) == 0
                told = told or await process.lag(bus, store, [EVENTS]) == 0
                assert told or not fetched, "deliveries come first"
                await asyncio.sleep(0.01)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        assert await worlds.records(store) == wanted


async def test_the_faster_lots_are_taken_the_larger_they_get_and_pauses_are_for_deliveries() -> None:
    lots = Lots()
    sizes = []
    for _ in range(60):
        assert lots.took(0.001, busy=False) == 0
        sizes.append(lots.size)
    assert sizes == sorted(sizes) and sizes[-1] == lots_.MOST
    assert lots.took(0.1, busy=True) == pytest.approx(0.1 * lots_.PAUSE) and lots.size <= lots_.SOME
    for _ in range(60):
        lots.took(1.0, busy=True)
    assert lots.size == lots_.LEAST


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(1, 9))
def test_batches_are_cut_into_lots_without_holes(steps: list[list[int]], count: int) -> None:
    batches = []
    for partition, gaps in enumerate(steps):
        offsets = list(itertools.accumulate(gaps))
        records = [Record(EVENTS, partition, offset, 0, "", b"", ()) for offset in offsets]
        batches.append(Batch(EVENTS, partition, 0, offsets[-1] + 2, records))
    places, rest, seen = begins(batches), batches, 0
    while rest:
        lot, rest = first(rest, count)
        assert 0 < sum(len(batch.records) for batch in lot) <= count
        for batch in lot:
            assert batch.begin == places[batch.topic, batch.partition], "no hole before it"
            assert all(batch.begin <= record.offset < batch.end for record in batch.records)
            places[batch.topic, batch.partition] = batch.end
            seen += len(batch.records)
    assert seen == sum(map(len, steps))
    assert places == {(batch.topic, batch.partition): batch.end for batch in batches}


class PastIsDown(Between):
    """The topic of first fetches cannot be read; whoever joins a group is counted."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.joined: list[str] = []

    @asynccontextmanager
    async def subscribe(self, topics: Sequence[str], group: str, **more: Any) -> AsyncIterator[Subscription]:
        self.joined.append(group)
        if PAST in topics:
            raise TransientError("no leader")
        async with self._real.subscribe(topics, group, **more) as subscription:
            yield subscription


async def test_where_first_fetches_cannot_be_read_deliveries_are_all_the_same(tmp_path: Path) -> None:
    events = worlds.world(3)
    async with hub(tmp_path) as (bus, store):
        down = PastIsDown(bus)

        async def done() -> bool:
            return await process.lag(bus, store, [EVENTS]) == 0 and down.joined.count(PAST_GROUP) > 2

        async with working(down, store):
            for event in events:
                await worlds.publish(bus, [event], fetched=False)
                await asyncio.sleep(0.005)
            await until(done)
        assert down.joined.count(GROUP) == 1, "its subscription was not touched"


class Hears(Between):
    """Notes what it is told of what is done; only once `go_on` is set, and not the first time of so many `refusals`."""

    def __init__(self, bus: Bus, refusals: int = 0) -> None:
        super().__init__(bus)
        self.told: dict[tuple[str, int], int] = {}
        self.hearing, self.go_on, self.refusals = asyncio.Event(), asyncio.Event(), refusals

    async def forget(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        self.hearing.set()
        await self.go_on.wait()
        if self.refusals:
            self.refusals -= 1
            raise TransientError("down")
        assert {topic for topic, _ in offsets} <= ({PAST} if group == PAST_GROUP else {EVENTS, DEAD})
        self.told |= offsets
        await self._real.forget(group, offsets)

    async def all(self) -> bool:
        ranges = {topic: await self._real.range(topic) for topic in (EVENTS, PAST)}
        ends = {(topic, part): end for topic, found in ranges.items() for part, (_, end) in found.items()}
        return {place: end for place, end in self.told.items() if place[0] != DEAD} == ends


async def test_what_a_stopped_worker_had_done_and_not_told_is_told_by_the_next(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, worlds.world(4))
        await drain(bus, store)
        hears = Hears(bus)
        hears.go_on.set()
        async with working(hears, store):
            await until(hears.all)


async def test_what_is_done_while_the_bus_is_told_or_refuses_to_hear_is_told_as_well(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        hears = Hears(bus, refusals=2)
        async with working(hears, store):
            await hears.hearing.wait()
            await worlds.publish(bus, worlds.world(4))
            await asyncio.sleep(0.2)
            hears.go_on.set()
            await until(hears.all)


class Hesitates(Between):
    """A store whose transactions wait for a word, and which does not answer who prepares a batch beside them."""

    beside = True

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.writes, self.prepares, self.may_write = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def registers(self, keys: Sequence[str]) -> dict[str, bytes]:
        self.prepares.set()
        if not self.may_write.is_set():
            await asyncio.Event().wait()
        return await self._real.registers(keys)

    @asynccontextmanager
    async def writing(self, *given: Any) -> AsyncIterator[Any]:
        if given:  # as a batch does; who looks at the generation gives nothing
            self.writes.set()
            await self.may_write.wait()
        async with self._real.writing(*given) as writing:
            yield writing


async def test_what_was_fetched_behind_a_batch_that_somebody_else_had_is_read_again(tmp_path: Path) -> None:
    events = worlds.world(5, steps=3_000)
    partition = partition_of(encode(events[0]), 8)
    here = [event for event in events if partition_of(encode(event), 8) == partition]
    elsewhere = [event for event in events if partition_of(encode(event), 8) != partition]
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, here, fetched=False)
        slow = Hesitates(store)
        async with asyncio.timeout(60), working(bus, slow):
            await slow.writes.wait()
            await worlds.publish(bus, elsewhere, fetched=False)
            await slow.prepares.wait()
            async with store.writing() as writing:
                await writing.move_offsets([(EVENTS, partition, 0, 1)])
            slow.may_write.set()
            while await process.lag(bus, store, [EVENTS]):  # though nothing more comes
                await asyncio.sleep(0.01)


async def test_whoever_goes_first_is_asked_after_between_every_few_subjects_and_every_few_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, breaths, real = 40, 0, Transaction.breathe

    async def counted(writing: Transaction) -> None:
        nonlocal breaths
        breaths += 1
        await real(writing)

    monkeypatch.setattr(Transaction, "breathe", counted)
    payload = Payload("test", {}, "acme", True, 5_000)
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, [
            MAKER.upserted(payload, "contact", number, Person(display_name=f"Dana {number}"), clock=1_000)
            for number in range(people)
        ], fetched=False)  # fmt: skip
        await drain(bus, store)
        assert len(await worlds.records(store)) == people
    assert breaths >= 2 * people / lots_.BREATH
