"""Sources declared in YAML: Guru and Aircall once more, with the events of the coded connectors."""

import copy
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core import conformance, registry
from core.config import declared
from core.errors import NormalizeError
from core.sdk import Connector, Delivery, Hint, Listing, Payload, SignatureError, Split
from core.sdk.mock import Clock, Mock, Push, running
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.yaml"))
NAMES = [path.stem for path in EXAMPLES]
NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
SAMPLES = [path for name in NAMES for path in sorted((ROOT / "connectors" / name / "samples").glob("*.payload.json"))]


def example(name: str) -> Any:
    return declared(ROOT / "deploy/examples" / f"{name}.yaml")


def coded(name: str, **settings: Any) -> tuple[Connector[Any], Any]:
    connector = registry.load(name)
    demo = {"account": "example", **registry.mock(name).DEMO}
    return connector, connector.config.model_validate({"type": name, **demo, **settings})


def events(connector: Connector[Any], payloads: Iterable[Payload]) -> list[dict[str, Any]]:
    return [event.model_dump(mode="json") for payload in payloads for event in connector.normalize(payload)]


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda event: (event["subject"], event["id"]))


# The same events


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_declared_source_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 120


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parts[-3]}-{path.name.split('.payload')[0]}")
def test_samples_give_the_recorded_events_of_the_coded_connector(path: Path) -> None:
    recorded = json.loads(path.with_name(path.name.replace(".payload.", ".events.")).read_text())
    payload = Payload(**json.loads(path.read_text()))
    assert events(example(path.parts[-3]).connector, [payload]) == recorded


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parts[-3]}-{path.name.split('.payload')[0]}")
def test_a_payload_that_lacks_something_gives_what_the_coded_connector_makes_of_it(path: Path) -> None:
    """Every member of every sample is left out, is null, or is empty; what one refuses the other refuses."""
    name, payload = path.parts[-3], Payload(**json.loads(path.read_text()))
    one, other = example(name).connector, registry.load(name)
    for member in members(payload.data):
        for change in ("left out", None, ""):
            changed = replace(payload, data=without(payload.data, member, change))
            assert told(one, changed) == told(other, changed), f"{member} {change!r}"


def told(connector: Connector[Any], payload: Payload) -> Any:
    try:
        return events(connector, [payload])
    except NormalizeError:
        return "refused"


def members(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all members, of lists those of the first item."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for name, each in inner:
        if isinstance(value, dict):
            yield (*place, name)
        yield from members(each, (*place, name))


def without(data: Any, place: tuple[Any, ...], change: str | None) -> Any:
    changed = inside = copy.deepcopy(data)
    for each in place[:-1]:
        inside = inside[each]
    inside[place[-1]] = change
    if change == "left out":
        del inside[place[-1]]
    return changed


@pytest.mark.parametrize("field", ["participants", "conference_participants"])
def test_nobody_joins_a_call_twice_as_with_the_coded_connector(field: str) -> None:
    sample = json.loads((ROOT / "connectors/aircall/samples/call.ended.payload.json").read_text())
    caller, digits = sample["data"]["contact"]["id"], sample["data"]["raw_digits"]
    joined = [
        {"type": "contact", "id": str(caller)}, {"type": "contact", "id": "9", "phone_number": digits},
        {"type": "contact", "id": "8", "name": "Dana"}, {"type": "contact", "phone_number": "+44 20 7946 0045"},
        *[{"type": "external", "phone_number": "+44 20 7946 0044"}] * 2, {"type": "user", "id": "1"}, "odd", {},
    ]  # fmt: skip
    payload = Payload(**{**sample, "data": {**sample["data"], "participants": [], field: joined}})
    found = told(example("aircall").connector, payload)
    assert found == told(registry.load("aircall"), payload)
    assert [party["role"] for party in found[0]["data"]["parties"]] == ["caller", *["collaborator"] * 3]


# By sample, the events whose object it may be: those of the source's list, and some that it may add one day.
NAMED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("call.ringing", "call.ended"), (
        "created", "ringing_on_agent", "agent_declined", "answered", "transferred", "external_transferred", "hungup",
        "unsuccessful_transfer", "ended", "hold", "unhold", "ivr_option_selected", "comm_assets_generated", "archived",
        "voicemail_left", "assigned", "tagged", "untagged", "commented", "deleted", "deleted_tag", "missing",
    )),
    "contact.updated": ("created", "updated", "deleted", "deleted_note"),
    "user.created": ("created", "deleted", "connected", "disconnected", "opened", "closed", "wut_start", "wut_end"),
    "message.received": ("sent", "received", "status_updated", "updated", "deleted"),
    "ai_voice_agent.ended": ("started", "ended", "escalated", "summary", "ended_early"),
    "team.read": ("created", "deleted"), "summary.read": ("created",),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("version", ["", ".v2", ".v10"])
