"""Buses to test with: `kafka_servers` (a real broker), `bus_kind` and `open_bus` (both implementations), `bus`."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from core.bus import Bus
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


def kafka_node(folder: Path) -> broker.Broker:
    """A broker that the test may kill; skips with one loud line where none can be run, fails in CI."""
    if not broker.available():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must not skip the Kafka tests: {broker.MISSING}")
        pytest.skip(f"KAFKA TESTS SKIPPED: {broker.MISSING}")
    return broker.Broker(folder)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_bus(bus_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> OpenBus:
    """Opens the same bus again and again, with the topics of TOPICS."""
    return bus_opener(bus_kind, request, tmp_path, TOPICS)


def bus_opener(kind: str, request: pytest.FixtureRequest, folder: Path, topics: Mapping[str, Topic]) -> OpenBus:
    if kind == "embedded":
        return lambda: open_embedded(folder / "bus.db", disk_cap=10**9, topics=topics, upkeep_every=0.1)
    servers = request.getfixturevalue("kafka_servers")
    prefix = f"test-{uuid.uuid4().hex[:12]}."
    return lambda: open_kafka(servers, prefix=prefix, options={}, topics=topics)


@pytest.fixture
async def bus(open_bus: OpenBus) -> AsyncIterator[Bus]:
    async with open_bus() as bus:
        yield bus
