"""A new generation begins where the feed would go backwards, and nowhere else: whoever looks while another process
publishes must not take that for a lost topic or a restored store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core import generation, publish
from core.bus import Bus
from core.bus.topics import CUSTOMERS
from core.store import Store
from tests import worlds
from tests.core.test_process import drain, hub, topic


async def published(bus: Bus, store: Store, seed: int) -> None:
    """What another process does: it applies a world's events, publishes the records and remembers it."""
    before = await store.published()
    await worlds.publish(bus, worlds.world(seed))
    await drain(bus, store)
    async with bus.sender("publish") as sender:
        await publish.drain(sender, store)
    assert await store.published() > before


class Meanwhile:
    """The bus of one who looks at the feed while another process publishes: `before` the bus answers, or `after`."""

    def __init__(self, bus: Bus, store: Store, when: str) -> None:
        self._bus, self._store, self._when = bus, store, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        assert topic == CUSTOMERS
        if self._when == "before":
            await published(self._bus, self._store, 2)
        found = await self._bus.range(topic)
        if self._when == "after":
            await published(self._bus, self._store, 2)
        return found


class Lost:
    """A bus whose feed was lost."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def range(self, topic: str) -> Mapping[int, tuple[int, int]]:
        return {partition: (high, high) for partition, (_, high) in (await self._bus.range(topic)).items()}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["the first records", "more records"])
async def test_what_is_published_while_one_looks_is_no_reason_for_a_new_generation(
    tmp_path: Path, first: bool, when: str
) -> None:
    async with hub(tmp_path) as (bus, store):
        if not first:
            await published(bus, store, 1)
        await generation.check(Meanwhile(bus, store, when), store)  # type: ignore[arg-type]
        assert (await store.hub()).generation == 1


async def test_a_feed_that_was_lost_is_published_anew_in_a_new_generation(tmp_path: Path) -> None:
    async with hub(tmp_path) as (bus, store):
        await generation.check(Lost(bus), store)  # type: ignore[arg-type]
        assert (await store.hub()).generation == 1, "nothing was published yet"
        await published(bus, store, 1)
        await generation.check(Lost(bus), store)  # type: ignore[arg-type]
        assert (await store.hub()).generation == 2
        async with bus.sender("publish") as sender:
            assert await publish.drain(sender, store) == len(await topic(bus)) > 0
