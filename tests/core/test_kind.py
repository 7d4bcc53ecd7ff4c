"""Invented and real people never meet on a bus: like a store it is marked at birth and refuses the other kind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from core import hub, ingest
from core.bus import Message
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.kind import mark
from core.bus.topics import CURSORS, EVENTS, TOPICS
from core.config import HubConfig, load
from core.errors import ConfigError, TransientError
from tests.core.commands import hub as command
from tests.ports import free_ports

DEMO = {"aircall": {"type": "aircall", "mock": True, "account": "example"}}
INGEST = frozenset({"ingest"})
REAL = {"aircall": {"type": "aircall", "account": "acme", "api_id": "id", "api_token": "a-token-of-theirs"}}


class Place:
    """Where hubs share a bus; each of them may have a store of its own."""

    def __init__(self, folder: Path, bus: Mapping[str, Any]) -> None:
        self.folder, self._bus = folder, bus

    def config(self, connections: Mapping[str, Any], *, store: str = "", **sections: Any) -> HubConfig:
        """`store`: a PostgreSQL's URL; left out it is a file beside the bus."""
        api, webhooks = free_ports(2)
        server = {"api": f"127.0.0.1:{api}", "webhooks": f"127.0.0.1:{webhooks}"}
        found = {"data": "var", "server": server, "connections": dict(connections), "bus": dict(self._bus), **sections}
        if store:
            found["store"] = {"type": "postgres", "url": store}
        path = self.folder / f"{api}.yaml"
        path.write_text(yaml.safe_dump(found))
        return load(path)

    def lose_store(self) -> None:
        for file in (self.folder / "var").glob("hub.db*"):
            file.unlink()

    @asynccontextmanager
    async def unmarked(self) -> AsyncIterator[Any]:
        """The bus as a hub opens it that knows of no marks."""
        if self._bus["type"] == "kafka":
            async with open_kafka(self._bus["servers"], prefix=self._bus["prefix"], options={}) as bus:
                yield bus
        else:
            async with open_embedded(self.folder / "var" / "bus.db", disk_cap=10**9) as bus:
                yield bus


