"""The ledger as process writes it: what a sweep found that webhooks should have told, each once, by name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from core import process
from core.bus import Bus
from core.bus.codec import Origin, encode
from core.bus.embedded import open_embedded
from core.errors import OffsetsMoved
from core.metrics import Metrics
from core.process import Settings
from core.sdk import Maker, Payload
from core.store import Store
from schemas.entities import Person
from schemas.event import Event
from tests.fixtures_store import OpenStore

START = 1_767_225_600_000  # 2026-01-01, a full hour
MINUTE = 60_000
MAKE = Maker("desk")
HOOK = Origin("webhook", "", True)
HYDRATE = Origin("hydrate", "", True)
SWEEP = Origin("sweep", "people", True)
LISTING = Origin("listing", "all person", True)

Told = tuple[Event, Origin | None]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as opened:
        yield opened


def person(
    number: int,
    name: str = "Dana",
    *,
    clock: int | None = START,
    received: int = START + 10 * MINUTE,
    pushed: bool = False,
) -> Event:
    payload = Payload("person", {}, "acme", pushed, received)
    event = MAKE.upserted(payload, "person", number, Person(role="customer", display_name=name), clock=clock)
    return event.model_copy(update={"connection": "desk"})


def gone(number: int, *, clock: int, received: int = START + 10 * MINUTE) -> Event:
    payload = Payload("person", {}, "acme", False, received)
    return MAKE.deleted(payload, "person", number, Person, clock=clock).model_copy(update={"connection": "desk"})


async def told(bus: Bus, store: Store, *events: Told) -> Metrics:
    """Until all is processed; what the worker counted for Prometheus."""
    await bus.publish([encode(event, origin) for event, origin in events])
    metrics = Metrics()
    worker = asyncio.create_task(process.run(bus, store, Settings(), metrics))
    while not worker.done() and await process.lag(bus, store):
        await asyncio.sleep(0.01)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return metrics


async def counts(store: Store, since: int = 0) -> dict[str, tuple[int, ...]]:
    """(received, missing, early, repaired) by way."""
    return {row.way: tuple(row[4:]) for row in await store.ledger(since) if row.connection == "desk"}


async def repaired(store: Store) -> dict[str, str]:
    return {row.key.rpartition("/")[2]: row.found for row in await store.repairs("desk", 100)}


async def test_a_sweep_that_finds_what_webhooks_told_finds_nothing_missing(bus: Bus, store: Store) -> None:
    read = person(1, received=START + 20 * MINUTE)
    await told(bus, store, (person(1, pushed=True), HOOK), (read, SWEEP), (read, SWEEP))
    assert await counts(store) == {"webhook": (1, 0, 0, 0), "sweep": (2, 0, 0, 0)}
    assert await repaired(store) == {}


async def test_new_and_newer_and_gone_are_missing_and_repaired_by_name(bus: Bus, store: Store) -> None:
    await told(bus, store, *((person(number, pushed=True), HOOK) for number in (1, 2, 3)))
    metrics = await told(
        bus,
        store,
        (person(1, "Dana Reyes", clock=START + 1), SWEEP),
        (gone(2, clock=START + 1), SWEEP),
        (person(4), SWEEP),
        (person(3), SWEEP),
    )
    assert await counts(store) == {"webhook": (3, 0, 0, 0), "sweep": (4, 3, 0, 3)}
    assert await repaired(store) == {"1": "newer", "2": "gone", "4": "new"}
    assert metrics.value("missing", connection="desk") == 3 == metrics.value("repaired", connection="desk")
    (row,) = [row for row in await store.repairs("desk", 1) if row.key.endswith("/4")]
    assert (row.at, row.stream, row.way) == (START + 10 * MINUTE, "people", "sweep")


async def test_a_newer_clock_that_changes_nothing_of_what_is_said_is_not_missing(bus: Bus, store: Store) -> None:
    await told(bus, store, (person(1, pushed=True), HOOK), (person(1, clock=START + MINUTE), SWEEP))
    assert (await counts(store))["sweep"] == (1, 0, 0, 0)


async def test_two_reads_of_one_change_in_one_batch_are_one_repair(bus: Bus, store: Store) -> None:
    again = person(1, received=START + 15 * MINUTE)
    await told(bus, store, (person(1), SWEEP), (again, SWEEP), (again, SWEEP))
    assert await counts(store) == {"sweep": (3, 1, 0, 1)}


async def test_backfills_fetches_replays_and_polls_without_webhooks_miss_nothing(bus: Bus, store: Store) -> None:
    ways = [Origin("backfill", "people", True), Origin("hydrate", "", True), Origin("replay")]
    await told(bus, store, *((person(number), origin) for number, origin in enumerate(ways)))
    await told(bus, store, (person(9), Origin("sweep", "people", False)), (person(8), None))
    assert {way: count[1:] for way, count in (await counts(store)).items()} == dict.fromkeys(
        ("backfill", "hydrate", "replay", "sweep"), (0, 0, 0)
    )


async def test_a_read_within_a_minute_of_the_change_is_early_and_not_missing(bus: Bus, store: Store) -> None:
    soon = person(1, clock=START, received=START + MINUTE - 1)
    late = person(2, clock=START, received=START + MINUTE)
    await told(bus, store, (soon, SWEEP), (late, SWEEP))
    assert await counts(store) == {"sweep": (2, 1, 1, 1)}
    assert await repaired(store) == {"2": "new"}


@pytest.mark.parametrize("floored", [1, 1_000])
async def test_what_is_dated_by_the_look_itself_is_never_early(bus: Bus, store: Store, floored: int) -> None:
    """As threads of an inbox, or who is available: looks follow one another, each with a clock of its own."""

    def look(name: str, minute: int) -> Event:
        moment = START + minute * MINUTE + 123
        return person(1, name, clock=moment - moment % floored, received=moment)

    await told(bus, store, (look("Dana", 0), Origin("backfill", "people", True)))
    await told(bus, store, (look("Dana", 60), SWEEP))
    assert await repaired(store) == {}
    await told(bus, store, (look("Dana Reyes", 120), SWEEP))
    assert await counts(store) == {"backfill": (1, 0, 0, 0), "sweep": (2, 1, 0, 1)}
    assert await repaired(store) == {"1": "newer"}


async def test_without_a_clock_a_visible_change_is_missing_and_the_same_state_is_not(bus: Bus, store: Store) -> None:
    await told(bus, store, (person(1, clock=None, pushed=True), HOOK))
    await told(bus, store, (person(1, clock=None, received=START + 20 * MINUTE), SWEEP))
    assert await repaired(store) == {}
    await told(bus, store, (person(1, "Dana Reyes", clock=None, received=START + 30 * MINUTE), SWEEP))
    assert await repaired(store) == {"1": "newer"}


async def test_a_change_that_moved_no_clock_is_missing_where_the_hub_had_read_the_same_clock(
    bus: Bus, store: Store
) -> None:
    """As an association, or a tag: such changes are why all objects are read again."""
    await told(bus, store, (person(1), Origin("backfill", "people", True)), (person(2), HYDRATE))
    later = [person(number, "Dana Reyes", received=START + 30 * MINUTE) for number in (1, 2)]
    await told(bus, store, *((event, SWEEP) for event in later), *((event, SWEEP) for event in later))
    assert (await counts(store))["sweep"] == (4, 2, 0, 2)
    await told(bus, store, (gone(2, clock=START, received=START + 40 * MINUTE), SWEEP))
    assert await repaired(store) == {"1": "newer", "2": "gone"}


async def test_what_a_webhook_told_in_the_same_second_and_a_new_revision_reads_is_not_missing(
    bus: Bus, store: Store
) -> None:
    at_once = person(2)  # and so outranked by what the same second may still have brought
    at_once = at_once.model_copy(update={"order": at_once.order._replace(read=-1)})
    await told(bus, store, (person(1, pushed=True), HOOK), (at_once, HYDRATE), (person(3), HYDRATE))
    await told(bus, store, (person(2, "Dana Reyes", pushed=True), HOOK))
    reads = [person(number, "Dana Reyes-Berg", received=START + 30 * MINUTE) for number in (1, 2, 3)]
    reads[2] = reads[2].model_copy(update={"order": reads[2].order._replace(mapper=2)})
    await told(bus, store, *((event, SWEEP) for event in reads))
    assert (await counts(store))["sweep"] == (3, 0, 0, 0)


async def test_what_a_listing_found_deleted_is_missing_also_a_moment_ago(bus: Bus, store: Store) -> None:
    await told(bus, store, (person(1, pushed=True), HOOK), (person(2, pushed=True), HOOK))
    now = START + 10 * MINUTE
    await told(bus, store, (gone(1, clock=now, received=now), LISTING), (person(2, received=now), LISTING))
    await told(bus, store, (gone(1, clock=now + 1, received=now + 1), LISTING))
    assert await counts(store) == {"webhook": (2, 0, 0, 0), "listing": (3, 1, 0, 1)}
    assert await repaired(store) == {"1": "gone"}


async def test_hours_are_those_of_the_reading_and_not_of_the_processing(bus: Bus, store: Store) -> None:
    early = person(1, received=START + 59 * MINUTE)
    later = person(2, received=START + 61 * MINUTE)
    await told(bus, store, (early, SWEEP), (later, SWEEP), (later, SWEEP))
    rows = await store.ledger(0, "desk")
    assert [(row.hour - START, row.received) for row in rows] == [(60 * MINUTE, 2), (0, 1)]


async def test_a_batch_that_comes_again_and_a_rebuild_count_nothing_twice(bus: Bus, open_store: OpenStore) -> None:
    events: Sequence[Told] = [(person(number), SWEEP) for number in range(5)]
    async with open_store() as store:
        await told(bus, store, *events)
        before = await store.ledger(0, "desk"), await store.repairs("desk", 10)
        assert before[0][0].repaired == 5
        assert await process.rebuild(store, Settings()) == 5
        batch = await bus.read("events", 0, 0, 100)
        moved = process.decoded([batch])
        with pytest.raises(OffsetsMoved):
            await process.apply(store, moved, Settings())
    async with open_store() as store:
        await told(bus, store)
        assert (await store.ledger(0, "desk"), await store.repairs("desk", 10)) == before
