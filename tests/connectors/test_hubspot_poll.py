"""HubSpot's lists and searches, against its mock over real HTTP."""

import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.hubspot import CONNECTOR
from core.errors import (
    PermanentError,
    UnauthorizedError,
)
from core.sdk import Http
from tests.connectors.http import plain_http
from tests.connectors.hubspot_source import (
    KINDS,
    bench,
    crowd,
    ids,
    normalized,
    stock,
)


async def test_the_account_is_the_portal_that_the_token_belongs_to() -> None:
    async with bench() as hub:
        assert await CONNECTOR.account(hub.http, hub.config) == hub.account
        with pytest.raises(PermanentError, match="belongs to portal"):
            await CONNECTOR.account(hub.http, hub.config.model_copy(update={"account": "1"}))
        async with plain_http(hub.mock.url, {"Authorization": "Bearer wrong"}) as stranger:
            with pytest.raises(UnauthorizedError):
                await CONNECTOR.account(stranger, hub.config)


class NoAccount:
    """A portal that answers everything but who it is."""

    def __init__(self, http: Http) -> None:
        self.request, self.now, self._http = http.request, http.now, http

    async def get(self, path: str, **params: str | int) -> Any:
        if "account-info" in path:
            raise PermanentError("404", status=404)
        return await self._http.get(path, **params)


async def test_an_account_that_is_not_told_must_be_written_down() -> None:
    async with bench() as hub:
        with pytest.raises(PermanentError, match="`account:`"):
            await CONNECTOR.account(NoAccount(hub.http), hub.config)
        written = hub.config.model_copy(update={"account": "12345"})
        assert await CONNECTOR.account(NoAccount(hub.http), written) == "12345"


@pytest.mark.parametrize("version", ["2026-03", "2026-09", "v3"])
async def test_the_whole_portal_arrives_with_its_associations(version: str) -> None:
    async with bench(api_version=version) as hub:
        stock(hub)
        truth = hub.portal.truth()
        for name, kind in KINDS.items():
            pages = await hub.poll(name)
            assert sorted(ids(pages)) == sorted(truth[kind]) != []
            events = [event for page in pages for payload in page.payloads for event in normalized(payload)]
            assert {event.mode for event in events} == {"full"}
            if kind not in ("contact", "company"):
                assert all(event.data["parties"] for event in events)
        assert len(ids(await hub.poll("owners"))) == 5
        assert all(path.startswith("/crm/") for path, _ in hub.http.asked)
        assert any(version in path for path, _ in hub.http.asked)


async def test_members_of_a_company_arrive_with_it() -> None:
    async with bench() as hub:
        pages = await hub.poll("contacts")
        people = [normalized(payload)[0].data for page in pages for payload in page.payloads]
        (bakery,) = {
            each["key"] for person in people for each in person["organizations"]
            if "bakery.example.com" in str(person["identifiers"])
        }  # fmt: skip
        companies = [normalized(payload)[0] for page in await hub.poll("companies") for payload in page.payloads]
        assert {event.subject: event.data["name"] for event in companies}[bakery] == "Example Bakery"
        members = [person for person in people if bakery in str(person["organizations"])]
        assert len(members) == 3
        assert {str(person["organizations"]) for person in members} == {
            str([{"key": bakery, "name": "Example Bakery", "primary": True}])
        }


@pytest.mark.parametrize("name", ["contacts", "archived", "owners"])
async def test_a_walk_that_stops_after_any_page_goes_on_to_the_same_set(name: str) -> None:
    async with bench() as hub:
        await crowd(hub, 130)
        for index in range(110):
            hub.tell("person.delete", f"x{index}")
        await crowd(hub, 140, begin=200)
        whole = await hub.poll(name)
        assert len(whole) > 1
        for stop in range(1, len(whole)):
            begun = await hub.poll(name, most=stop)
            rest = await hub.poll(name, json.loads(json.dumps(begun[-1].cursor)))
            assert ids(begun) + ids(rest) == ids(whole)
            assert rest[-1].cursor == whole[-1].cursor


async def test_what_changes_behind_a_long_walk_is_found_after_it() -> None:
    async with bench() as hub:
        await crowd(hub, 130)
        (begun,) = await hub.poll("contacts", most=1)
        hub.later(hours=3)  # the hub was down
        (told, *_) = hub.tell("person.upsert", "dana", family="Reyes-Berg")
        behind = begun.payloads[0].data["id"]
        ref = next(index for index in range(130) if hub.portal.world.id("contacts", f"x{index}") == behind)
        hub.tell("person.upsert", f"x{ref}", family="Berger")
        hub.later(hours=3)
        (*_, last) = await hub.poll("contacts", begun.cursor)
        found = {payload.data["id"] for page in await hub.poll("contacts", last.cursor) for payload in page.payloads}
        assert {behind, str(told["objectId"])} <= found


async def test_a_search_that_stops_after_any_page_goes_on_to_the_same_set() -> None:
    async with bench() as hub:
        (*_, last) = await hub.poll("contacts")
        hub.later(minutes=10)
        await crowd(hub, 450)
        whole = await hub.poll("contacts", last.cursor)
        assert len(ids(whole)) == len(set(ids(whole))) == 450
        for stop in range(1, len(whole)):
            begun = await hub.poll("contacts", last.cursor, most=stop)
            hub.later(seconds=30)
            rest = await hub.poll("contacts", begun[-1].cursor)
            assert ids(begun) + ids(rest) == ids(whole)


