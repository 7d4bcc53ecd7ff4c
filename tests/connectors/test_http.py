"""Sources declared in YAML: Guru and Aircall once more, with the events of the coded connectors."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core import conformance, registry
from core.config import declared
from core.sdk import Connector, Delivery, Hint, Payload, SignatureError, Split
from core.sdk.mock import Clock, Mock, Push, running
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.yaml"))
NAMES = [path.stem for path in EXAMPLES]
NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
# What the examples say that they leave out.
LEFT_OUT = {"aircall": ("ai_voice_agent.", "message.", "summary.", "transcription.", "call.missing.",
                        "contact.missing.", "user.missing.", "team.missing.")}  # fmt: skip
SAMPLES = [
    path
    for name in NAMES
    for path in sorted((ROOT / "connectors" / name / "samples").glob("*.payload.json"))
    if not path.name.startswith(LEFT_OUT.get(name, ()))
]


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
            if push.kind.startswith(LEFT_OUT.get(name, "-")):
                continue
            delivery = sent(simulator, push)
            forged = sent(simulator, replace(push, forged=True))
            assert not proved(one.connector, one.settings, forged)
            assert proved(one.connector, one.settings, delivery) == proved(other, settings, delivery)
            if not proved(other, settings, delivery):
                continue
            got, wanted = split(one.connector, one.settings, delivery), split(other, settings, delivery)
            assert events(one.connector, got.payloads) == events(other, wanted.payloads)
            assert (got.hints, got.ignored) == (wanted.hints, wanted.ignored)
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
    body = connector.webhook.cut(json.loads(delivery.body))
    return connector.webhook.split(body, delivery, settings, "example", BEGIN)


async def fetched(connector: Connector[Any], settings: Any, http: PlainHttp, hints: Sequence[Hint]) -> list[Any]:
    if not hints:
        return []
    assert connector.hydrate is not None
    payloads = [payload async for payload in connector.hydrate(http, settings, "example", hints)]
    return in_order(events(connector, payloads))


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
