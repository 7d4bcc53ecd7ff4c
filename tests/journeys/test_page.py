"""The page in a real browser: who is it that rings, in one glance, live, and safe whatever a name looks like."""

import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, BrowserContext, LocatorAssertions, Page, async_playwright, expect

from core import api
from core.cli.record import lines
from core.sdk import from_ms
from schemas.entities import Custom, Line, Order, Party
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, full, ref
from tests.fixtures_figures import Tell

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 15_000  # ms
TRICK = '<img src=x onerror="document.title=1"><b>Bold</b>'
ARABIC, ORGANIZATION = "نور حداد", "شركة المثال"
MAYA = ref("intercom/admin/3", "Maya Lind")

pytestmark = pytest.mark.browser
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
    await _story(desk)
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


async def _story(desk: Desk) -> None:
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


async def test_who_is_not_logged_in_is_told_what_to_do(desk: Desk, browser: Browser) -> None:
    await _story(desk)
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(desk.url)
    await expect(page.get_by_text("hub open", exact=True)).to_be_visible()
    await expect(page.get_by_role("searchbox")).to_be_hidden()
    assert "Dana" not in await page.content()
    await page.goto(f"{desk.url}/login/used")
    await expect(page.get_by_text("hub open", exact=True)).to_be_visible()
    await context.close()


async def test_a_customer_is_found_and_shown_with_all_that_matters(sight: Sight) -> None:
    page = sight.page
    await page.get_by_role("searchbox").fill("bakery")
    await expect(page.locator("#found a")).to_have_count(1)
    await page.get_by_role("link", name="Dana Reyes").click()
    await sight.heading("Dana Reyes").to_be_visible()
    customer = page.get_by_role("region", name="Customer", exact=True)
    await expect(customer.get_by_text("Example Bakery")).to_be_visible()
    await expect(customer.get_by_text(f"dana@example.com · {DANA}")).to_be_visible()
    await expect(customer.get_by_text("Known in HubSpot and Intercom")).to_be_visible()
    await expect(customer.get_by_text("Waiting 2 d 4 h")).to_be_visible()
    open_ = customer.get_by_role("region", name="Open")
    link = open_.get_by_role("link", name="Bag never arrived")
    await expect(link).to_have_attribute("href", "https://example.com/intercom/conversation/7")
    await expect(open_.get_by_text("Maya Lind · 3 d · Intercom")).to_be_visible()
    await expect(customer.get_by_role("region", name="Last contacts").get_by_text("Old")).to_be_visible()
    answers = customer.get_by_role("region", name="Answers").get_by_role("listitem")
    await expect(answers).to_contain_text(["verified", "not verified"])
    await expect(customer.get_by_role("listitem").filter(has_text="not heard yet").first).to_be_visible()


async def test_while_the_past_is_fetched_a_quiet_line_says_how_far_that_is(sight: Sight) -> None:
    async def fetched(rows: int, left: int | None) -> None:
        running = {"way": "backfill", "fetched": rows, "total": 1_000, "seconds_left": left}
        streams = {"contacts": {"progress": running if rows < 1_000 else None}}
        crm = {"connector": "hubspot", "account": "acme", "polls_here": True, "streams": streams}
        await sight.desk.store.put_state("crm", "a", orjson.dumps(crm), sight.desk.clock)

    await fetched(20, None)
    await sight.page.get_by_role("link", name="Dana Reyes").click()
    line = sight.page.locator(".foot").get_by_role("listitem").filter(has_text="HubSpot")
    await expect(line).to_contain_text(re.compile(r"fetching the past: 20 of 1000 *$"))
    record = await sight.desk.get(f"/v1/customers/{await sight.desk.id_of(email='dana@example.com')}")
    for rows, left, told in ((420, 719, "about 12 minutes left"), (980, 17, "under a minute left")):
        await fetched(rows, left)
        await expect(line).to_contain_text(f"fetching the past: {rows} of 1000, {told}")
        await expect(line.get_by_role("progressbar")).to_have_attribute("value", str(rows))
    await fetched(1_000, None)
    await expect(line).not_to_contain_text("fetching")
    later = await sight.desk.get(f"/v1/customers/{record['id']}")
    assert later["version"] == record["version"], "no new version of a record because the time that is left changes"


