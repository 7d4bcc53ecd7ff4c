"""A connection is taken out again: what remains is what a hub has that never had it. On both stores."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from core import deadletter, process, publish, purge
from core.bus import Bus, Message, Record
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.topics import DEAD, EVENTS, PAST, RAW, SHAPES, TOPICS, partition_of
from core.deadletter import Letter
from core.errors import PermanentError
from core.metrics import Metrics
from core.process import Settings
from core.store import Store
from core.store.sqlite import open_sqlite
from schemas.entities import Conversation, Identifier, Party, Person, Task
from schemas.entities import Message as Said
from schemas.event import Event
from tests import worlds
from tests.core.test_intake import messages
from tests.fixtures_store import OpenStore

pytestmark = pytest.mark.slow

SECRET = b"s" * 32
UNEVEN = {**TOPICS, PAST: replace(TOPICS[PAST], partitions=4)}
SOURCE = "intercom/acme"


@asynccontextmanager
async def working(bus: Bus, store: Store, limit: int = 500) -> AsyncIterator[None]:
    """Process runs meanwhile."""
    worker = asyncio.create_task(process.run(bus, store, Settings(), Metrics(), batch=limit))
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def reached(store: Store, ends: purge.Places) -> None:
    async with asyncio.timeout(60):
        while not purge.reached({topic: await store.offsets(topic) for topic in purge.topics()}, ends):
            await asyncio.sleep(0.01)


async def drain(bus: Bus, store: Store, limit: int = 500) -> None:
    async with working(bus, store, limit):
        heads = {
            f"{topic}/{n}": end
            for topic in purge.topics()
            for n, (low, end) in (await bus.range(topic)).items()
            if end > low
        }
        await reached(store, heads)


async def purged(bus: Bus, store: Store, limit: int = 500) -> None:
    ends, void = await purge.begin(bus, "desk", SOURCE, 1)
    async with working(bus, store, limit):
        await reached(store, ends)
    left, unread = await purge.void(bus, "desk", SOURCE, void, 60)
    assert (left, unread) == ({}, 0)


@asynccontextmanager
async def hub(folder: Path, open_store: OpenStore) -> AsyncIterator[tuple[Bus, Store]]:
    async with open_embedded(folder / "bus.db", disk_cap=10**9) as bus, open_store(secret=SECRET) as store:
        yield bus, store


def theirs(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.source == SOURCE]


def others(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.source != SOURCE]


async def never_had(folder: Path, events: Sequence[Event]) -> dict[str, bytes]:
    """The records of a hub that only ever heard of the others. On SQLite, whichever store is tested."""
    async with (
        open_embedded(folder / "other.db", disk_cap=10**9) as bus,
        open_sqlite(folder / "other-hub.db", kind="real", secret=SECRET) as store,
    ):
        await worlds.publish(bus, others(events))
        await drain(bus, store)
        return await worlds.records(store)


async def live(store: Store) -> dict[str, bytes]:
    """Records by id, as they are now."""
    found: dict[str, bytes] = {}
    after = 0
    while True:
        _, rows = await store.changes(after, 500)
        if not rows:
            return found
        for row in rows:
            found.pop(row.id, None)
            if row.status == "live":
                found[row.id] = row.record
        after = rows[-1].seq


@pytest.mark.parametrize("seed", range(8))
async def test_the_records_are_those_of_a_hub_that_never_had_it(
    tmp_path: Path, open_store: OpenStore, seed: int
) -> None:
    events = worlds.world(seed, people=5, steps=80)
    wanted = await never_had(tmp_path, events)
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store, random.Random(seed).choice((7, 500)))
        assert await live(store) != wanted
        await purged(bus, store)
        assert await live(store) == wanted
        assert all(source != SOURCE for source, _ in await store.counts())
        assert await process.rebuild(store, Settings()) > 0
        assert await live(store) == wanted


@pytest.mark.parametrize("seed", range(3))
async def test_what_comes_behind_the_mark_counts_and_what_comes_late_before_it_does_not(
    tmp_path: Path, open_store: OpenStore, seed: int
) -> None:
    """Nothing was processed yet when the mark was set; then the connection was added again and fetched everything."""
    # Nobody is erased in these: who was, would not come again.
    events = [event for event in worlds.world(seed + 20, people=5, steps=60) if not event.erased]
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        everything = await live(store)
    async with (
        open_embedded(tmp_path / "late.db", disk_cap=10**9) as bus,
        open_sqlite(tmp_path / "late-hub.db", kind="real", secret=SECRET) as store,
    ):
        await worlds.publish(bus, events)
        await purge.begin(bus, "desk", SOURCE, 1)
        await drain(bus, store, 11)
        assert await live(store) == await never_had(tmp_path, events)
        await worlds.publish(bus, theirs(events))
        await drain(bus, store, 11)
        assert await live(store) == everything
        # The same in one go, each partition with its mark in the middle; now this topic of events is ahead, now that.
        for number in range(5):
            async with open_sqlite(tmp_path / f"one-go{number}.db", kind="real", secret=SECRET) as other:
                await drain(bus, other, 11)
                assert await live(other) == everything


@pytest.mark.kafka
async def test_the_same_on_kafka(tmp_path: Path, open_store: OpenStore, kafka_servers: str, prefix: str) -> None:
    events = worlds.world(2, people=5, steps=80)
    async with open_kafka(kafka_servers, prefix=prefix, options={}) as bus, open_store(secret=SECRET) as store:
        await worlds.publish(bus, events)
        await drain(bus, store)
        await purged(bus, store)
        assert await live(store) == await never_had(tmp_path, events)
        kept = _last([*await messages(bus, EVENTS), *await messages(bus, PAST)])
        values = {key for key, record in kept.items() if record.value is not None and not purge.is_mark(record)}
        assert values == {event.id for event in others(events)}


@pytest.mark.parametrize("topic", [EVENTS, PAST])
async def test_a_mark_that_stands_in_one_topic_alone_holds_up_nothing(
    tmp_path: Path, open_store: OpenStore, topic: str
) -> None:
    """A publish of marks may be cut short; and the topics may be kept for different times."""
    events = worlds.world(2, people=5, steps=80)
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        mark = purge.Mark("desk", SOURCE, 8)
        made = [Message(topic, f"purge/{SOURCE}/1/{n}", orjson.dumps(mark._asdict()), str(n)) for n in range(100)]
        [alone] = [each for each in made if partition_of(each, 8) == 3][:1]
        await bus.publish([alone])
        ends = {f"{topic}/{part}": end for part, (_, end) in (await bus.range(topic)).items()}
        async with working(bus, store):
            began = asyncio.get_running_loop().time()
            while not purge.reached({topic: await store.offsets(topic)}, ends):
                await worlds.publish(bus, others(events)[:50])  # the other topic never comes to an end
                await asyncio.sleep(0.02)
                assert asyncio.get_running_loop().time() - began < 60
        async with store.writing() as writing:
            left = await writing.object_keys(f"{SOURCE}/", "", 1_000)
        assert left and not [key for key in left if mark.holds(key, 3)]


async def test_an_old_mark_that_is_alone_is_passed_at_once(tmp_path: Path, open_store: OpenStore) -> None:
    async with (
        open_embedded(tmp_path / "bus.db", disk_cap=10**9, clock=lambda: 1_700_000_000_000) as bus,
        open_store(secret=SECRET) as store,
    ):
        mark = purge.Mark("desk", SOURCE, 8)
        await bus.publish([Message(EVENTS, f"purge/{SOURCE}/1/0", orjson.dumps(mark._asdict()))])
        async with asyncio.timeout(6):
            await drain(bus, store)


async def test_topics_that_tell_of_the_same_objects_in_other_partitions_are_refused(tmp_path: Path) -> None:
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9, topics=UNEVEN) as bus:
        with pytest.raises(PermanentError, match=r"8 and 4 partitions.*delete that topic"):
            await purge.begin(bus, "desk", SOURCE, 1)
        assert not await messages(bus, EVENTS)


async def test_a_purge_that_is_killed_goes_on_where_it_was(tmp_path: Path, open_store: OpenStore) -> None:
    events = worlds.world(3, people=6, steps=150)
    wanted = await never_had(tmp_path, events)
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        ends, _ = await purge.begin(bus, "desk", SOURCE, 1)
        done = False
        for wait in (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 60.0):
            async with working(bus, store):
                try:
                    async with asyncio.timeout(wait):
                        await reached(store, ends)
                    done = True
                except TimeoutError:
                    pass
            if done:
                break
        assert await live(store) == wanted


async def test_a_store_that_is_made_anew_from_the_bus_has_not_heard_of_it_either(
    tmp_path: Path, open_store: OpenStore
) -> None:
    events = worlds.world(6, people=5, steps=80)
    wanted = await never_had(tmp_path, events)
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        await purged(bus, store)
        async with open_sqlite(tmp_path / "anew.db", kind="real", secret=SECRET) as anew:
            await drain(bus, anew, 13)
            assert await live(anew) == wanted == await live(store)


async def test_subscribers_are_told_of_what_is_gone_and_of_what_parted(tmp_path: Path, open_store: OpenStore) -> None:
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, worlds.world(5, people=5, steps=80))
        await drain(bus, store)
        before, seen = await live(store), (await store.hub()).seq
        await purged(bus, store)
        after = await live(store)
        _, rows = await store.changes(seen, 500)
        told = {row.id: row.status for row in rows}
        gone = {id for id, status in told.items() if status != "live"}
        assert before.keys() - after.keys() <= gone and not gone & after.keys()
        assert {id for id, record in after.items() if before.get(id) != record} == {
            id for id, status in told.items() if status == "live"
        }
        async with bus.sender(publish.SENDER) as sender:
            assert await publish.drain(sender, store) > 0


async def test_a_person_whom_others_name_stays_named_and_is_nobody_more(tmp_path: Path, open_store: OpenStore) -> None:
    """An activity of another source names the source's person by key."""
    [maker] = [each for each in worlds.VENDORS if each.vendor == "intercom"]
    [other] = [each for each in worlds.VENDORS if each.vendor == "hubspot"]
    payload = worlds.Payload("test", {}, "acme", True, worlds.START + 5)
    held = [Identifier(kind="email", value="dana@example.com", class_="recorded")]
    person = maker.upserted(
        payload, "contact", "1", Person(display_name="Dana Reyes", identifiers=held), clock=worlds.START
    )
    twin = other.upserted(
        payload, "contact", "9", Person(display_name="Dana Reyes", identifiers=held), clock=worlds.START
    )
    task = Task(title="call", state="open", parties=[Party(role="requester", person=person.subject)])
    events = [
        each.model_copy(update={"connection": "test"})
        for each in (person, twin, other.upserted(payload, "task", "1", task, clock=worlds.START))
    ]
    wanted = await never_had(tmp_path, events)
    assert len(wanted) == 2
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        assert len(await live(store)) == 1
        await purged(bus, store)
        assert await live(store) == wanted


