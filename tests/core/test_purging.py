"""When `hub purge` refuses, and what it takes away beside the records."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
import yaml

from core import ingest
from core.bus import Bus
from core.bus.embedded import open_embedded
from core.bus.topics import CURSORS
from core.config import HubConfig, load
from core.errors import PermanentError
from core.hub.purging import purge
from core.store import Store
from core.store.sqlite import open_sqlite
from schemas.answers import PurgeOrder, Purging
from tests.core.test_oauth import granting, process


@dataclass
class Desk:
    """A hub that had `shop` until just now, as processes on Kafka see it."""

    config: HubConfig
    bus: Bus
    store: Store

    async def reports(self, connection: str, process: str, account: str, *, ago: float = 0.0) -> None:
        document = orjson.dumps({"connector": "push", "account": account})
        await self.store.put_state(connection, process, document, int((time.time() - ago) * 1000))

    async def purge(self, source: str | None = None, *, confirmed: bool = False) -> Purging:
        order = PurgeOrder(source=source, confirmed=confirmed)
        return await purge(self.config, self.bus, self.store, "shop", order, running=True)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    entry = {"type": "push", "account": "erp", "token": "a-long-word-of-the-sender"}
    path = tmp_path / "hub.yaml"
    path.write_text(yaml.safe_dump({"data": "data", "connections": {"erp": entry}}))
    config = load(path)
    config = replace(config, bus=config.bus.model_copy(update={"type": "kafka"}))
    async with (
        open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus,
        open_sqlite(tmp_path / "hub.db", kind="real", secret=b"s" * 32) as store,
    ):
        yield Desk(config, bus, store)


async def test_a_process_that_says_nothing_of_what_it_takes_may_still_take_the_connections_deliveries(
    desk: Desk,
) -> None:
    await desk.reports("shop", "old", "shop", ago=3600)
    async with desk.bus.subscribe([CURSORS], ingest.GROUP):
        # It cannot reach the store, or its clock is a minute behind.
        for ago in (3600.0, 60.0):
            await desk.reports("erp", "one", "erp", ago=ago)
            with pytest.raises(PermanentError, match=r"bus counts 1 of ingest.* heard of 0 .*; mend or stop it"):
                await desk.purge()
        await desk.reports("erp", "one", "erp")
        assert (await desk.purge()).source == "push/shop", "it was restarted without the connection"
        async with desk.bus.subscribe([CURSORS], ingest.GROUP):
            with pytest.raises(PermanentError, match=r"bus counts 2 of ingest.* heard of 1 "):
                await desk.purge()
            await desk.reports("erp", "two", "erp")
            assert (await desk.purge()).source == "push/shop"
            await desk.reports("shop", "two", "shop")
            with pytest.raises(PermanentError, match="a process still runs with 'shop'"):
                await desk.purge()
    await desk.reports("shop", "two", "shop", ago=3600)
    assert (await desk.purge()).source == "push/shop"


async def test_a_name_that_was_a_connection_to_two_sources_is_not_purged_of_one_of_them_by_chance(desk: Desk) -> None:
    await desk.reports("shop", "one", "shop-1", ago=3600)
    await desk.reports("shop", "two", "shop-2", ago=1800)
    with pytest.raises(PermanentError, match="push/shop-1 and push/shop-2: name the one to forget, --source"):
        await desk.purge()
    assert (await desk.purge("push/shop-2")).source == "push/shop-2"


async def test_the_connections_tokens_are_deleted_once_the_purge_was_confirmed(desk: Desk) -> None:
    await desk.reports("shop", "one", "shop", ago=3600)
    async with granting() as source:
        async with process(source, desk.config.data, name="shop") as client:
            await client.get("/me")
    kept = desk.config.data / "oauth"
    await desk.purge()
    assert len(list(kept.glob("*.json"))) == 1
    await desk.purge(confirmed=True)
    assert list(kept.iterdir()) == []