async def test_more_changes_than_a_search_gives_out_all_arrive() -> None:
    async with bench() as hub:
        (*_, last) = await hub.poll("contacts")
        hub.later(minutes=10)
        await crowd(hub, 450)
        hub.portal.api.search_cap = 200
        with pytest.raises(PermanentError, match="400"):
            await hub.http.request("POST", "/crm/v3/objects/contacts/search", json={"limit": 200, "after": "200"})
        assert len(ids(await hub.poll("contacts", last.cursor))) == 450


CHANGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "contacts": ("person.upsert", "dana", {"family": "Reyes-Berg"}),
    "companies": ("company.upsert", "bakery", {"properties": {"name": "Example Bakery Ltd"}}),
    "deals": ("deal.upsert", "d:1", {"title": "More ovens"}),
    "tickets": ("ticket.upsert", "old", {"properties": {"subject": "Changed"}}),
    "tasks": ("task.upsert", "t:0", {"state": "done"}),
    "calls": ("call.upsert", "one", {"properties": {"hs_call_body": "Promised a refund"}}),
    "emails": ("email.upsert", "one", {"properties": {"hs_email_status": "SENT"}}),
    "meetings": ("meeting.upsert", "one", {"properties": {"hs_meeting_outcome": "COMPLETED"}}),
    "notes": ("note.upsert", "one", {"properties": {"hs_note_body": "Prefers letters"}}),
    "communications": ("communication.upsert", "one", {"properties": {"hs_communication_body": "There"}}),
    "feedback_submissions": ("feedback.upsert", "one", {"properties": {"hs_content": "Fine"}}),
    "orders": ("order.upsert", "one", {"properties": {"hs_fulfillment_status": "delivered"}}),
    "invoices": ("invoice.upsert", "one", {"properties": {"hs_invoice_status": "paid"}}),
    "commerce_payments": ("payment.upsert", "one", {"properties": {"hs_latest_status": "refunded"}}),
    "subscriptions": ("subscription.upsert", "one", {"properties": {"hs_status": "canceled"}}),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_what_changed_since_arrives_and_nothing_else(name: str) -> None:
    kind, ref, data = CHANGES[name]
    async with bench() as hub:
        stock(hub)
        hub.tell("ticket.upsert", "old", person="dana", properties={"subject": "Bag"})
        (*_, last) = await hub.poll(name)
        hub.later(hours=1)
        (*_, last) = await hub.poll(name, last.cursor)  # looks back once more over the first minutes
        hub.later(hours=1)
        quiet = await hub.poll(name, last.cursor)
        assert ids(quiet) == []
        (told, *_) = hub.tell(kind, ref, **data)
        hub.later(seconds=5)
        pages = await hub.poll(name, quiet[-1].cursor)
        assert ids(pages) == [str(told["objectId"])]
        assert pages[-1].cursor["since"] > quiet[-1].cursor["since"]


async def test_a_row_that_the_index_shows_late_is_found_by_looking_back() -> None:
    async with bench() as hub:
        hub.portal.api.lag = 120_000
        (*_, last) = await hub.poll("contacts")
        hub.later(hours=1)
        hub.tell("person.upsert", "dana", family="Reyes-Berg")
        hub.later(seconds=60)
        early = await hub.poll("contacts", last.cursor)
        assert ids(early) == []
        hub.later(seconds=90)
        assert len(ids(await hub.poll("contacts", early[-1].cursor))) == 1


async def test_deletions_are_found_in_the_recycle_bin() -> None:
    async with bench() as hub:
        before = await hub.poll("archived")
        assert ids(before) == []
        hub.later(hours=1)
        (told,) = hub.tell("person.delete", "dana")
        hub.tell("deal.delete", "d:1")
        hub.later(seconds=5)
        pages = await hub.poll("archived", before[-1].cursor)
        events = [event for page in pages for payload in page.payloads for event in normalized(payload)]
        assert [event.type for event in events] == ["person.deleted", "deal.deleted"]
        assert events[0].order.clock == told["occurredAt"]
        hub.later(hours=1)
        again = await hub.poll("archived", pages[-1].cursor)
        assert ids(again) == ids(pages)  # the look-back; from then on there is nothing new
        hub.later(hours=1)
        assert ids(await hub.poll("archived", again[-1].cursor)) == []


async def test_old_work_arrives_only_where_it_is_still_open() -> None:
    async with bench(since=timedelta(days=1)) as hub:
        for ref, stage in (("open", "1"), ("closed", "4")):
            hub.tell("ticket.upsert", ref, properties={"hs_pipeline": "0", "hs_pipeline_stage": stage})
            hub.tell("task.upsert", ref, title=ref, state="open" if ref == "open" else "done", person="dana")
        hub.later(days=3)
        (ticket,) = [payload for page in await hub.poll("tickets") for payload in page.payloads]
        assert ticket.data["id"] == hub.portal.world.id("tickets", "open")
        tasks = ids(await hub.poll("tasks"))
        assert hub.portal.world.id("tasks", "open") in tasks
        assert hub.portal.world.id("tasks", "closed") not in tasks
