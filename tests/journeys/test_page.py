"""The page in a real browser: a customer in one glance, live, and safe whatever a name looks like."""

import re

import orjson
import pytest
from playwright.async_api import Browser, expect

from core.cli.record import lines
from schemas.entities import Custom, Order, Party
from tests.fixtures_api import DANA, DAY, HOUR, OFFICE, Desk, full
from tests.journeys.sight import ARABIC, MAYA, TRICK, Sight, browser, sight, tell_story

__all__ = ["browser", "sight"]

pytestmark = pytest.mark.browser


async def test_who_is_not_logged_in_is_told_what_to_do(desk: Desk, browser: Browser) -> None:
    await tell_story(desk)
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
