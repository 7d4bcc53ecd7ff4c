"""The page in a real browser while phones ring: who is it, in one glance."""

import time

import pytest
from playwright.async_api import expect

from schemas.entities import Line
from tests.fixtures_api import DANA, OFFICE
from tests.fixtures_figures import Tell
from tests.journeys.sight import ARABIC, Sight, browser, now, sight

__all__ = ["browser", "sight"]

pytestmark = pytest.mark.browser


async def test_the_phone_rings_and_the_right_customer_pops_up(sight: Sight, tell: Tell) -> None:
    page = sight.page
    written = await sight.rings("1", DANA)
    await sight.heading("Dana Reyes").to_be_visible()
    seen = (time.perf_counter() - written) * 1000
    tell(f"[page] from the store's write to the eye: {seen:.0f} ms")
    await expect(page.locator(".ring")).to_contain_text("Support line · for Maya Lind")
    await expect(page.locator(".ring")).to_contain_text("· Dana Reyes ·")
    await expect(page.get_by_role("alert")).to_have_text("Ringing: Dana Reyes")
    await expect(page.get_by_text("Number known in HubSpot, not proof")).to_be_visible()
    await expect(page.locator(".ring .time")).to_have_text("0:02")
    await sight.desk.tell(sight.desk.call("aircall/call/1", DANA, "in_progress", at=now()))
    await expect(page.locator(".ring")).to_have_count(0)
    await sight.heading("Dana Reyes").to_be_visible()


async def test_what_matters_at_once_fits_without_scrolling(sight: Sight) -> None:
    await sight.rings("1", DANA)
    open_ = sight.page.get_by_role("region", name="Open")
    await expect(open_.get_by_text("Maya Lind")).to_be_visible()
    await expect(open_).to_be_in_viewport(ratio=1)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await sight.page.evaluate(wide)


async def test_a_second_ring_does_not_take_the_first_ones_page_away(sight: Sight) -> None:
    page = sight.page
    await sight.rings("1", DANA)
    await sight.heading("Dana Reyes").to_be_visible()
    await sight.rings("2", "+12025550130")
    await expect(page.locator(".ring")).to_have_count(2)
    await sight.heading("Dana Reyes").to_be_visible()
    await page.get_by_role("button", name="Show").click()
    await sight.heading(ARABIC).to_be_visible()


async def test_a_second_call_of_the_same_customer_keeps_its_bars_place(sight: Sight) -> None:
    bars, desk = sight.page.locator(".ring"), sight.desk
    await sight.rings("1", DANA)
    await expect(bars).to_have_count(1)
    await sight.rings("2", "+12025550130")
    await expect(bars).to_have_count(2)
    again = desk.call("aircall/call/3", DANA, at=now(), line=Line(name="Second line"))
    await desk.tell(desk.call("aircall/call/1", DANA, "missed", at=now()), again)
    await expect(bars.filter(has_text="Second line")).to_have_count(1)
    await expect(bars).to_contain_text(["Dana Reyes · Second line", f"{ARABIC} · Support line"])


async def test_a_shared_office_phone_asks_for_the_name_and_shows_nothing_private_before(sight: Sight) -> None:
    page = sight.page
    await sight.rings("1", OFFICE, person="hubspot/contact/20")
    await sight.heading("3 people use this number: ask the name").to_be_visible()
    await expect(page.locator(".ring")).to_contain_text("· 3 people ·")
    for name in ("Max Weber", "Noor Haddad", "Ben Ode", "New caller"):
        await expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    await expect(page.get_by_text("Secret of Max")).to_have_count(0)
    await page.get_by_role("button", name="Max Weber").click()
    await sight.heading("Max Weber").to_be_visible()
    await expect(page.get_by_text("Secret of Max").first).to_be_visible()
    await page.get_by_role("button", name="Choose again").click()
    await page.get_by_role("button", name="Ben Ode").click()
    await sight.heading("Ben Ode").to_be_visible()
    await expect(page.get_by_text("Secret of Max")).to_have_count(0)


async def test_an_office_phone_without_a_contact_behind_the_call_asks_too(sight: Sight) -> None:
    await sight.rings("1", OFFICE)
    await expect(sight.page.get_by_role("button", name="Noor Haddad")).to_be_visible()
    await sight.page.get_by_role("button", name="New caller").click()
    await sight.heading(OFFICE).to_be_visible()


async def test_a_new_caller_is_called_that(sight: Sight) -> None:
    await sight.rings("1", "+12025550177")
    await sight.heading("+12025550177").to_be_visible()
    await expect(sight.page.locator("#customer").get_by_text("New caller")).to_be_visible()
    await expect(sight.page.locator(".ring")).to_contain_text("· New caller ·")