async def test_what_others_tell_of_a_conversation_that_was_deleted_there_is_shown_again(
    tmp_path: Path, open_store: OpenStore
) -> None:
    [maker] = [each for each in worlds.VENDORS if each.vendor == "intercom"]
    [other] = [each for each in worlds.VENDORS if each.vendor == "hubspot"]
    payload = worlds.Payload("test", {}, "acme", True, worlds.START + 5)
    gone = maker.deleted(payload, "conversation", "1", Conversation, clock=worlds.START)
    ben = Party(role="requester", identifier=Identifier(kind="email", value="ben@example.com"))
    told = other.upserted(payload, "message", "1", Said(conversation=gone.subject, parties=[ben]), clock=worlds.START)
    events = [each.model_copy(update={"connection": "test"}) for each in (gone, told)]
    wanted = await never_had(tmp_path, events)
    assert len(wanted) == 1
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await drain(bus, store)
        assert await live(store) == {}
        await purged(bus, store)
        assert await live(store) == wanted


async def test_who_was_erased_stays_erased_when_the_connection_is_added_again(
    tmp_path: Path, open_store: OpenStore
) -> None:
    [maker] = [each for each in worlds.VENDORS if each.vendor == "intercom"]
    payload = worlds.Payload("test", {}, "acme", True, worlds.START)
    person = maker.upserted(payload, "contact", "1", Person(display_name="Dana Reyes"), clock=worlds.START)
    erased = maker.deleted(payload, "contact", "1", Person, clock=worlds.START + 1, erased=True)
    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, [person, erased])
        await drain(bus, store)
        await purged(bus, store)
        await worlds.publish(bus, [person])
        await drain(bus, store)
        assert await live(store) == {} and await store.object(person.subject) is None


