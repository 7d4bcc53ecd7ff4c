"""What HubSpot does not tell, or tells wrongly: found by listings, walks and read-backs of its mock."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from connectors.hubspot import CONNECTOR
from core.errors import PermanentError
from core.sdk import Hint
from core.sdk.connector import Cursor
from schemas.event import Event
from tests.connectors.hubspot_source import (
    KINDS,
    MS,
    Bench,
    bench,
    config,
    crowd,
    ids,
    normalized,
    split_as,
    states,
    stock,
)


async def events_of(hub: Bench, *hints: Hint) -> list[Event]:
    return [event for payload in await hub.hydrated(list(hints)) for event in normalized(payload)]


async def test_a_listing_names_every_living_object_and_nothing_else() -> None:
    async with bench() as hub:
        stock(hub)
        await crowd(hub, 150)
        hub.tell("person.delete", "dana")
        truth = hub.portal.truth()
        for kind in KINDS.values():
            assert sorted(await hub.listed(kind)) == sorted(truth[kind]) != []


async def test_a_listing_that_stops_after_any_page_goes_on_to_the_same_set() -> None:
    async with bench() as hub:
        await crowd(hub, 250)
        (listing,) = [each for each in CONNECTOR.listings if each.kind == "contact"]
        whole = [page async for page in listing.ids(hub.http, hub.config, hub.account, None)]
        for stop in range(1, len(whole)):
            rest = [page async for page in listing.ids(hub.http, hub.config, hub.account, whole[stop - 1].cursor)]
            assert rest == whole[stop:]


async def test_what_a_listing_lacks_was_deleted_when_the_recycle_bin_says_so() -> None:
    async with bench() as hub:
        (told,) = hub.tell("person.delete", "dana")
        hub.later(days=1)
        missing = Hint("contact", str(told["objectId"]), MS + 86_400_000, "missing")
        (event,) = await events_of(hub, missing)
        assert (event.type, event.order.clock) == ("person.deleted", told["occurredAt"])


async def test_an_id_that_neither_the_batch_nor_the_recycle_bin_knows_is_gone() -> None:
    async with bench() as hub:
        hub.tell("person.erase", "dana")  # and nobody heard the webhook
        id = hub.portal.world.id("contacts", "dana")
        assert id not in await hub.listed("contact")
        (event,) = await events_of(hub, Hint("contact", id, MS, "missing"))
        assert (event.type, event.order.clock, event.final) == ("person.deleted", MS, False)


async def test_an_object_that_only_moved_between_the_pages_of_a_listing_lives_on() -> None:
    async with bench() as hub:
        id = hub.portal.world.id("contacts", "dana")
        (event, *_) = await events_of(hub, Hint("contact", id, MS, "missing"))
        assert event.type == "person.upserted"


async def test_a_listing_takes_no_merged_person_away() -> None:
    async with bench() as hub:
        for ref in ("a", "b"):
            hub.tell("person.upsert", ref, given="Ana", email=f"{ref}@example.com")
        hub.tell("person.merge", "b", into="a", new="ab")
        old, new = (hub.portal.world.id("contacts", ref) for ref in ("a", "ab"))
        assert old not in await hub.listed("contact")
        found = await events_of(hub, Hint("contact", old, MS, "missing"))
        assert {event.action for event in found} == {"upserted", "merged"}
        assert found[0].subject.endswith(new)


async def test_an_association_that_moves_no_date_is_found_by_walking_all_of_them() -> None:
    async with bench() as hub:
        stock(hub)
        (*_, polled) = await hub.poll("notes")
        (begun,) = await hub.poll("all objects")
        hub.later(hours=3)
        (*_, polled) = await hub.poll("notes", polled.cursor)
        assert hub.tell("note.link", "one", to=["contacts", "ines"])  # the webhook is lost
        hub.tell("note.unlink", "one", to=["contacts", "dana"])
        hub.later(hours=1)
        assert ids(await hub.poll("notes", polled.cursor)) == []
        walked = [p for page in await hub.poll("all objects", begun.cursor) for p in page.payloads if p.kind == "note"]
        (event,) = normalized(walked[0])
        ines = f"hubspot/{hub.account}/contact/{hub.portal.world.id('contacts', 'ines')}"
        assert [party["person"] for party in event.data["parties"]] == [ines]


async def test_a_walk_over_all_objects_that_stops_after_any_page_goes_on_to_the_same_set() -> None:
    async with bench() as hub:
        stock(hub)
        await crowd(hub, 130)
        (begun,) = await hub.poll("all objects")
        hub.later(hours=1)
        whole = await hub.poll("all objects", begun.cursor)
        assert {payload.kind for page in whole for payload in page.payloads} == {*KINDS.values()}
        for stop in range(1, len(whole)):
            part = await hub.poll("all objects", begun.cursor, most=stop)
            assert ids(part) + ids(await hub.poll("all objects", part[-1].cursor)) == ids(whole)


async def test_a_kind_that_is_chosen_later_is_left_to_its_own_first_fetch_and_walked_from_the_next_time_on() -> None:
    async with bench(objects=["contact"]) as hub:
        stock(hub)

        async def walked(cursor: Cursor | None) -> tuple[set[str], Cursor]:
            pages = await hub.poll("all objects", cursor)
            return {payload.kind for page in pages for payload in page.payloads}, pages[-1].cursor

        _, begun = await walked(None)
        for objects in (["deal"], ["contact", "deal"]):
            hub.config = hub.config.model_copy(update={"objects": objects})
            hub.later(days=1)
            first, rested = await walked(begun)
            assert first == {"contact"} & {*objects}
            hub.later(days=1)
            assert (await walked(rested))[0] == {*objects}
        assert (await walked({"since": begun["since"]}))[0] == {"contact", "deal"}, "a cursor of before names no kinds"


@pytest.mark.parametrize("moves", [True, False], ids=["", "no date moves"])
@pytest.mark.parametrize("notice", ["webhook", "archived", "listing"])
@pytest.mark.parametrize(("kind", "ref"), [("person", "dana"), ("company", "bakery"), ("note", "one")])
async def test_a_restore_whose_webhook_was_lost_is_found_by_walking_over_all_objects(
    kind: str, ref: str, notice: str, moves: bool
) -> None:
    async with bench() as hub:
        hub.portal.world.archiving_moves = moves
        stock(hub)
        (begun,) = await hub.poll("all objects")
        hub.later(minutes=1)
        ours = {"person": "contact"}.get(kind, kind)
        before = await walked(hub, "all objects", begun.cursor, ours)
        (*_, rested) = await hub.poll("archived")
        hub.later(hours=3)
        (told,) = hub.tell(f"{kind}.delete", ref)
        hub.later(minutes=1)
        match notice:
            case "webhook":
                gone = await events_of(hub, *split_as(hub, [told]).hints)
            case "archived":
                gone = await walked(hub, "archived", rested.cursor, ours)
            case _:  # which notices it a day later
                gone = await events_of(
                    hub, Hint(ours, str(told["objectId"]), told["occurredAt"] + 86_400_000, "missing")
                )
        (subject,) = {event.subject for event in gone}
        known = [event for event in [*before, *gone] if event.subject == subject]
        assert states(known) == {"deleted"}, "whatever was read before it came there"
        hub.later(hours=3)
        assert hub.tell(f"{kind}.restore", ref)  # and nobody heard it
        hub.later(hours=3)
        back = await walked(hub, "all objects", begun.cursor, ours)
        known += [event for event in back if event.subject == subject]
        assert states(known) == {"live"}
        hub.later(hours=3)
        assert hub.tell(f"{kind}.delete", ref)  # once more, and unheard, too
        known += [event for event in await walked(hub, "archived", rested.cursor, ours) if event.subject == subject]
        assert states(known) == {"deleted"}


async def walked(hub: Bench, stream: str, cursor: Cursor, kind: str) -> list[Event]:
    payloads = [payload for page in await hub.poll(stream, cursor) for payload in page.payloads]
    return [event for payload in payloads if payload.kind == kind for event in normalized(payload)]


@pytest.mark.parametrize("stream", ["contacts", "conversations", "archived"])
async def test_what_changes_while_our_clock_is_ahead_is_not_passed_over(stream: str) -> None:
    async with bench() as hub:
        clock = hub.http.clock
        hub.http.clock = lambda: clock() + 3_600_000
        (*_, last) = await hub.poll(stream)
        hub.later(minutes=10)
        hub.tell("person.upsert", "dana", family="Reyes-Berg")
        hub.tell("thread.open", "a", person="ines", text="Hello")
        hub.tell("deal.delete", "d:1")
        hub.later(minutes=1)
        wanted = {"contacts": hub.portal.world.id("contacts", "dana"), "conversations": hub.portal.inbox.id("a"),
                  "archived": hub.portal.world.id("deals", "d:1")}  # fmt: skip
        assert wanted[stream] in ids(await hub.poll(stream, last.cursor))


async def test_a_stage_that_was_renamed_shows_its_new_name_after_a_day() -> None:
    async with bench() as hub:
        found = [event for page in await hub.poll("deals") for p in page.payloads for event in normalized(p)]
        assert {event.data["pipeline"]["name"] for event in found} == {"Sales Pipeline"}
        (begun,) = await hub.poll("all objects")
        ((id, _, stages),) = hub.portal.api.pipelines["deals"]
        hub.portal.api.pipelines["deals"] = [(id, "New business", stages)]
        hub.later(hours=1)
        walked = [p for page in await hub.poll("all objects", begun.cursor) for p in page.payloads if p.kind == "deal"]
        assert {event.data["pipeline"]["name"] for p in walked for event in normalized(p)} == {"New business"}


async def test_rows_that_share_one_modified_date_do_not_make_a_search_go_in_circles() -> None:
    async with bench() as hub:
        (*_, last) = await hub.poll("contacts")
        hub.later(minutes=10)
        await crowd(hub, 450)  # an import: all at one moment
        assert len({hub.portal.world.objects["contacts"][id].updated for id in crowd_ids(hub, 450)}) == 1
        hub.portal.api.search_cap = 200
        assert sorted(ids(await hub.poll("contacts", last.cursor))) == sorted(crowd_ids(hub, 450))


def crowd_ids(hub: Bench, number: int) -> list[str]:
    return [hub.portal.world.id("contacts", f"x{index}") for index in range(number)]


async def test_a_merge_that_no_webhook_told_is_read_from_the_record_and_never_from_the_search() -> None:
    async with bench() as hub:
        for ref in ("a", "b"):
            hub.tell("person.upsert", ref, given="Ana", email=f"{ref}@example.com")
        hub.later(minutes=10)
        (*_, last) = await hub.poll("contacts")
        hub.tell("person.merge", "b", into="a", new="ab")
        hub.later(seconds=10)
        id = hub.portal.world.id("contacts", "ab")
        asked = {"filterGroups": [{"filters": [{"propertyName": "hs_object_id", "operator": "EQ", "value": id}]}]}
        searched = await hub.http.request("POST", "/crm/v3/objects/contacts/search", json={
            **asked, "properties": ["hs_merged_object_ids"],
        })  # fmt: skip
        assert searched.data["results"][0]["properties"].get("hs_merged_object_ids") is None
        found = [event for page in await hub.poll("contacts", last.cursor) for p in page.payloads
                 for event in normalized(p)]  # fmt: skip
        assert {event.subject.rpartition("/")[2] for event in found if event.action == "merged"} == {
            hub.portal.world.id("contacts", ref) for ref in ("a", "b")
        }  # fmt: skip


async def test_an_association_taken_away_is_told_for_both_sides() -> None:
    async with bench() as hub:
        stock(hub)
        found = split_as(hub, hub.tell("order.unlink", "one", to=["contacts", "dana"]))
        assert {hint.kind for hint in found.hints} == {"order", "contact"}
        (order,) = [event for event in await events_of(hub, *found.hints) if event.entity == "order"]
        assert order.data["parties"] == []


async def test_a_line_that_changes_is_read_with_the_orders_and_invoices_that_hold_it() -> None:
    async with bench() as hub:
        hub.tell("deal.upsert", "d:1", stage="closedwon")
        hub.later(seconds=5)
        told = hub.tell("line_item.upsert", "l:d:1", properties={"quantity": "3", "amount": "30.00"})
        (hint,) = split_as(hub, told).hints
        assert hint.kind == "line_item"
        found = await events_of(hub, hint)
        assert {event.entity for event in found} == {"order", "invoice"}
        assert [event.data["items"][0]["quantity"] for event in found] == ["3", "3"]


async def test_what_is_won_is_ordered_billed_and_paid_in_one_record() -> None:
    async with bench() as hub:
        found = split_as(hub, hub.tell("deal.upsert", "d:1", stage="closedwon"))
        made = {event.entity: event for event in await events_of(hub, *found.hints)}
        assert {"deal", "order", "invoice", "payment"} <= made.keys()
        buyer = made["deal"].data["parties"]
        assert buyer and all(made[entity].data["parties"] == buyer for entity in ("order", "invoice", "payment"))
        assert made["payment"].data["invoice"] == made["invoice"].subject
        assert made["order"].data["items"][0]["total"] == made["order"].data["total"] == made["deal"].data["total"]


async def test_the_total_of_a_poll_counts_from_its_beginning() -> None:
    async with bench() as hub:
        await crowd(hub, 450)
        walked = await hub.poll("contacts")
        total = len(ids(walked))
        assert {page.total for page in walked} == {total} and len(walked) > 3
        hub.later(minutes=10)
        for index in range(450):
            hub.tell("person.upsert", f"x{index}", family="Bergmann")
        hub.later(seconds=10)
        changed = await hub.poll("contacts", walked[-1].cursor)
        assert {page.total for page in changed} == {450} and len(changed) == 3
        resumed = await hub.poll("contacts", changed[0].cursor)
        assert {page.total for page in resumed} == {450}


async def test_the_total_leaves_out_what_is_older_than_the_first_fetch_goes_back() -> None:
    async with bench(since=timedelta(days=1)) as hub:
        hub.tell("note.upsert", "old", person="dana", properties={"hs_note_body": "long ago"})
        hub.later(days=3)
        hub.tell("note.upsert", "new", person="dana", properties={"hs_note_body": "today"})
        hub.later(seconds=10)
        (page,) = await hub.poll("notes")
        assert page.total == len(page.payloads) == 1


async def test_unpaid_invoices_and_running_subscriptions_arrive_however_old_they_are() -> None:
    async with bench(since=timedelta(days=1)) as hub:
        for ref, invoice, plan in (("live", "open", "past_due"), ("done", "paid", "canceled")):
            hub.tell("invoice.upsert", ref, person="dana", properties={"hs_invoice_status": invoice})
            hub.tell("subscription.upsert", ref, person="dana", properties={"hs_status": plan})
        hub.later(days=3)
        for name in ("invoices", "subscriptions"):
            assert ids(await hub.poll(name)) == [hub.portal.world.id(name, "live")]


async def test_a_missing_scope_names_the_object_and_the_remedy_and_stops_nothing_else() -> None:
    async with bench() as hub:
        hub.portal.api.forbidden.add("orders")
        with pytest.raises(PermanentError, match=r"orders.*scope.*`objects:`"):
            await hub.poll("orders")
        assert ids(await hub.poll("contacts"))


async def test_a_webhook_of_an_object_without_its_scope_holds_up_no_other() -> None:
    async with bench() as hub:
        stock(hub)
        hub.portal.api.forbidden.add("orders")
        hints = [Hint("order", hub.portal.world.id("orders", "one"), MS)]
        hints += [Hint("note", hub.portal.world.id("notes", "one"), MS)]
        assert [event.entity for event in await events_of(hub, *hints)] == ["note"]
        with pytest.raises(PermanentError, match="scope"):  # and this is where it shows
            await hub.poll("orders")


async def test_objects_that_are_not_wanted_are_neither_polled_nor_fetched_nor_listed() -> None:
    async with bench(objects=["contact", "deal"]) as hub:
        stock(hub)
        told = hub.tell("deal.upsert", "d:1", stage="closedwon")
        hub.http.asked.clear()
        for name, kind in KINDS.items():
            if kind not in hub.config.objects:
                assert await hub.poll(name) == [] and await hub.listed(kind) == []
        assert hub.http.asked == []
        found = split_as(hub, told)
        assert {hint.kind for hint in found.hints} == {"contact", "deal"} and found.ignored
        (*_, last) = await hub.poll("archived")
        hub.later(hours=1)
        hub.tell("order.delete", "one")
        hub.tell("deal.delete", "d:1")
        archived = [payload for page in await hub.poll("archived", last.cursor) for payload in page.payloads]
        assert [payload.kind for payload in archived] == ["deal"]


async def test_who_left_a_type_of_mail_is_denied_it_and_nobody_is_granted_any() -> None:
    async with bench(subscriptions={"6125111": "newsletter", "6125961": "product news"}) as hub:
        left = {"hs_email_optout_6125111": "true", "hs_email_optout_6125961": "false"}
        told = hub.tell("person.upsert", "dana", properties=left)
        (event, *_) = await events_of(hub, *split_as(hub, told).hints)
        assert event.data["consent"] == [{"channel": "email", "purpose": "newsletter", "state": "denied"}]
        assert "attributes" not in event.data


def test_the_version_of_the_api_is_a_setting_and_every_endpoint_follows_it() -> None:
    for version in ("2026-03", "2026-09", "2027-03", "v3"):
        paths = config(api_version=version)
        for what in ("list", "search", "batch", "owners", "account", "token"):
            assert f"/{version}/" in paths.path(what, type="contacts") + "/"
        assert paths.path("batch", type="orders").endswith("orders/batch/read")
        assert paths.path("pipelines", type="deals") == "/crm/v3/pipelines/deals"
        assert paths.path("thread", id="7").startswith("/conversations/v3/")
    assert config(api_version="v3").path("associations", type="deals", to="contacts").startswith("/crm/v4/")


@pytest.mark.parametrize("version", ["v4", "2026-13", "2026-3", "2026-03/..", "2026-03\n", "latest", ""])
def test_a_version_that_none_can_be_is_refused(version: str) -> None:
    with pytest.raises(ValidationError, match="api_version"):
        config(api_version=version)
