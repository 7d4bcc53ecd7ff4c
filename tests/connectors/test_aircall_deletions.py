"""What Aircall tells nobody: found by listing ids and asked for one by one."""

import json
from typing import Any

import pytest

from connectors.aircall import CONNECTOR
from connectors.aircall.mock import simulator
from core.sdk import Hint, PermanentError
from core.sdk.mock import Clock, running
from tests.connectors.aircall_source import MS, aircall, contacts, folded, hydrated, ids, normalized, pages
from tests.connectors.http import PlainHttp

KINDS = [listing.kind for listing in CONNECTOR.listings]


async def listed(http: PlainHttp, kind: str, cursor: dict[str, Any] | None = None) -> list[Any]:
    listing = next(each for each in CONNECTOR.listings if each.kind == kind)
    config = CONNECTOR.config(type="aircall", account="example", api_id="x", api_token="y")
    return [page async for page in listing.ids(http, config, "example", cursor)]


async def test_listings_name_exactly_what_lives() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        contacts(mock, 120, step=60)
        mock.player.insert("person.delete", "extra5", {})
        mock.player.insert("user.leave", "sam", {})
        truth = mock.simulator.truth()
        for kind in KINDS:
            found = {id for page in await listed(http, kind) for id in page.ids}
            assert found == set(truth[kind]), kind


async def test_calls_are_not_listed_because_aircall_forgets_them_after_six_months() -> None:
    assert KINDS == ["contact", "user", "team"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_listing_that_stops_after_any_page_goes_on_where_it_was(kind: str) -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        contacts(mock, 170, step=60)
        whole = await listed(http, kind)
        assert len({json.dumps(page.cursor) for page in whole}) == len(whole)
        for stop in range(1, len(whole)):
            rest = await listed(http, kind, json.loads(json.dumps(whole[stop - 1].cursor)))
            ids = {id for page in [*whole[:stop], *rest] for id in page.ids}
            assert ids == {id for page in whole for id in page.ids}


async def test_more_contacts_of_one_second_than_a_page_holds_are_all_listed() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        contacts(mock, 170, step=0)
        assert {id for page in await listed(http, "contact") for id in page.ids} == set(
            mock.simulator.truth()["contact"]
        )


@pytest.mark.parametrize(
    ("kind", "deleted"),
    [("call", "call.deleted"), ("contact", "person.deleted"), ("user", "staff.deleted"), ("team", "team.deleted")],
)
async def test_what_is_missing_and_cannot_be_read_was_deleted(kind: str, deleted: str) -> None:
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        (event,) = await hydrated(http, Hint(kind, "999", MS, "missing"))
        assert (event.type, event.subject, event.final) == (deleted, f"aircall/example/{kind}/999", False)


async def test_a_contact_whose_deletion_nobody_told_is_gone_after_a_listing() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        before = [event for page in await pages(http, "contacts") for payload in page.payloads
                  for event in normalized(payload)]  # fmt: skip
        known = {id for page in await listed(http, "contact") for id in page.ids}
        mock.player.insert("person.delete", "zoe", {})
        (gone,) = known - {id for page in await listed(http, "contact") for id in page.ids}
        found = await hydrated(http, Hint("contact", gone, MS, "missing"))
        for order in ([*before, *found], [*found, *before]):
            assert folded(order)[f"aircall/example/contact/{gone}"].state == "deleted"


@pytest.mark.parametrize("kind", ["call", "contact", "user", "team"])
async def test_what_was_named_is_read_once_and_lives(kind: str) -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        id = next(iter(mock.simulator.truth()[kind]))
        found = await hydrated(http, Hint(kind, id, MS, "missing"), Hint(kind, id, MS + 5, "changed"))
        assert folded(found)[f"aircall/example/{kind}/{id}"].state == "live"
        assert len(http.asked) == 1


async def test_a_call_read_by_its_id_says_what_a_poll_says() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        polled = [
            event for page in await pages(http, "calls") for payload in page.payloads for event in normalized(payload)
        ]
        hints = [Hint("call", str(id), MS) for id in ids(await pages(http, "calls"))]
        read = await hydrated(http, *hints)
        assert {event.id for event in read} == {event.id for event in polled}


async def test_an_id_that_is_no_number_is_not_asked_for() -> None:
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        with pytest.raises(PermanentError, match="not an id"):
            await hydrated(http, Hint("contact", "../company", MS))
        assert http.asked == []