async def test_the_companys_own_objects_show_under_their_own_names_with_what_they_say(sight: Sight) -> None:
    desk, page = sight.desk, sight.page
    parties = [Party(role="requester", person=full("hubspot/contact/1"))]
    contract = Custom(
        kind="service_contract", title="Maintenance, 24 months", url="https://erp.example.com/contracts/7",
        source_state="active", at=desk.ago(DAY), parties=parties, attributes={"ends_on": "2027-12-31", "seats": 4},
    )  # fmt: skip
    bare = Custom(kind="loyalty card", at=desk.ago(9 * DAY), parties=parties)
    order = Order(number="SO-1001", total="59.80", currency="EUR", status="shipped", at=desk.ago(HOUR), parties=parties)
    await desk.tell(
        desk.event("push/custom.service_contract/7", contract), desk.event("push/custom.card/1", bare),
        desk.event("push/order/1", order),
    )  # fmt: skip
    await page.get_by_role("link", name="Dana Reyes").click()
    more = page.get_by_role("region", name="More")
    await expect(more.locator("li")).to_have_count(3)
    await expect(more.locator("li").first).to_contain_text("SO-1001Order · shipped · 59.80 EUR")
    shown = more.locator("li").nth(1)
    await expect(shown).to_contain_text("Maintenance, 24 monthsService contract · active")
    await expect(shown).to_contain_text("ends on: 2027-12-31 · seats: 4")
    await expect(shown.get_by_role("link")).to_have_attribute("href", "https://erp.example.com/contracts/7")
    await expect(more.locator("li").last).to_contain_text("Loyalty card")
    record = await desk.get(f"/v1/customers/{await desk.id_of(email='dana@example.com')}")
    assert [each["kind"] for each in record["custom"]] == ["service_contract", "loyalty card"]
    assert record["custom"][0]["attributes"]["seats"] == 4
    told = [line.strip() for line in lines(record)]
    assert told[told.index("More") + 1].startswith(
        'service_contract  active  "Maintenance, 24 months"  ends_on: 2027-12-31'
    )


async def test_nothing_is_shown_for_machines_and_no_heading_stands_over_nothing(sight: Sight) -> None:
    await sight.page.get_by_role("link", name=ARABIC).click()
    await sight.heading(ARABIC).to_be_visible()
    await expect(sight.page.get_by_text("not heard yet")).to_be_visible()
    text = await sight.page.locator("#customer").inner_text()
    assert not any(
        word in text for word in ("acme", "undefined", "null", "NaN", "Open", "Answers", "Last contacts", "/")
    )


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


async def test_an_update_arrives_without_a_reload(sight: Sight) -> None:
    await sight.page.get_by_role("link", name="Dana Reyes").click()
    await sight.heading("Dana Reyes").to_be_visible()
    desk = sight.desk
    await desk.tell(desk.ticket("intercom/conversation/9", "intercom/contact/a", "Wrong color", assignee=MAYA))
    await expect(sight.page.get_by_role("region", name="Open").get_by_text("Wrong color")).to_be_visible()
    await desk.tell(desk.person("hubspot/contact/1", "Dana Maria Reyes", DANA, "dana@example.com"))
    await expect(sight.page.get_by_role("heading", level=1)).to_contain_text("Dana")
    assert await sight.page.evaluate("performance.getEntriesByType('navigation').length") == 1


async def test_an_update_moves_nothing_under_the_readers_eyes(sight: Sight) -> None:
    page, desk = sight.page, sight.desk
    await page.get_by_role("link", name="Dana Reyes").click()
    answers = page.get_by_role("region", name="Answers")
    await expect(answers).to_be_visible()
    await page.mouse.move(200, 400)
    await page.mouse.move(210, 410)
    before = await answers.bounding_box()
    await desk.tell(
        desk.ticket("intercom/conversation/7", "intercom/contact/a", "Bag arrived", assignee=MAYA),
        desk.ticket("intercom/conversation/9", "intercom/contact/a", "Wrong color", assignee=MAYA),
    )
    # A row changes where it is; a new one waits until it is wanted.
    await expect(page.get_by_text("Bag arrived")).to_be_visible()
    show = page.get_by_role("button", name="Something new: show")
    await expect(show).to_be_visible()
    assert await answers.bounding_box() == before
    await expect(page.get_by_text("Wrong color")).to_have_count(0)
    await show.click()
    await expect(page.get_by_role("region", name="Open").get_by_text("Wrong color")).to_be_visible()


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


