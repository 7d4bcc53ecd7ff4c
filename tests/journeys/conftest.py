"""Every journey is slow. What those of ingest run on: a bus, and a source."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.bus import Bus
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from tests.source import Source, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as opened:
        yield opened


@pytest.fixture
async def any_bus(bus_kind: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> AsyncIterator[Bus]:
    """Embedded, and real Kafka: for what groups and offsets decide."""
    if bus_kind == "kafka":
        opening = open_kafka(request.getfixturevalue("kafka_servers"), prefix=prefix, options={})
    else:
        opening = open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000)
    async with opening as opened:
        yield opened


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    async with serving(Source()) as served:
        yield served