@pytest.fixture
def place(bus_kind: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Place:
    if bus_kind == "embedded":
        return Place(tmp_path, {"type": "embedded"})
    servers = request.getfixturevalue("kafka_servers")
    return Place(tmp_path, {"type": "kafka", "servers": servers, "prefix": prefix})


async def left_by_an_older_hub(place: Place, store: HubConfig | None = None) -> None:
    """An event without a mark, which `store` has taken."""
    async with place.unmarked() as bus:
        await bus.publish([Message(EVENTS, "an-event", b"{}")])
    if store:
        async with hub.open_store(store) as opened, opened.writing() as tx:
            await tx.move_offsets([(EVENTS, 0, 0, 1)])


async def refused(config: HubConfig, stored: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"names a {stored} bus, but the connections are {wanted}.*such as `"):
        async with asyncio.timeout(60):
            await hub.run(config)


async def test_a_bus_of_invented_people_is_refused_by_a_real_hub_with_a_new_store(place: Place) -> None:
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"
    place.lose_store()
    await refused(place.config(REAL), "demo", "real")
    assert not (place.folder / "var" / "hub.db").exists(), "and nothing was made before that"


async def test_a_bus_of_real_people_is_refused_by_a_demo(place: Place) -> None:
    async with hub.open_bus(place.config(REAL)):
        pass
    place.lose_store()
    await refused(place.config(DEMO), "real", "demo")
    async with hub.open_bus(place.config(REAL)) as bus:
        assert await hub.kind_of(bus) == "real"


async def test_who_only_looks_marks_nothing(place: Place) -> None:
    async with hub.open_bus(place.config(REAL), read_only=True) as bus:
        assert await hub.kind_of(bus) is None
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"


async def test_a_new_bus_beside_a_store_of_the_other_kind_stays_without_a_mark(place: Place) -> None:
    async with hub.open_store(place.config(DEMO)):
        pass
    with pytest.raises(ConfigError, match="names a demo store"):
        async with hub.open_bus(place.config(REAL)):
            pass
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"


async def test_the_first_mark_counts_and_no_compaction_puts_a_later_one_in_its_place(place: Place) -> None:
    async with place.unmarked() as bus:
        assert [await mark(bus, kind) for kind in ("demo", "real", "demo")] == ["demo"] * 3
        keys = [
            record.key
            for partition, (begin, end) in (await bus.range(CURSORS)).items()
            for record in ((await bus.read(CURSORS, partition, begin, 100)).records if end > begin else ())
        ]
        assert len(set(keys)) == 3, "no mark supersedes another"
    await refused(place.config(REAL), "demo", "real")


async def test_two_that_are_the_first_at_once_come_to_the_same(place: Place) -> None:
    async with place.unmarked() as one:
        found = await asyncio.gather(*(mark(one, kind) for kind in ("real", "demo", "real", "demo")))
        assert len(set(found)) == 1
        assert await hub.kind_of(one) == found[0]


async def test_who_reads_cursors_passes_the_mark_over(place: Place) -> None:
    async with hub.open_bus(place.config(DEMO)) as bus:
        cursors = ingest.Cursors(bus)
        await cursors.save_account("aircall", "example")
        assert await cursors.accounts() == {"aircall": "example"}
        assert await cursors.streams("aircall") == {} == await cursors.streams("")
        await cursors.forget("aircall")
        assert await cursors.accounts() == {}
        assert await hub.kind_of(bus) == "demo"


async def test_a_bus_of_an_older_hub_takes_the_kind_of_the_store_beside_it(place: Place) -> None:
    await left_by_an_older_hub(place, place.config(DEMO))
    with pytest.raises(ConfigError, match="names a demo store"):
        async with hub.open_bus(place.config(REAL)):
            pass
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"
    place.lose_store()
    await refused(place.config(REAL), "demo", "real")


async def test_a_store_that_took_nothing_from_an_older_hubs_bus_does_not_say_its_kind(place: Place) -> None:
    await left_by_an_older_hub(place)
    for _ in "born just now", "born a moment ago":
        async with hub.open_bus(place.config(DEMO)) as bus:
            assert await hub.kind_of(bus) is None
    place.lose_store()
    await left_by_an_older_hub(place, place.config(REAL))
    async with hub.open_bus(place.config(REAL)) as bus:
        assert await hub.kind_of(bus) == "real"


async def test_who_only_takes_deliveries_leaves_an_older_hubs_bus_without_a_mark(place: Place) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/postgres"
    await left_by_an_older_hub(place, place.config(DEMO))
    for config in place.config(DEMO), place.config(REAL, store=nowhere):
        async with hub.open_bus(config, INGEST) as bus:
            assert await hub.kind_of(bus) is None
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"
    with pytest.raises(ConfigError, match="names a demo bus"):
        async with hub.open_bus(place.config(REAL, store=nowhere), INGEST):
            pass


async def test_while_the_store_is_down_the_kind_of_an_older_hubs_bus_is_not_guessed(place: Place) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/postgres"
    await left_by_an_older_hub(place)
    with pytest.raises(TransientError):
        async with hub.open_bus(place.config(REAL, store=nowhere)):
            pass
    async with hub.open_bus(place.config(REAL, store=nowhere), read_only=True) as bus:
        assert await hub.kind_of(bus) is None


async def test_deliveries_of_a_new_hub_do_not_wait_for_its_store(place: Place) -> None:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_ports(1)[0]}/postgres"
    async with hub.open_bus(place.config(REAL, store=nowhere)) as bus:
        assert await hub.kind_of(bus) == "real"


async def test_a_full_bus_of_an_older_hub_starts_all_the_same(tmp_path: Path) -> None:
    place = Place(tmp_path, {"type": "embedded", "disk_cap": 1})
    await left_by_an_older_hub(place, place.config(DEMO))
    async with hub.open_bus(place.config(DEMO)) as bus:
        assert await hub.kind_of(bus) is None
    async with hub.open_bus(Place(tmp_path, {"type": "embedded"}).config(DEMO)) as bus:
        assert await hub.kind_of(bus) == "demo"


def test_the_mark_stands_on_a_topic_that_keeps_the_last_value_of_each_key_for_ever() -> None:
    assert TOPICS[CURSORS].compact and TOPICS[CURSORS].retention is None


def test_a_check_tells_the_kind_and_a_bus_of_the_other_one(tmp_path: Path) -> None:
    place = Place(tmp_path, {"type": "embedded"})

    async def born() -> None:
        async with hub.open_bus(place.config(DEMO)):
            pass

    asyncio.run(born())
    assert "bus    embedded: demo, ok" in command("check", "-c", str(place.config(DEMO).path)).out
    place.lose_store()
    said = command("check", "-c", str(place.config(REAL).path))
    assert said.code == 1 and "names a demo bus, but the connections are real" in said.out
