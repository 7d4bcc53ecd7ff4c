"""Several workers on Kafka and PostgreSQL: they share the work, hand it over, and the feed stays in order."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError

from core import process
from core.bus import Bus
from core.bus.topics import CUSTOMERS, DEAD, EVENTS, TOPICS
from core.hub import settings_of
from core.store import Store
from schemas.event import Event
from tests import hubs, worlds
from tests.hubs import Hub
from tests.journeys.crowd import NOBODY, Mirror, Topic, crowd, muddled, standing, told_straight
from tests.journeys.sameness import comparable, differences

Place = tuple[str, int]

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(900)]


@dataclass
class Plant:
    """A hub of several processes, with bus and store at hand."""

    hub: Hub
    bus: Bus
    store: Store
    topic: Topic
    servers: str
    prefix: str
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def tell(self, events: Sequence[Event], *, pieces: int = 20, pause: float = 0.1) -> None:
        """Publish in so many pieces, so that the workers commit many times."""
        size = -(-len(events) // pieces)
        for begin in range(0, len(events), size):
            await worlds.publish(self.bus, events[begin : begin + size])
            await asyncio.sleep(self.chance.uniform(0, 2 * pause))

    async def done(self) -> None:
        """Until everything is processed and published."""

        async def all_of_it() -> bool:
            return await process.lag(self.bus, self.store) == 0 and not await self.moved((await self.store.hub()).seq)

        await hubs.until(all_of_it, "everything is processed and published", 240)

    async def moved(self, seq: int) -> bool:
        """Whether something else than `seq` is published."""
        return await self.store.published() != seq

    async def verify(self, expected: dict[str, Any], *, restored: bool = False) -> None:
        """The records are as expected, the topic read from zero is the store, and no version ever fell. `restored`: the
        topic may still say of ids that the store's second life never gave out that they are merged."""
        lines = differences(await comparable(self.store), expected)
        assert not lines, "\n".join(lines[:20])
        assert await self.store.dead("open", 10) == []
        there, wanted = await self.topic.catch_up(), await standing(self.store)
        if restored:
            there = {id: record for id, record in there.items() if id in wanted or b'"status":"merged"' not in record}
        assert there == wanted
        assert self.topic.backwards == []

    async def members(self) -> list[set[Place]]:
        """What each member of the workers' group reads; nothing while the group is being rearranged."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([self.prefix + process.GROUP])
            (group,) = answer.groups
            _, _, state, _, _, members, *_ = group
            return [_places(member[4]) for member in members] if state == "Stable" else []
        except GroupCoordinatorNotAvailableError:
            return []  # nobody has joined yet: the broker makes its topic of offsets with the first
        finally:
            await admin.close()

    async def shared_by(self, count: int) -> list[set[Place]]:
        """Wait until so many members share all partitions."""

        async def shared() -> list[set[Place]] | None:
            members = await self.members()
            return members if len(members) == count and all(members) else None

        found: list[set[Place]] = await hubs.until(shared, f"{count} workers share the partitions")
        everything = {
            (f"{self.prefix}{name}", part) for name in (EVENTS, DEAD) for part in range(TOPICS[name].partitions)
        }
        assert set().union(*found) == everything
        assert sum(map(len, found)) == len(everything), "a partition is with two"
        return found


def _live(standing: dict[str, bytes]) -> set[str]:
    return {id for id, record in standing.items() if b'"status":"live"' in record}


def _places(assignment: bytes) -> set[Place]:
    if not assignment:
        return set()
    return {(it.topic, it.partition) for it in ConsumerProtocolMemberAssignment.decode(assignment).partitions()}


@asynccontextmanager
async def plant_at(folder: Path, machines: dict[str, Any], *roles: str) -> AsyncIterator[Plant]:
    """Runs until the block is left, then stops in order."""
    servers, prefix = machines["bus"]["servers"], machines["bus"]["prefix"]
    async with hubs.hub(folder, NOBODY, **machines) as hub:
        hub.start(*roles)
        await hub.ready()
        async with hub.opened() as (bus, store):
            yield Plant(hub, bus, store, Topic(servers, f"{prefix}{CUSTOMERS}"), servers, prefix)
        await hub.stop()


async def test_two_workers_share_the_work_and_what_a_dead_one_had_goes_to_the_other(
    tmp_path: Path, machines: dict[str, Any]
) -> None:
    events = crowd(12)
    expected = await told_straight(tmp_path / "straight", events)
    async with plant_at(tmp_path / "hub", machines, "process", "process2", "publish", "api") as plant:
        await plant.shared_by(2)
        telling = asyncio.create_task(plant.tell(events, pieces=40, pause=0.2))
        await asyncio.sleep(plant.chance.uniform(1, 3))
        await plant.hub.kill("process")
        await plant.shared_by(1)
        plant.hub.start("process")
        await plant.shared_by(2)
        await telling
        await plant.done()
        await plant.verify(expected)


async def test_a_subscriber_whose_connection_breaks_mirrors_the_store_while_two_workers_commit(
    tmp_path: Path, machines: dict[str, Any]
) -> None:
    events = crowd(12, first=20)
    expected = await told_straight(tmp_path / "straight", events)
    async with plant_at(tmp_path / "hub", machines, "process", "process2", "publish", "api") as plant:
        mirror = Mirror(plant.hub, plant.chance)
        following = asyncio.create_task(mirror.follow())
        telling = asyncio.create_task(plant.tell(events, pieces=40, pause=0.2))
        await asyncio.sleep(3)
        await plant.hub.kill("api")
        plant.hub.start("api")
        await telling
        await plant.done()
        await plant.verify(expected)
        wanted = {id: orjson.loads(record) for id, record in (await standing(plant.store)).items()}
        live = lambda: {id: it for id, it in mirror.kept.items() if it["status"] != "erased"}  # noqa: E731
        await hubs.until(lambda: live() == wanted, "the mirror is the store")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert mirror.backwards == []
        assert mirror.connections > 5


async def test_a_publisher_that_slept_wakes_up_fenced_and_the_topic_never_goes_backwards(
    tmp_path: Path, machines: dict[str, Any]
) -> None:
    events = crowd(12, first=40)
    expected = await told_straight(tmp_path / "straight", events)
    async with plant_at(tmp_path / "hub", machines, "process", "publish") as plant:
        telling = asyncio.create_task(plant.tell(events, pieces=60, pause=0.4))
        for sleeper, other in (("publish", "publish2"), ("publish2", "publish"), ("publish", "publish2")):
            await asyncio.sleep(plant.chance.uniform(1, 2))
            plant.hub.signal(sleeper, signal.SIGSTOP)
            before = await plant.store.published()
            if other not in plant.hub.running:
                plant.hub.start(other)
            await hubs.until(lambda was=before: plant.moved(was), "the other one goes on")
            plant.hub.signal(sleeper, signal.SIGCONT)
        await telling
        await plant.done()
        await plant.verify(expected)
    assert "newer producer" in plant.hub.log()


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_and_any_number_of_times_give_the_same_records_through_two_workers(
    tmp_path: Path, machines: dict[str, Any], seed: int
) -> None:
    events, chance = crowd(6, first=60 + 10 * seed), random.Random(seed)
    expected = await told_straight(tmp_path / "straight", events)
    async with plant_at(tmp_path / "hub", machines, "process", "process2", "publish") as plant:
        await plant.shared_by(2)
        await plant.tell(muddled(events, chance), pieces=30)
        await plant.done()
        await plant.verify(expected)
        ids, before = set(await standing(plant.store)), await plant.store.hub()
        # A rebuild while the workers go on: the same ids and records, and no version falls.
        again = asyncio.create_task(plant.tell(muddled(events, chance), pieces=10))
        await process.rebuild(plant.store, settings_of(plant.hub.config))
        await again
        await plant.done()
        await plant.verify(expected)
        assert set(await standing(plant.store)) == ids
        assert (await plant.store.hub()).generation == before.generation + 1


async def test_after_an_older_copy_of_the_store_was_restored_ids_stay_and_no_version_falls(
    tmp_path: Path, machines: dict[str, Any], postgres_url: str
) -> None:
    events = crowd(8, first=90)
    expected = await told_straight(tmp_path / "straight", events)
    name = urlsplit(machines["store"]["url"]).path[1:]
    roles = ("process", "process2", "publish")
    with psycopg.connect(postgres_url, autocommit=True) as server:
        async with plant_at(tmp_path / "hub", machines, *roles) as plant:
            await plant.tell(events[: len(events) // 2])
            await plant.done()
        server.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
        async with plant_at(tmp_path / "hub", machines, *roles) as plant:
            await plant.tell(events[len(events) // 2 :])
            await plant.done()
            ids = await standing(plant.store)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}")
        async with plant_at(tmp_path / "hub", machines, *roles) as plant:
            await plant.done()
            await plant.verify(expected, restored=True)
            assert _live(await standing(plant.store)) == _live(ids)
            assert (await plant.store.hub()).generation == 2
