"""The Aircall connector through its front door: samples, and polls of the running mock."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.aircall import CONNECTOR
from connectors.aircall.config import Config
from connectors.aircall.mock import ACCESS_TOKEN, simulator
from core.projection.registers import Registers
from core.sdk import NormalizeError, Payload, UnauthorizedError
from core.sdk.mock import Clock, running
from tests.connectors.aircall_source import (
    CONFIG,
    MS,
    aircall,
    contacts,
    crowd,
    folded,
    ids,
    normalized,
    pages,
    stream,
)
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "connectors/aircall/samples").glob("*.payload.json"))
VENDOR = Path(os.environ.get("HUB_VENDOR_DATA", ROOT.parent / "shared/vendor-data")) / "telephony/aircall"
needs_vendor_data = pytest.mark.skipif(not VENDOR.exists(), reason=f"no vendor data at {VENDOR}; set HUB_VENDOR_DATA")


def sample(path: Path) -> Payload:
    return Payload(**json.loads(path.read_text()))


def named(name: str) -> Payload:
    return sample(ROOT / f"connectors/aircall/samples/{name}.payload.json")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_normalize_to_the_recorded_events(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    assert [event.model_dump(mode="json") for event in normalized(sample(path))] == recorded


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_unknown_fields_change_nothing(path: Path) -> None:
    payload = sample(path)
    grown = {**payload.data, "added_by_aircall_next_year": {"deep": [1, None]}}
    again = Payload(payload.kind, grown, payload.account, payload.pushed, payload.received, payload.at)
    assert normalized(again) == normalized(payload)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_another_version_of_an_event_tells_the_same(path: Path) -> None:
    payload = sample(path)
    if payload.pushed:
        versions = [replace(payload, kind=f"{payload.kind.removesuffix('.v2')}{version}") for version in ("", ".v2")]
        assert normalized(versions[0]) == normalized(versions[1]) == normalized(payload)


def test_an_unknown_kind_gives_nothing() -> None:
    assert normalized(Payload("fax.sent", {"id": 1}, "example", True, MS)) == []


@pytest.mark.parametrize("data", [None, [], "text", {}, {"id": None}])
def test_what_is_not_an_object_with_an_id_is_refused(data: Any) -> None:
    with pytest.raises(NormalizeError):
        normalized(Payload("call.ended", data, "example", True, MS))


def test_the_life_of_a_call_ends_alike_in_any_order() -> None:
    events = [event for path in SAMPLES if path.name.startswith("call.") for event in normalized(sample(path))]
    events = [event for event in events if event.subject == "aircall/example/call/6190000001"]
    assert len(events) >= 7
    forward, backward = Registers("call"), Registers("call")
    for event in events:
        forward.apply(event)
    for event in reversed(events):
        backward.apply(event)
    assert forward.dump() == backward.dump()
    shown = forward.visible()
    assert shown.get("status") == "answered"
    assert shown.get("talk_seconds") == 192
    assert shown.get("recording")["id"] == "recording/6190000001"


def test_who_passed_a_call_on_is_not_forgotten() -> None:
    registers = Registers("call")
    for name in ("call.transferred", "call.ended"):
        for event in normalized(named(name))[:1]:
            registers.apply(event)
    assert registers.visible().get("transfers")[0]["by"]["name"] == "Maya Lindqvist"


def test_a_read_fills_gaps_and_repairs_what_no_webhook_told() -> None:
    """The hang-up and the tag were missed. What a webhook knows better (the line's number) stays as it was."""
    pushed, read = (named(name) for name in ("call.ringing", "call.read"))
    line = {**pushed.data["number"], "e164_digits": "+12025550198"}
    pushed = Payload("call.created", {**pushed.data, "number": line, "tags": []}, "example", True, MS, pushed.at)
    for order in ((pushed, read), (read, pushed)):
        shown = folded([event for payload in order for event in normalized(payload)])["aircall/example/call/6190000001"]
        assert (shown.get("source_state"), shown.get("talk_seconds"), shown.get("status")) == ("done", 192, "answered")
        assert (shown.get("tags"), shown.get("line")["number"]) == (["delivery"], "+12025550198")


def test_a_call_read_again_is_the_same_event() -> None:
    first = named("call.read")
    later = Payload(first.kind, first.data, first.account, False, first.received + 100_000)
    assert [event.id for event in normalized(first)] == [event.id for event in normalized(later)]


def test_an_anonymous_caller_is_nobody() -> None:
    (event,) = normalized(named("call.anonymous"))
    assert "parties" not in event.data


@pytest.mark.parametrize("digits", ["anonymous", "", "sip:desk@example.com", "client:12"])
def test_what_is_not_a_number_identifies_nobody(digits: str) -> None:
    data = {"id": 1, "direction": "inbound", "started_at": 1, "raw_digits": digits}
    (event,) = normalized(Payload("call.created", data, "example", True, MS, MS))
    assert "parties" not in event.data


def test_links_to_recordings_are_nowhere_in_events() -> None:
    link = "https://media.example.com/1.mp3?signature=x"
    data = {"id": 1, "direction": "inbound", "started_at": 1, "ended_at": 9, "recording": link, "voicemail": link}
    events = normalized(Payload("call.ended", data, "example", True, MS))
    assert events and link not in json.dumps([event.model_dump() for event in events])


async def test_a_backfill_finds_the_whole_opening() -> None:
    async with running(simulator(7, {}), pace=0) as mock, aircall(mock) as http:
        assert await CONNECTOR.account(http, CONFIG) == "example"
        found = {each.name: await pages(http, each.name) for each in CONNECTOR.streams}
        truth = mock.simulator.truth()
    assert {name: len(ids(read)) for name, read in found.items()} == {
        "users": 4,
        "teams": 2,
        "contacts": 9,
        "calls": 18,
        "webhook": 0,
    }
    assert {str(id) for id in ids(found["calls"])} == set(truth["call"])
    events = [event for read in found.values() for page in read for item in page.payloads for event in normalized(item)]
    assert sum(event.type == "person.upserted" for event in events) == 9


async def test_wrong_credentials_are_refused() -> None:
    async with running(simulator(7, {"api_token": "another"}), pace=0) as mock, aircall(mock) as http:
        with pytest.raises(UnauthorizedError):
            await CONNECTOR.account(http, CONFIG)


@pytest.mark.parametrize(("token", "taken"), [(ACCESS_TOKEN, True), ("another", False)])
async def test_an_oauth_apps_token_reads_as_a_key_does(token: str, taken: bool) -> None:
    app = Config(type="aircall", account="example", access_token=token)
    async with running(simulator(7, {}), pace=0) as mock:
        async with plain_http(mock.url, CONNECTOR.auth(app)) as http:
            if taken:
                assert await CONNECTOR.account(http, app) == "example"
            else:
                with pytest.raises(UnauthorizedError):
                    await CONNECTOR.account(http, app)


@pytest.mark.parametrize("name", ["calls", "contacts", "users", "teams"])
async def test_a_poll_that_was_stopped_after_any_page_finds_the_same(name: str) -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock, limit=10_000) as mock, aircall(mock) as http:
        crowd(mock, cycles=60)
        whole = await pages(http, name)
        cursors = [json.dumps(page.cursor) for page in whole]
        assert len(set(cursors)) == len(cursors)
        for stop in range(1, len(whole)):
            head = await pages(http, name, stop=stop)
            # The engine keeps cursors as JSON.
            rest = await pages(http, name, json.loads(json.dumps(head[-1].cursor)))
            assert set(ids(head)) | set(ids(rest)) == set(ids(whole))


