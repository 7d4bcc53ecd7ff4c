"""Kafka has lost events before anybody processed them: the hub reads the sources again, and says so once."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from core.bus.topics import EVENTS, HINTS
from tests import hubs
from tests.hubs import Hub, Tools
from tests.journeys.sameness import missing

NAMES = ("guru", "hubspot")
pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def lost(hub: Hub, servers: str, prefix: str) -> int:
    """All that is on the topic of events, as a retention that is too short would cut it; how much process lacked."""
    async with hub.opened() as (bus, store):
        heads = {partition: high for partition, (_, high) in (await bus.range(EVENTS)).items()}
        had = await store.offsets(EVENTS)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        cut = {
            TopicPartition(f"{prefix}{EVENTS}", at): RecordsToDelete(before_offset=high) for at, high in heads.items()
        }
        await admin.delete_records(cut)
    finally:
        await admin.close()
    return sum(high - had.get(at, 0) for at, high in heads.items())


async def fetched(hub: Hub) -> bool:
    async with hub.opened() as (bus, _):
        done, heads = await bus.committed("hydrate", HINTS), await bus.range(HINTS)
    return all(done.get(at, low) == high for at, (low, high) in heads.items())


async def absent(hub: Hub, tools: Tools) -> list[str]:
    """What the store does not show of the mocks' truth."""
    lines = []
    async with hub.opened() as (_, store):
        sources = {source for source, _ in await store.counts() if source}
        for name in NAMES:
            account = next(each for each in sources if each.startswith(f"{name}/")).partition("/")[2]
            lines += await missing(store, name, account, (await tools.get(name, "state"))["truth"])
    return lines


async def test_events_that_kafka_lost_are_read_again_from_their_sources(
    tmp_path: Path, machines: dict[str, Any], kafka_servers: str, prefix: str
) -> None:
    async with (
        hubs.tools(tmp_path / "mocks", NAMES) as tools,
        hubs.hub(tmp_path / "hub", hubs.settings(tools), **machines) as hub,
    ):
        hub.start("ingest", "process", "publish", "api")
        await hub.ready()
        await hub.polled()
        await hub.settled()
        await hub.kill("process")
        await tools.point(hub.webhooks)
        await tools.all("step", beats=400)
        await hubs.until(tools.delivered, "all webhooks are acknowledged")
        await hubs.until(lambda: fetched(hub), "all that they name is fetched")
        assert await lost(hub, kafka_servers, prefix) > 0
        assert await absent(hub, tools)
        hub.start("process")  # ingest was there all the time, so that no sweep is due
        await hubs.until(lambda: "events may be missing" in hub.log(), "the loss is told")
        await hub.drained()
        assert not await absent(hub, tools)
        assert hub.log().count("events may be missing") == 1 and "reads_again_since" in hub.log()
