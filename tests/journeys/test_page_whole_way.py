"""From a webhook to the eye: a hub that runs, a mock that rings, a browser that is logged in."""

import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests import hubs
from tests.fixtures_figures import Tell
from tests.journeys.sight import browser

__all__ = ["browser"]

pytestmark = pytest.mark.browser
DANA = "+12025550143"


async def test_a_ring_at_the_webhook_door_pops_the_right_customer_up(
    tmp_path: Path, browser: Browser, tell: Tell
) -> None:
    async with (
        hubs.tools(tmp_path / "mocks") as tools,
        hubs.hub(tmp_path / "hub", hubs.settings(tools)) as hub,
    ):
        hub.start()
        await hub.ready()
        await hub.polled()
        await tools.point(hub.webhooks)
        await hub.settled()
        async with hub.session.post(f"{hub.api}/v1/login-links", headers=hub.authorization) as answer:
            link = (await answer.json())["url"]
        page = await browser.new_page()
        await page.goto(link)
        await expect(page.get_by_text("Choose a customer")).to_be_visible()
        name = (await hub.get(f"/v1/lookup?phone={DANA.replace('+', '%2B')}"))["customer"]["profile"]["name"]["value"]
        sent = time.perf_counter()
        await tools.post("aircall", "ring", phone=DANA)
        await expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        tell(f"[page] from the mock's webhook to the eye: {(time.perf_counter() - sent) * 1000:.0f} ms")
        await expect(page.get_by_role("alert")).to_have_text(f"Ringing: {name}")
        await hub.stop()
