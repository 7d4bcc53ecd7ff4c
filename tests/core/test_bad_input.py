"""What sources send that they should not: each line of docs/bad-input.md, through the hub's own doors."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from connectors.aircall import CONNECTOR as AIRCALL
from core import registry
from core.bus import Bus
from core.bus.embedded import open_embedded
from core.errors import NormalizeError
from core.identity.identifiers import canonical
from core.identity.model import Rules
from core.sdk import Payload, from_iso, from_ms, from_seconds, plain
from tests.bad_input.cases import ANSWERS, FIELDS, PUSHED, Case, table
from tests.ingesting import Hub, running, until
from tests.source import Source, connection, serving

ROOT = Path(__file__).parents[2]
TIMES: dict[str, Callable[[Any], str | None]] = {"seconds": from_seconds, "milliseconds": from_ms, "iso": from_iso}
_LOSES = {"attributes", "reopened_count", "attachments"}  # custom fields, counts and sizes


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        yield bus


def test_the_page_shows_these_cases() -> None:
    assert (ROOT / "docs" / "bad-input.md").read_text() == table(), "write tests.bad_input.cases.table() there"


def named(cases: tuple[Case, ...], outcome: str) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases if outcome in case.outcome and case.sample[0] != "("]


def served(body: bytes, kind: str = "application/json") -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(body=body, content_type=kind)


@pytest.mark.parametrize(
    ("case", "state"),
    [
        *(pytest.param(*each.values, "down", id=str(each.id)) for each in named(ANSWERS, "`down`")),
        *(pytest.param(*each.values, "throttled", id=str(each.id)) for each in named(ANSWERS, "`throttled`")),
        *(pytest.param(*each.values, "unauthorized", id=str(each.id)) for each in named(ANSWERS, "`unauthorized`")),
    ],
)
async def test_an_answer_that_is_none_is_told_and_asked_for_again(bus: Bus, case: Case, state: str) -> None:
    async with serving(Source()) as source:
        source.person(1)
        source.broken = served(case.body())
        with capture_logs() as lines:
            async with running(bus, connection(base_url=source.url, account="acme")) as hub:
                await until(lambda: hub.documents.get("desk", {}).get("state") == state)
                assert hub.documents["desk"]["remedy"]
                assert await hub.cursor() is None, "nothing was skipped"
                source.broken = None
                await until(hub.people)
                await until(lambda: hub.documents["desk"]["state"] is None)
                assert not await hub.letters()
        assert "dana" not in str([line for line in lines if line["log_level"] == "warning"])


async def test_a_redirect_to_another_host_is_not_followed(bus: Bus) -> None:
    async with serving(Source()) as source, serving(Source()) as other:
        source.person(1)
        source.broken = lambda _: web.Response(status=302, headers={"Location": other.url + "/people"})
        async with running(bus, connection(base_url=source.url, account="acme")) as hub:
            await until(lambda: hub.documents.get("desk", {}).get("state") == "misconfigured")
            source.broken = None
            await until(hub.people)
        assert not other.requests


async def test_a_large_page_is_taken_and_an_object_too_large_for_the_bus_spares_the_others(bus: Bus) -> None:
    async with serving(Source(page=1_100)) as source:
        for number in range(1_000):
            source.person(number, attributes={"about": "x" * 10_000})
        source.person(1_000, attributes={"about": "x" * 9_000_000})
        source.person(1_001)
        async with running(bus, connection(base_url=source.url, account="acme")) as hub:
            await until(hub.letters, 60.0)
            assert len(await hub.people()) == 1_001
            [letter] = await hub.letters()
            assert "bytes" in letter.reason and b"sha256" in letter.payload
            await until(lambda: hub.complete())


async def test_an_answer_without_end_is_not_read_further(bus: Bus) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b" " * 4_000_000)
        except ConnectionError:
            return answer

    async with serving(Source()) as source:
        source.person(1)
        source.failing = [endless]
        async with running(bus, connection(base_url=source.url, account="acme")) as hub:
            await until(lambda: hub.documents.get("desk", {}).get("state") == "misconfigured", 60.0)
            await until(hub.people)


@pytest.mark.parametrize("case", named(ANSWERS, "taken"))
async def test_an_answer_in_another_encoding_is_taken(bus: Bus, case: Case) -> None:
    async with serving(Source()) as source:
        source.broken = served(case.body())
        async with running(bus, connection(base_url=source.url, account="acme")) as hub:
            await until(hub.people)
            [event, *_] = await hub.events()
            assert event.data["display_name"] in ("Zo\N{REPLACEMENT CHARACTER} Reyes", "Dana Reyes")
            assert not await hub.letters()


@pytest.mark.parametrize("case", named(PUSHED, "dead letter"))
async def test_a_delivery_that_is_none_is_a_dead_letter(bus: Bus, case: Case) -> None:
    async with serving(Source()) as source, running(bus, connection(base_url=source.url, account="acme")) as hub:
        assert await hub.post(case.body()) == 202
        [letter] = await hub.letters()
        assert letter.reason and orjson.loads(letter.payload)["form"] == ("body" if "body" in case.outcome else "bytes")


@pytest.mark.parametrize("case", named(PUSHED, "; taken"))
async def test_a_delivery_in_another_encoding_is_taken(bus: Bus, case: Case) -> None:
    async with serving(Source()) as source, running(bus, connection(base_url=source.url, account="acme")) as hub:
        assert await hub.post(case.body()) == 202
        [event] = await hub.events()
        assert event.data["display_name"] == "Zo\N{REPLACEMENT CHARACTER} Reyes"


async def test_a_delivery_above_the_limit_is_refused_with_its_remedy_and_a_sweep_brings_what_it_told(bus: Bus) -> None:
    async with serving(Source()) as source:
        source.person(1)
        swept = connection(base_url=source.url, account="acme", max_body=50_000, poll_every=timedelta(seconds=0.5))
        async with running(bus, swept) as hub:
            await until(hub.people)
            assert await hub.post({"items": [source.person(2, attributes={"about": "x" * 50_000})]}) == 413
            await until(lambda: hub.documents["desk"]["refused"])
            assert hub.documents["desk"]["refused"] == {"the body is too large": 1}
            assert hub.documents["desk"]["last_refusal"] == "the body is too large: more than 50,000 bytes"
            remedy = "raise connections.desk.max_body; what it told of comes with the next sweep"
            assert hub.documents["desk"]["refusal_remedy"] == remedy
            await until(lambda: hub.has(2))
            assert (await hub.origins())["2"][0][0] == "sweep" and not await hub.letters()


@pytest.mark.parametrize("name", ["aircall", "guru", "hubspot", "intercom"])
def test_numbers_as_text_lose_nothing(name: str) -> None:
    connector = registry.load(name)
    for path in sorted((ROOT / "connectors" / name / "samples").glob("*.payload.json")):
        sample = orjson.loads(path.read_bytes())
        usual = list(connector.normalize(Payload(**sample)))
        texts = list(connector.normalize(Payload(**{**sample, "data": _texts(sample["data"])})))
        assert [_core(event) for event in texts] == [_core(event) for event in usual], path.name


def test_times_in_every_format_are_one() -> None:
    for form, given in orjson.loads(_sample("times.json")).items():
        assert {TIMES[form](value) for value in given} == {"2026-01-07T09:15:00.000Z"}, form


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.0", "", None])
def test_no_seconds_are_how_sources_write_never(value: float | str | None) -> None:
    assert from_seconds(value) is None


def test_times_that_are_none_are_refused() -> None:
    for form, given in orjson.loads(_sample("no-times.json")).items():
        for value in given:
            with pytest.raises(NormalizeError):
                TIMES[form](value)


async def test_a_payload_whose_time_is_none_spares_the_others(bus: Bus) -> None:
    async with serving(Source()) as source:
        source.person(1, updated="soon")
        source.person(2)
        async with running(bus, connection(base_url=source.url, account="acme")) as hub:
            await until(hub.letters)
            assert await until(hub.people) == {"2"}


def test_what_is_no_phone_number_identifies_nobody() -> None:
    call = orjson.loads((ROOT / "connectors/aircall/samples/call.anonymous.payload.json").read_bytes())
    for digits in orjson.loads(_sample("no-phones.json")):
        assert canonical("phone", digits, Rules()) is None, digits
        call["data"]["raw_digits"] = digits
        for event in AIRCALL.normalize(Payload(**call)):
            for party in (event.data or {}).get("parties") or ():
                found = (party.get("identifier") or {}).get("value")
                assert found is None or canonical("phone", found, Rules()) is None, digits


def test_markup_becomes_plain_text() -> None:
    for given, text in orjson.loads(_sample("html.json")):
        assert plain(given) == text


async def _complete(hub: Hub) -> bool:
    saved = await hub.cursor()
    return bool(saved and saved["complete_up_to"])


def _sample(name: str) -> bytes:
    [case] = [case for case in FIELDS if case.sample == name]
    return case.body()


def _texts(value: Any) -> Any:
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            return str(value)
        case dict():
            return {name: _texts(each) for name, each in value.items()}
    return [_texts(each) for each in value]


def _core(event: Any) -> tuple[Any, ...]:
    data = {name: value for name, value in (event.data or {}).items() if name not in _LOSES}
    return event.subject, event.type, data