async def test_its_letters_counts_and_messages_are_gone_and_those_of_others_are_not(
    tmp_path: Path, open_store: OpenStore
) -> None:
    events = worlds.world(4)

    def letter(connection: str) -> Message:
        return deadletter.encode(Letter(connection, "normalize", "broken", {"form": "payload", "data": connection}, 1))

    def raw(connection: str) -> Message:
        headers = [("connection", connection.encode()), ("subjects", b"")]
        return Message(RAW, f"raw-{connection}", b"{}", connection, headers)

    async with hub(tmp_path, open_store) as (bus, store):
        await worlds.publish(bus, events)
        await bus.publish([letter("desk"), letter("calls"), raw("desk"), raw("calls")])
        await bus.publish([Message(SHAPES, f"{name}/person", b"{}", name) for name in ("desk", "calls")])
        await drain(bus, store)
        await store.put_state("desk", "here", b"{}", 1)
        await purged(bus, store)
        await store.drop_states("desk")
        assert await store.dead_counts() == {"calls": 1}
        assert await store.states() == []
        assert await store.ledger(0, "desk") == []
        kept = _last([*await messages(bus, EVENTS), *await messages(bus, PAST)])
        values = {key for key, record in kept.items() if record.value is not None and not purge.is_mark(record)}
        assert values == {event.id for event in others(events)}
        kept = _last(await messages(bus, RAW))
        assert {key for key, record in kept.items() if record.value is not None} == {"raw-calls"}
        kept = _last(await messages(bus, SHAPES))
        assert {key for key, record in kept.items() if record.value is not None} == {"calls/person"}
        assert len(await messages(bus, DEAD)) == 2 + len(await bus.range(DEAD))


def _last(records: Sequence[Record]) -> dict[str, Record]:
    """What compaction leaves."""
    return {record.key: record for record in records}