def test_events_of_every_name_are_taken_and_understood_as_by_the_coded_connector(name: str, version: str) -> None:
    one, (other, settings), taken = example("aircall"), coded("aircall"), 0
    data = json.loads((ROOT / f"connectors/aircall/samples/{name}.payload.json").read_text())["data"]
    for what in NAMED[name]:
        event = f"{name.partition('.')[0]}.{what}{version}"
        written = json.dumps({"event": event, "timestamp": BEGIN // 1000, "token": "t", "data": data}).encode()
        delivery = Delivery("POST", "", {}, written)
        got, wanted = split(one.connector, one.settings, delivery), split(other, settings, delivery)
        assert (got.hints, got.ignored) == (wanted.hints, wanted.ignored), event
        assert events(one.connector, got.payloads) == events(other, wanted.payloads), event
        taken += len(wanted.payloads)
    assert bool(taken) == (name not in ("team.read", "summary.read"))


@pytest.mark.parametrize("reason", ["_", "__", " ", "caller__hung_up", "_disconnected", "escalated", "escalated_"])
@pytest.mark.parametrize("event", ["ended", "ended.v2", "escalated", "escalated.v2"])
def test_a_talk_that_ended_for_an_odd_reason_is_that_of_the_coded_connector(event: str, reason: str) -> None:
    sample = json.loads((ROOT / "connectors/aircall/samples/ai_voice_agent.ended.payload.json").read_text())
    data = {**sample["data"], "call_end_reason": reason}
    payload = Payload(**{**sample, "kind": f"ai_voice_agent.{event}", "data": data})
    assert told(example("aircall").connector, payload) == told(registry.load("aircall"), payload) != "refused"


STATES: dict[str, dict[str, Any]] = {
    "rings": {"status": "initial", "answered_at": None, "ended_at": None},
    "is answered": {"status": "answered", "ended_at": None},
    "ended": {},
    "was missed": {"answered_at": None, "missed_call_reason": "agents_did_not_answer"},
    "left a voicemail": {"answered_at": None, "voicemail": "https://media.example.com/1.mp3"},
    "was not connected": {"answered_at": None, "direction": "outbound"},
    "is done without an end": {"answered_at": None, "ended_at": None},
}


@pytest.mark.parametrize("later", [0, 3_600_000, 86_400_000], ids=["at once", "after an hour", "after a day"])
@pytest.mark.parametrize("state", STATES)
def test_a_call_that_is_read_gives_the_events_of_the_coded_connector(state: str, later: int) -> None:
    one, other = example("aircall").connector, registry.load("aircall")
    sample = json.loads((ROOT / "connectors/aircall/samples/call.read.payload.json").read_text())
    sample |= {"received": sample["received"] + later}
    jonas = {"id": 481202, "name": "Jonas Petrov"}
    for who in ({}, {"user": None}, {"assigned_to": jonas}, {"user": None, "assigned_to": jonas}):
        for moments in ({}, {"comments": [], "tags": []}, {"comments": [], "tags": [], "ivr_options_selected": []}):
            payload = Payload(**{**sample, "data": {**sample["data"], **STATES[state], **who, **moments}})
            assert told(one, payload) == told(other, payload) != "refused", (who, moments)


async def test_calls_that_are_asked_for_by_their_ids_give_the_events_of_the_coded_connector() -> None:
    one, (other, settings) = example("aircall"), coded("aircall")
    async with source("aircall") as (mock, simulator, http):
        mock.player.step(600)
        hints = [Hint("call", id, BEGIN) for id in simulator.truth()["call"]]
        got = await fetched(one.connector, one.settings, http, hints)
        assert got == await fetched(other, settings, http, hints)
    assert any(event["data"].get("attributes") for event in got)


def test_what_callers_said_to_a_voice_agent_does_not_enter_the_hub() -> None:
    connection, sample = example("aircall"), ROOT / "connectors/aircall/samples/ai_voice_agent.ended.payload.json"
    talk = json.loads(sample.read_text())["data"] | {"extracted_data": {"order": "1042"}}
    heard = {"event": "ai_voice_agent.ended", "timestamp": 1768200030, "token": "t", "data": talk}
    (payload,) = split(
        connection.connector, connection.settings, Delivery("POST", "", {}, json.dumps(heard).encode())
    ).payloads
    assert payload.data["ai_voice_agent_name"] and "1042" not in repr(payload)


@asynccontextmanager
async def source(name: str) -> AsyncIterator[tuple[Mock, Any, PlainHttp]]:
    """The coded connector's mock after some weeks of its story, its clock at rest; a client with the declared
    credentials."""
    clock, simulator = Clock(BEGIN, rate=0), registry.mock(name).simulator(7, dict(registry.mock(name).DEMO))
    if hasattr(simulator, "page_size"):
        simulator.page_size = 5
    connection = example(name)
    async with running(simulator, pace=0, clock=clock, limit=1_000_000) as mock:
        async with plain_http(mock.url, connection.connector.auth(connection.settings), now_ms=clock.now) as http:
            yield mock, simulator, http


async def polled(connector: Connector[Any], settings: Any, http: PlainHttp) -> dict[str, list[Payload]]:
    return {
        stream.name: [each async for page in stream.poll(http, settings, "example", None) for each in page.payloads]
        for stream in connector.streams
    }


@pytest.mark.parametrize("name", NAMES)
async def test_polls_bring_the_events_of_the_coded_connector(name: str) -> None:
    one, (other, settings) = example(name), coded(name)
    async with source(name) as (mock, _, http):
        mock.player.step(600)
        got, wanted = await polled(one.connector, one.settings, http), await polled(other, settings, http)
    assert set(got) == {stream for stream, payloads in wanted.items() if payloads}
    for stream, payloads in wanted.items():
        assert in_order(events(one.connector, got.get(stream, []))) == in_order(events(other, payloads)), stream


@pytest.mark.parametrize("name", NAMES)
async def test_deliveries_bring_the_events_of_the_coded_connector(name: str) -> None:
    """Every delivery of some weeks: accepted or refused alike, the same events, and the same after fetching."""
    one, (other, settings) = example(name), coded(name)
    async with source(name) as (mock, simulator, http):
        taken = 0
        for _, push in mock.player.step(600):
            delivery = sent(simulator, push)
            forged = sent(simulator, replace(push, forged=True))
            assert not proved(one.connector, one.settings, forged)
            assert proved(one.connector, one.settings, delivery) == proved(other, settings, delivery)
            if not proved(other, settings, delivery):
                continue
            got, wanted = split(one.connector, one.settings, delivery), split(other, settings, delivery)
            assert events(one.connector, got.payloads) == events(other, wanted.payloads)
            assert (got.hints, got.ignored, got.due) == (wanted.hints, wanted.ignored, wanted.due)
            found = await fetched(one.connector, one.settings, http, wanted.hints)
            assert found == await fetched(other, settings, http, wanted.hints)
            taken += len(wanted.payloads) + len(found)
    assert taken > 30


def sent(simulator: Any, push: Push) -> Delivery:
    url, headers, body = simulator.sign(push, f"https://hooks.example.com/hooks/{simulator.name}", NOW)
    secret = url.split("/hooks/")[1].partition("/")[2]
    return Delivery("POST", url, {key.lower(): value for key, value in headers.items()}, body, path_secret=secret)


def proved(connector: Connector[Any], settings: Any, delivery: Delivery) -> bool:
    assert connector.webhook is not None
    try:
        connector.webhook.verify(delivery, settings, NOW)
    except SignatureError:
        return False
    return True


def split(connector: Connector[Any], settings: Any, delivery: Delivery) -> Split:
    assert connector.webhook is not None
    return connector.webhook.split(connector.webhook.cut(body(delivery)), delivery, settings, "example", BEGIN)


async def fetched(connector: Connector[Any], settings: Any, http: PlainHttp, hints: Sequence[Hint]) -> list[Any]:
    if not hints:
        return []
    assert connector.hydrate is not None
    payloads = [payload async for payload in connector.hydrate(http, settings, "example", hints)]
    return in_order(events(connector, payloads))


@pytest.mark.parametrize("name", NAMES)
async def test_listings_name_what_those_of_the_coded_connector_name_as_often(name: str) -> None:
    one, (other, settings) = example(name), coded(name)
    async with source(name) as (mock, _, http):
        mock.player.step(600)
        got = {each.kind: await listed(each, one.settings, http) for each in one.connector.listings}
        wanted = {each.kind: await listed(each, settings, http) for each in other.listings}
    assert got == wanted and all(ids for *_, ids in got.values())


async def listed(listing: Listing[Any], settings: Any, http: PlainHttp) -> tuple[Any, bool, set[str]]:
    ids = {id async for page in listing.ids(http, settings, "example", None) for id in page.ids}
    return listing.every, listing.pull_only, ids


@pytest.mark.parametrize("name", NAMES)
async def test_a_listing_behind_its_end_begins_anew_and_reads_what_is_old(name: str) -> None:
    connection = example(name)
    async with source(name) as (mock, _, http):
        mock.player.step(600)
        for listing in connection.connector.listings:
            pages = [page async for page in listing.ids(http, connection.settings, "example", None)]
            for index, page in enumerate(pages):
                cursor = json.loads(json.dumps(page.cursor))
                rest = [each async for each in listing.ids(http, connection.settings, "example", cursor)]
                kept = pages[: index + 1] if page is not pages[-1] else []
                assert {id for each in [*kept, *rest] for id in each.ids} == {id for each in pages for id in each.ids}


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_listing_lacks_gives_the_events_of_the_coded_connector(name: str) -> None:
    one, (other, settings) = example(name), coded(name)
    hints = [Hint(listing.kind, "999", BEGIN - 5_000, "missing") for listing in other.listings]
    async with source(name) as (_, _, http):
        gone = await fetched(one.connector, one.settings, http, hints)
        assert gone == await fetched(other, settings, http, hints)
    assert [event["type"].partition(".")[2] for event in gone] == ["deleted"] * len(hints)


@pytest.mark.parametrize("what", ["summary", "transcription"])
async def test_what_an_ai_wrote_about_a_call_is_fetched_once_events_names_it(what: str, tmp_path: Path) -> None:
    file = tmp_path / "aircall.yaml"
    written = (ROOT / "deploy/examples/aircall.yaml").read_text()
    file.write_text(written.replace("events: [call,", "events: [summary, transcription, call,"))
    without, allowed = example("aircall"), declared(file)
    other, settings = coded("aircall", insights=["summary", "transcription"])
    async with source("aircall") as (mock, simulator, http):
        id = mock.player.insert("call.insight", "c:16", {"what": what, "text": "The bag <b>never</b> arrived."})
        delivery = sent(simulator, id[0][1])
        assert split(without.connector, without.settings, delivery).ignored == (f"{what}.created",)
        named = split(allowed.connector, allowed.settings, delivery)
        assert "bag" not in repr((named, without.connector.webhook and without.connector.webhook.cut(body(delivery))))
        got = await fetched(allowed.connector, allowed.settings, http, named.hints)
        hints = split(other, settings, delivery).hints
        assert got == await fetched(other, settings, http, hints) and len(got) == 1
        none = [replace(hint, id="999") for hint in named.hints]
        assert await fetched(allowed.connector, allowed.settings, http, none) == []


def body(delivery: Delivery) -> Any:
    return json.loads(delivery.body)


@pytest.mark.parametrize("name", NAMES)
async def test_a_poll_that_was_cut_short_goes_on_after_any_page(name: str) -> None:
    connection = example(name)
    async with source(name) as (mock, _, http):
        mock.player.step(600)
        for stream in connection.connector.streams:
            pages = [page async for page in stream.poll(http, connection.settings, "example", None)]
            whole = events(connection.connector, (payload for page in pages for payload in page.payloads))
            for index, page in enumerate(pages[:-1]):
                cursor = json.loads(json.dumps(page.cursor))
                rest = [each async for each in stream.poll(http, connection.settings, "example", cursor)]
                again = [payload for each in [*pages[: index + 1], *rest] for payload in each.payloads]
                assert in_order(events(connection.connector, again)) == in_order(whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_a_declared_source_keeps_every_check(name: str) -> None:
    report = await conformance.examine(str(ROOT / "deploy/examples" / f"{name}.yaml"))
    assert {each.check: each.reason for each in report.failures} == {}
    assert report.stability == "beta"