async def test_who_types_sees_what_is_found_also_where_a_customer_stood_over_it(sight: Sight) -> None:
    page = sight.page
    await page.get_by_role("link", name="Dana Reyes").click()
    await sight.heading("Dana Reyes").to_be_visible()
    await page.get_by_role("searchbox").fill("max")
    await expect(page.get_by_role("link", name="Max Weber")).to_be_visible()
    assert page.url.endswith("#/")
    await page.get_by_role("link", name="Max Weber").click()
    await sight.heading("Max Weber").to_be_visible()
    await page.get_by_role("searchbox").fill("nobody of this name")
    await expect(page.get_by_text("Nobody found.")).to_be_visible()
    await page.go_back()
    await sight.heading("Max Weber").to_be_visible()


async def test_on_a_wide_screen_the_customer_stays_while_one_searches(sight: Sight) -> None:
    page = sight.page
    await page.set_viewport_size({"width": 1200, "height": 760})
    await page.get_by_role("link", name="Dana Reyes").click()
    await sight.heading("Dana Reyes").to_be_visible()
    await page.get_by_role("searchbox").fill("max")
    await expect(page.locator("#found a")).to_have_count(1)
    await sight.heading("Dana Reyes").to_be_visible()
    await page.get_by_role("link", name="supporthub").click()
    await expect(page.get_by_text("Choose a customer, or wait")).to_be_visible()


async def test_the_list_says_how_many_use_a_number_and_who_has_waited_too_long(sight: Sight) -> None:
    page, desk = sight.page, sight.desk
    await desk.tell(
        desk.call("aircall/call/1", OFFICE, "missed"),
        desk.ticket("intercom/conversation/8", "hubspot/contact/30", "Late", waiting_since=desk.ago(HOUR)),
    )
    await page.reload()
    row = page.locator("#found li")
    await expect(row.filter(has_text=OFFICE)).to_contain_text("3 people use this number")
    await expect(row.filter(has_text="waiting 2 d 4 h").locator(".long")).to_have_count(1)
    await expect(row.filter(has_text="waiting 1 h")).to_have_count(1)
    await expect(row.filter(has_text="waiting 1 h").locator(".long")).to_have_count(0)


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


async def test_markup_in_a_name_is_only_text(sight: Sight) -> None:
    await sight.page.get_by_role("searchbox").fill("bold")
    await expect(sight.page.locator("#found a")).to_have_count(1)
    await sight.rings("1", "+12025550131")
    await sight.heading(TRICK).to_be_visible()
    await expect(sight.page.locator("#customer").get_by_text("<script>document.title=2</script>")).to_be_visible()
    assert await sight.page.locator("#customer img, #customer b, #customer script, #found img").count() == 0
    assert (await sight.page.title()).startswith("Ringing 0:")


async def test_a_name_from_right_to_left_turns_nothing_else_round(sight: Sight) -> None:
    await sight.rings("1", "+12025550130")
    await sight.heading(ARABIC).to_be_visible()
    name = sight.page.get_by_role("heading", level=1).locator("bdi")
    await expect(name).to_have_css("direction", "rtl")
    await expect(name).to_have_css("unicode-bidi", "isolate")
    await expect(sight.page.locator(".ring")).to_have_css("direction", "ltr")


async def test_a_link_that_is_no_web_address_is_no_link(sight: Sight) -> None:
    desk = sight.desk
    await desk.tell(
        desk.ticket("intercom/conversation/9", "intercom/contact/a", "Click me", url="javascript:document.title=3")
    )
    await sight.page.get_by_role("link", name="Dana Reyes").click()
    await expect(sight.page.get_by_text("Click me")).to_be_visible()
    assert await sight.page.locator('a[href^="javascript:"]').count() == 0


async def test_a_merged_customers_page_goes_on_as_the_survivors(sight: Sight) -> None:
    desk, page = sight.desk, sight.page
    desk.clock += 1_000
    await desk.tell(desk.person("aircall/contact/9", "Dana Reyes", "+12025550144"))
    await page.get_by_role("searchbox").fill("+12025550144")
    await expect(page.locator("#found a")).to_have_count(1)
    await page.locator("#found a").click()
    await expect(page.get_by_text("Known in Aircall")).to_be_visible()
    await desk.tell(desk.person("aircall/contact/9", "Dana Reyes", "+12025550144", "dana@example.com"))
    await expect(page.get_by_text("Bag never arrived").first).to_be_visible()
    assert full("aircall/contact/9") not in await page.locator("#customer").inner_text()


async def test_logging_out_leaves_nothing_to_see(sight: Sight) -> None:
    await sight.page.get_by_role("button", name="Log out").click()
    await expect(sight.page.get_by_text("hub open", exact=True)).to_be_visible()
    await expect(sight.page.get_by_role("link", name="Dana Reyes")).to_have_count(0)
    sight.faults[:] = [fault for fault in sight.faults if "401" not in fault]
