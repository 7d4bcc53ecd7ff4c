"""Process on a real bus and a real store: any order, any number of times, the same records; nothing stops for one."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from core import process, publish
from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.topics import CUSTOMERS, EVENTS
from core.errors import TransientError
from core.metrics import Metrics
from core.process import Settings, decoded
from core.projection import FOLD_REVISION
from core.store import Store
from core.store.sqlite import open_sqlite
from tests import worlds

SECRET = b"s" * 32


@asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[tuple[Bus, Store]]:
    folder.mkdir(parents=True, exist_ok=True)
    async with (
        open_embedded(folder / "bus.db", disk_cap=10**9) as bus,
        open_sqlite(folder / "hub.db", kind="demo", secret=SECRET, fold_revision=FOLD_REVISION) as store,
    ):
        yield bus, store


async def drain(bus: Bus, store: Store, *, limit: int = 500) -> None:
    """Process what is on the bus, in batches of at most `limit` records."""
    worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics(), batch=limit))
    for _ in range(2_000):
        if worker.done() or await process.lag(bus, store) == 0:
            break
        await asyncio.sleep(0.01)
    if worker.done():
        worker.result()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def folded(folder: Path, events: list[worlds.Event], *, limit: int = 500) -> dict[str, bytes]:
    async with hub(folder) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store, limit=limit)
        assert await store.dead("open", 10) == []
        return await worlds.records(store)


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_and_any_number_of_times_give_the_same_records(tmp_path: Path, seed: int) -> None:
    events = worlds.world(seed)
    chance = random.Random(seed)
    shuffled = events + chance.choices(events, k=len(events) // 2)
    chance.shuffle(shuffled)
    straight = await folded(tmp_path / "straight", events)
    assert straight
    assert await folded(tmp_path / "shuffled", shuffled, limit=chance.choice((1, 3, 17))) == straight


@pytest.mark.parametrize("told", [True, False], ids=["told what is under way", "told nothing"])
async def test_what_was_prepared_before_its_turn_counts_only_while_it_holds(tmp_path: Path, told: bool) -> None:
    events = worlds.world(7)
    async with hub(tmp_path / "ahead") as (bus, store):
        await worlds.publish(bus, events, fetched=False)
        work = []
        for partition, (begin, end) in (await bus.range(EVENTS)).items():
            middle = (begin + end) // 2  # the same objects in one batch and the next
            first = await bus.read(EVENTS, partition, begin, middle - begin)
            work += [decoded([first]), decoded([await bus.read(EVENTS, partition, middle, end - middle)])]
        for now, then in zip(work, [*work[1:], None], strict=True):
            if then:
                under_way = {event.subject for event in now.events} if told else set()
                await process.prepare(store, then, under_way, Settings())
            await process.apply(store, now, Settings())
        assert await worlds.records(store) == await folded(tmp_path / "straight", events)


class Between:
    """A test stands between process and its bus or store."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Counts(Between):
    """A store that counts the batches, and holds up the first until it is let go."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.batches = 0
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def writing(self, *given: Any) -> AsyncIterator[Any]:
        if given:  # as a batch does; who looks at the generation gives nothing
            self.batches += 1
            self.begun.set()
            await self.go_on.wait()
        async with self._real.writing(*given) as writing:
            yield writing


async def test_what_comes_while_a_batch_is_committed_goes_with_the_next_one(tmp_path: Path) -> None:
    events = worlds.world(7)[:5]
    async with hub(tmp_path) as (bus, store):
        counts: Any = Counts(store)
        worker = asyncio.create_task(process.run(bus, counts, Settings(), Metrics()))
        for event in events:
            await worlds.publish(bus, [event], fetched=False)
            await counts.begun.wait()
            await asyncio.sleep(0.1)
        counts.go_on.set()
        async with asyncio.timeout(20):
            while await process.lag(bus, store):
                await asyncio.sleep(0.01)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        assert counts.batches == 2


async def test_a_rebuild_keeps_ids_and_records_and_raises_every_version(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, worlds.world(5))
        await drain(bus, store)
        before, was = await worlds.records(store), await store.hub()
        assert await process.rebuild(store, Settings()) > 0
        after, now = await worlds.records(store), await store.hub()
        assert after == before
        assert (now.generation, now.seq) > (was.generation, was.seq)


async def test_a_redelivery_makes_no_new_version(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        events = worlds.world(3)
        await worlds.publish(bus, events)
        await drain(bus, store)
        seq = (await store.hub()).seq
        await worlds.publish(bus, random.Random(1).sample(events, len(events)))
        await drain(bus, store)
        assert (await store.hub()).seq == seq


async def test_a_message_that_is_no_event_is_buried_and_the_rest_goes_through(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        events = worlds.world(4)
        await worlds.publish(bus, events[:20])
        await bus.publish([Message(EVENTS, "x", b"not ours", partition_by="a/b/c/d")])
        await worlds.publish(bus, events[20:])
        await drain(bus, store)
        (letter,) = await store.dead("open", 10)
        assert letter.stage == "fold"
        assert await worlds.records(store) == await folded(tmp_path / "clean", events)


async def test_an_event_that_cannot_be_applied_is_buried_and_its_neighbors_count(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        events = worlds.world(6)
        victim = next(event for event in events if event.entity == "person")
        poison = victim.model_copy(update={"id": "poison", "data": {"identifiers": [{"kind": 7}]}})
        await worlds.publish(bus, [*events[:10], poison, *events[10:]])
        await drain(bus, store)
        letters = await store.dead("open", 50)
        assert "poison" in {orjson.loads(letter.payload)["key"] for letter in letters}
        others = [event for event in events if event.subject != victim.subject]
        clean = await folded(tmp_path / "clean", others)
        assert set(clean) & set(await worlds.records(store))


async def test_what_was_processed_once_is_not_processed_again_after_a_restart(tmp_path: Path) -> None:
    events = worlds.world(7)
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, events[:25])
        await drain(bus, store)
        offsets = await store.offsets(EVENTS)
    async with hub(tmp_path) as (bus, store):
        assert await store.offsets(EVENTS) == offsets
        await worlds.publish(bus, events[25:])
        await drain(bus, store)
        assert await worlds.records(store) == await folded(tmp_path / "whole", events)


async def topic(bus: Bus) -> dict[str, bytes]:
    """The compacted topic as an independent reader from zero keeps it: newest version wins, tombstones remove."""
    kept: dict[str, tuple[tuple[int, int], bytes]] = {}
    for partition, (low, high) in (await bus.range(CUSTOMERS)).items():
        while low < high:
            batch = await bus.read(CUSTOMERS, partition, low, 500)
            for record in batch.records:
                if record.value is None:
                    kept.pop(record.key, None)
                    continue
                generation, _, seq = orjson.loads(record.value)["version"].partition("-")
                version = int(generation), int(seq)
                assert version >= kept.get(record.key, ((0, 0), b""))[0], "the feed went backwards"
                kept[record.key] = version, record.value
            low = batch.end
    return {key: value for key, (_, value) in kept.items()}


async def expected(store: Store) -> dict[str, bytes]:
    hub_row, rows = await store.changes(0, 10_000)
    return {row.id: publish.message(hub_row, row).value or b"" for row in rows if row.status != "erased"}


async def test_the_topic_read_from_zero_equals_the_store(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        for part in range(0, 40, 8):
            await worlds.publish(bus, worlds.world(9)[part : part + 8])
            await drain(bus, store)
            async with bus.sender("publish") as sender:
                await publish.drain(sender, store)
        assert await topic(bus) == await expected(store)


async def test_a_publisher_that_wakes_up_late_is_fenced(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, worlds.world(9)[:20])
        await drain(bus, store)
        async with bus.sender("publish") as late:
            hub_row, rows = await store.changes(0, 500)
            stale = [publish.message(hub_row, row) for row in rows]
            await worlds.publish(bus, worlds.world(9)[20:])
            await drain(bus, store)
            async with bus.sender("publish") as sender:
                await publish.drain(sender, store)
            with pytest.raises(publish.PermanentError):
                await late.send(stale)
        assert await topic(bus) == await expected(store)


async def test_a_store_that_was_restored_from_a_backup_begins_a_new_generation(tmp_path: Path) -> None:
    events = worlds.world(11)
    backup = tmp_path / "backup.db"
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, events[:20])
        await drain(bus, store)
    backup.write_bytes((tmp_path / "hub.db").read_bytes())
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, events[20:])
        await drain(bus, store)
        async with bus.sender("publish") as sender:
            await publish.drain(sender, store)
        before = await topic(bus)
    for file in tmp_path.glob("hub.db*"):
        file.unlink()
    (tmp_path / "hub.db").write_bytes(backup.read_bytes())
    async with hub(tmp_path) as (bus, store):
        await drain(bus, store)  # process is the first to write, long before the publisher looks
        publisher = asyncio.create_task(publish.run(bus, store, Metrics()))
        for _ in range(500):
            if await store.published() == (await store.hub()).seq:
                break
            await asyncio.sleep(0.01)
        publisher.cancel()
        await asyncio.gather(publisher, return_exceptions=True)
        after = await topic(bus)
        assert after == await expected(store)
        assert (await store.hub()).generation == 2
        live = {key: value for key, value in after.items() if b'"status":"live"' in value}
        assert {key: value.partition(b",")[2] for key, value in live.items()} == {
            key: value.partition(b",")[2] for key, value in before.items() if b'"status":"live"' in value
        }


def test_holes_in_a_batch_are_passed_over() -> None:
    assert decoded([]).moves == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
async def test_who_was_merged_into_an_erased_person_is_erased_with_them(tmp_path: Path, order: tuple[int, ...]) -> None:
    maker = worlds.VENDORS[0]
    payload = worlds.Payload("test", {}, "acme", True, 5)
    known = worlds.Person(role="customer", display_name="Dana Reyes")
    events = [
        maker.upserted(payload, "contact", 1, known, clock=1),
        maker.merged(payload, "contact", 1, worlds.Person, into=2, clock=2),
        maker.deleted(payload, "contact", 2, worlds.Person, clock=3, erased=True),
    ]
    async with hub(tmp_path) as (bus, store):
        for index in order:
            await worlds.publish(bus, [events[index]])
            await drain(bus, store)
        objects = await store.objects_by_key([event.subject for event in events])
        assert [b"Dana" in row.registers for row in objects] == [False] * len(objects)
        _, rows = await store.changes(0, 100)
        assert not any(b"Dana" in row.record for row in rows)


@pytest.mark.parametrize("first", [0, 1])
async def test_the_number_that_gave_a_customer_its_id_may_vanish(tmp_path: Path, first: int) -> None:
    one, other = worlds.VENDORS[first], worlds.VENDORS[1 - first]
    number = worlds.Identifier(kind="phone", value="+1 202 555 0101", class_="claimed")
    shape = worlds.Call(status="missed", direction="inbound", parties=[worlds.Party(role="caller", identifier=number)])
    payload = worlds.Payload("test", {}, "acme", True, 5)
    async with hub(tmp_path) as (bus, store):
        for maker in (one, other):
            await worlds.publish(bus, [maker.upserted(payload, "call", 1, shape, clock=1000)])
            await drain(bus, store)
        (id,) = await worlds.records(store)
        await worlds.publish(bus, [one.deleted(payload, "call", 1, worlds.Call, clock=2000)])
        await drain(bus, store)
        (left,) = await worlds.records(store)
        kept = await store.customer(id)
        assert kept is not None and left in (kept.id, kept.into)


async def test_a_customer_whom_every_source_deleted_is_gone_and_comes_back(tmp_path: Path) -> None:
    maker, payload = worlds.VENDORS[0], worlds.Payload("test", {}, "acme", True, 5)
    known = worlds.Person(role="customer", display_name="Dana Reyes")
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, [maker.upserted(payload, "contact", 1, known, clock=1)])
        await drain(bus, store)
        (id,) = await worlds.records(store)
        await worlds.publish(bus, [maker.deleted(payload, "contact", 1, worlds.Person, clock=2)])
        await drain(bus, store)
        assert await worlds.records(store) == {}
        await worlds.publish(bus, [maker.upserted(payload, "contact", 1, known, clock=3)])
        await drain(bus, store)
        assert list(await worlds.records(store)) == [id]


async def test_a_hub_whose_bus_was_lost_goes_on_with_an_alarm_and_sends_everything_again(tmp_path: Path) -> None:
    events = worlds.world(13)
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        async with bus.sender("publish") as sender:
            await publish.drain(sender, store)
    for file in tmp_path.glob("bus.db*"):
        file.unlink()
    async with hub(tmp_path) as (bus, store):
        with capture_logs() as lines:
            await worlds.publish(bus, worlds.world(14))
            await drain(bus, store)
            publisher = asyncio.create_task(publish.run(bus, store, Metrics()))
            for _ in range(500):
                if await store.published() == (await store.hub()).seq:
                    break
                await asyncio.sleep(0.01)
            publisher.cancel()
            await asyncio.gather(publisher, return_exceptions=True)
        assert any("events may be missing" in line["event"] for line in lines)
        assert await topic(bus) == await expected(store)


async def test_what_the_bus_lost_is_asked_of_the_sources_again_and_said_once(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        await worlds.publish(bus, worlds.world(13), fetched=False)
        await drain(bus, store)
    for file in tmp_path.glob("bus.db*"):
        file.unlink()
    calls = []
    async with hub(tmp_path) as (bus, store):

        async def again() -> dict[str, str]:
            calls.append(await store.offsets(EVENTS))
            if len(calls) == 1:
                raise TransientError("the bus is down")
            return {"test": "2026-01-01"}

        before = await store.offsets(EVENTS)
        with capture_logs() as lines:
            worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics(), read_again=again))
            for _ in range(500):
                if await store.offsets(EVENTS) != before:
                    break
                await asyncio.sleep(0.01)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        [said] = [line for line in lines if "events may be missing" in line["event"]]
        assert said["reads_again_since"] == {"test": "2026-01-01"} and "the sources are read again" in said["remedy"]
        assert calls == [before, before], "asked before the offsets move, so that a crash in between asks once more"


async def test_what_not_even_a_dead_letter_can_take_ends_the_worker_and_is_not_passed_over(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        connection = sqlite3.connect(tmp_path / "hub.db")
        connection.execute("CREATE TRIGGER no BEFORE INSERT ON object BEGIN SELECT RAISE(ABORT, 'no'); END")
        connection.execute("CREATE TRIGGER never BEFORE INSERT ON dead BEGIN SELECT RAISE(ABORT, 'never'); END")
        connection.commit()
        await worlds.publish(bus, worlds.world(5)[:3])
        with pytest.raises(publish.PermanentError):
            await asyncio.wait_for(process.run(bus, store, Settings(), Metrics()), 20)
        assert await process.lag(bus, store) > 0
        connection.close()
