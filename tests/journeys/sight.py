"""The page in a real browser, on a desk with a few customers: for the tests that look at it."""

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, LocatorAssertions, Page, async_playwright, expect

from core import api
from core.sdk import from_ms
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, ref

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 15_000  # ms
TRICK = '<img src=x onerror="document.title=1"><b>Bold</b>'
ARABIC, ORGANIZATION = "نور حداد", "شركة المثال"
MAYA = ref("intercom/admin/3", "Maya Lind")

expect.set_options(timeout=PATIENCE)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{CHROMIUM} is missing: the page must be tested here")
        pytest.skip("THE PAGE IS NOT TESTED: install a browser (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        await browser.close()


@dataclass
class Sight:
    """A browser that is logged in. `faults` are what its console and its pages complained about."""

    desk: Desk
    context: BrowserContext
    page: Page
    faults: list[str]

    async def rings(self, key: str, number: str, person: str = "") -> float:
        """Let a phone ring. Answers with when it was written (perf_counter)."""
        call = self.desk.call(f"aircall/call/{key}", number, person=person, at=now(), assignee=MAYA)
        written = time.perf_counter()
        await self.desk.tell(call)
        return written

    def heading(self, name: str) -> LocatorAssertions:
        return expect(self.page.get_by_role("heading", name=name, exact=True))


def now() -> str:
    return from_ms(time.time() * 1000) or ""


@pytest.fixture
async def sight(desk: Desk, browser: Browser) -> AsyncIterator[Sight]:
    await tell_story(desk)
    context = await browser.new_context(viewport={"width": 420, "height": 760}, locale="en-GB")
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
    once, _ = await api.new_login(desk.store, desk.clock)
    await page.goto(f"{desk.url}/login/{once}")
    await expect(page.get_by_role("link", name="Dana Reyes")).to_be_visible()
    yield Sight(desk, context, page, faults)
    assert faults == []
    await context.close()


async def tell_story(desk: Desk) -> None:
    await desk.tell(
        desk.staff("intercom/admin/3", "Maya Lind"),
        desk.person("hubspot/contact/1", "Dana Reyes", DANA, "dana@example.com", organization="Example Bakery"),
        desk.person("intercom/contact/a", "Dana Reyes", "dana@example.com"),
        desk.ticket(
            "intercom/conversation/7", "intercom/contact/a", "Bag never arrived",
            waiting_since=desk.ago(2 * DAY + 4 * HOUR), at=desk.ago(3 * DAY), assignee=ref("intercom/admin/3"),
        ),
        desk.ticket("intercom/conversation/6", "intercom/contact/a", "Old", status="closed", at=desk.ago(30 * DAY)),
        desk.article("guru/card/1", "Bag lost: refund or resend", "How.", verified=True, verified_at=desk.ago(DAY)),
        desk.article("guru/card/2", "Bag repair", "Whom to ask.", verified=False),
        *(
            desk.person(f"hubspot/contact/2{n}", name, OFFICE, f"p{n}@example.com")
            for n, name in enumerate(("Max Weber", "Noor Haddad", "Ben Ode"))
        ),
        desk.ticket("intercom/conversation/20", "hubspot/contact/20", "Secret of Max"),
        desk.person("hubspot/contact/30", ARABIC, "+12025550130", organization=ORGANIZATION),
        desk.person("hubspot/contact/31", TRICK, "+12025550131", organization="<script>document.title=2</script>"),
    )  # fmt: skip