@pytest.mark.slow
async def test_more_rows_than_one_query_shows_are_all_found() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock, limit=100_000) as mock, aircall(mock) as http:
        crowd(mock, cycles=3_700)
        found = set(ids(await pages(http, "calls")))
        truth = mock.simulator.truth()["call"]
        whole = await http.get("/v1/calls", page=201, per_page=50)
    assert len(truth) > 11_000
    assert found == {int(id) for id in truth}
    assert whole.data["calls"] == []  # the end that a plain listing would have hit


async def test_later_polls_read_little_and_once_an_hour_two_days() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        cursor = (await pages(http, "calls"))[-1].cursor
        clock.set(MS + 300_000)
        soon = (await pages(http, "calls", cursor))[-1].cursor
        clock.set(MS + 4_000_000)
        await pages(http, "calls", soon)
        asked = list(windows(http))
    assert [to - begin for begin, to in asked[-2:]] == [3_600 + 300, 48 * 3_600 + 3_700]


async def test_a_changed_contact_is_found_by_the_next_poll() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        cursor = (await pages(http, "contacts"))[-1].cursor
        assert len(ids(await pages(http, "contacts", cursor))) < 9
        clock.set(MS + 300_000)
        mock.player.insert("person.upsert", "zoe", {"family": "Berg"})
        changed = await pages(http, "contacts", cursor)
    assert "Berg" in [payload.data["last_name"] for page in changed for payload in page.payloads]


async def test_a_contact_that_changes_between_two_pages_hides_no_other() -> None:
    clock = Clock(MS, rate=0)
    async with running(simulator(7, {}), pace=0, clock=clock) as mock, aircall(mock) as http:
        contacts(mock, 120, step=60)
        found = []
        async for page in stream("contacts")(http, CONFIG, "example", None):
            # Who was on the page moves to the end of the list, and everybody behind moves up.
            clock.set(clock.now() + 1_000)
            for index in range(len(found), len(found) + 5):
                mock.player.insert("person.upsert", f"extra{index}", {"family": "Changed"})
            found.append(page)
        assert {str(id) for id in ids(found)} == set(mock.simulator.truth()["contact"])


async def test_more_contacts_of_one_second_than_a_page_holds_are_all_found() -> None:
    async with running(simulator(7, {}), pace=0, clock=Clock(MS, rate=0)) as mock, aircall(mock) as http:
        contacts(mock, 170, step=0)
        found = ids(await pages(http, "contacts"))
        assert {str(id) for id in found} == set(mock.simulator.truth()["contact"])


def windows(http: PlainHttp) -> Iterator[tuple[int, int]]:
    for path, params in http.asked:
        if path == "/v1/calls" and params["page"] == 1:
            yield int(params["from"]), int(params["to"])
