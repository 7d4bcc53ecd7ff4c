"""Buses to test with: `kafka_servers` (a real broker), `bus_kind` and `open_bus` (both implementations), `bus`."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from core.bus import Bus, Message
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.topics import Topic
from tests.kafka import broker

TOPICS = {
    topic.name: topic
    for topic in (
        Topic("plain", 4, timedelta(days=7), False, "for tests"),
        Topic("other", 2, timedelta(days=7), False, "for tests"),
        Topic("state", 2, None, True, "for tests"),
    )
}
Compacts = Callable[[Bus], Awaitable[None]]
OpenBus = Callable[[], AbstractAsyncContextManager[Bus]]


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker: that of HUB_TEST_KAFKA, or one of our own for this session."""
    if servers := os.environ.get("HUB_TEST_KAFKA"):
        yield servers
        return
    node = kafka_node(tmp_path_factory.mktemp("kafka"))
    try:
        yield node.start()
    finally:
        node.stop()


def kafka_node(folder: Path, more: str = "") -> broker.Broker:
    """A broker that the test may kill; skips with one loud line where none can be run, fails in CI."""
    if not broker.available():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must not skip the Kafka tests: {broker.MISSING}")
        pytest.skip(f"KAFKA TESTS SKIPPED: {broker.MISSING}")
    return broker.Broker(folder, more)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prefix() -> str:
    """Before the names of this test's topics and groups on Kafka."""
    return f"test-{uuid.uuid4().hex[:12]}."


@pytest.fixture
def open_bus(bus_kind: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> OpenBus:
    """Opens the same bus again and again, with the topics of TOPICS."""
    if bus_kind == "embedded":
        return lambda: open_embedded(tmp_path / "bus.db", disk_cap=10**9, topics=TOPICS, upkeep_every=0.1)
    servers = request.getfixturevalue("kafka_servers")
    return lambda: open_kafka(servers, prefix=prefix, options={}, topics=TOPICS)


@pytest.fixture
async def bus(open_bus: OpenBus) -> AsyncIterator[Bus]:
    async with open_bus() as bus:
        yield bus


@pytest.fixture
def kafka_compacts(request: pytest.FixtureRequest, prefix: str) -> Compacts:
    """Has Kafka compact the topic "state" soon: old segments only are compacted, so there must be newer ones."""

    async def compacts(bus: Bus) -> None:
        settings = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "cleanup.policy": "compact"}
        await alter_topic(request.getfixturevalue("kafka_servers"), f"{prefix}state", settings)
        await asyncio.sleep(0.5)
        await bus.publish([Message("state", f"roll{number}", b"") for number in range(16)])

    return compacts


async def alter_topic(servers: str, topic: str, settings: Mapping[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))])
    finally:
        await admin.close()
