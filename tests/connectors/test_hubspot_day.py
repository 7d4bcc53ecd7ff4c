"""HubSpot's limit of a day: told in headers to tokens, and refused by its name."""

import asyncio
from datetime import timedelta
from pathlib import Path

import aiohttp

from connectors.hubspot import CONNECTOR
from connectors.hubspot.mock import APP, DEMO, simulator
from core.bus.embedded import open_embedded
from core.config.model import Connection
from core.sdk.mock import running as mocked
from tests.connectors.hubspot_source import bench, config
from tests.ingesting import running, until
from tests.source import Source, connection, serving


async def test_a_day_that_is_used_up_is_shown_as_throttled_and_holds_up_no_other_connection(tmp_path: Path) -> None:
    async with (
        mocked(simulator(7, {}), pace=0, limit=100_000) as mock,
        serving(Source()) as source,
        aiohttp.ClientSession(mock.url) as session,
        open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus,
    ):
        await session.post("/_mock/limit", json={"daily": 40})
        settings = CONNECTOR.config.model_validate({"type": "hubspot", "mock": True, "base_url": mock.url, **DEMO})
        other = connection(base_url=source.url, account="acme")
        async with running(bus, Connection("hubspot", CONNECTOR, settings), other) as hub:
            await until(lambda: hub.documents.get("hubspot", {}).get("state") == "throttled")
            await until(lambda: hub.documents["hubspot"]["budget"]["left"] <= 8)
            shown = hub.documents["hubspot"]
            assert "nothing to do: the hub waits" in shown["remedy"]
            assert (shown["budget"]["limit"], shown["budget"]["reserve"]) == (40, 8)
            asked = mock.requests
            assert asked <= 32, "polls leave the reserve, and something to who looks a caller up"
            source.person(1)
            await until(hub.people)
            await asyncio.sleep(2)
            assert mock.requests == asked
            assert hub.documents["desk"]["state"] is None


async def test_the_mock_refuses_when_the_day_is_used_up_until_midnight_where_the_account_is() -> None:
    async with bench() as hub, aiohttp.ClientSession(hub.mock.url, headers=CONNECTOR.auth(hub.config)) as session:
        assert (await session.post("/_mock/limit", json={"daily": 2})).status == 200
        hub.mock.player.clock.set(1_788_739_200_000 - 5 * 3_600_000)  # 19:00 of 2026-09-06 in UTC, 14:00 there
        statuses = []
        for hours in (0, 0, 0, 9, 1):
            hub.later(hours=hours)
            async with session.get("/crm/v3/owners") as answer:
                statuses.append(answer.status)
                if answer.status == 429:
                    assert (await answer.json())["policyName"] == "DAILY"
                    assert answer.headers["X-HubSpot-RateLimit-Daily-Remaining"] == "0"
        assert statuses == [200, 200, 429, 429, 200], "midnight in UTC changes nothing"


def test_only_tokens_have_a_limit_of_a_day() -> None:
    app = config(token=None, **APP)
    assert timedelta(days=1) in [quota.per for quota in CONNECTOR.quota(config())]
    assert timedelta(days=1) not in [quota.per for quota in CONNECTOR.quota(app)]
