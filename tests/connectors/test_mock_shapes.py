"""A demo's first minutes tell of no changed payloads: samples know what their own mock says."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from core import registry
from core.conformance.bench import bench
from core.conformance.simulated import simulated
from core.conformance.story import PAUSE, played
from core.conformance.subject import Subject
from core.ingest.shapes import Learner
from core.sdk import Payload


def _listed(name: str) -> bool:
    """Push aside: its items are checked against the published schema, and their sender is told."""
    connector = registry.load(name)
    return connector.mock and not (connector.webhook and connector.webhook.tells)


MOCKED = [name for name in (*registry.names(), *registry.templates()) if _listed(name)]


@pytest.mark.parametrize("name", MOCKED)
def test_samples_know_every_field_that_the_mock_tells(name: str) -> None:
    known: dict[str, Learner] = {}
    for path in sorted((registry.folder(name) / "samples").glob("*.payload.json")):
        sample = orjson.loads(path.read_bytes())
        known.setdefault(_kind(sample["kind"], sample.get("pushed", False)), Learner()).learn(sample["data"])
    news: dict[str, set[str]] = {}
    for payload in simulated(lambda: _told(name)):
        kind = _kind(payload.kind, payload.pushed)
        if kind in known:
            news.setdefault(kind, set()).update(each.sentence for each in known[kind].learn(payload.data))
    assert {kind: sorted(told) for kind, told in news.items() if told} == {}


async def _told(name: str) -> list[Payload]:
    """Everything that the story's first minutes bring, by webhook, by the fetches that they cause, and by polls."""
    seen: list[Payload] = []
    connector = registry.load(name)

    def normalize(payload: Payload) -> Any:
        seen.append(payload)
        return connector.normalize(payload)

    subject = Subject(replace(connector, normalize=normalize), registry.folder(name), registry.mock(name), {})
    async with bench(subject) as each:
        async with each.ingesting():
            await each.polled()
        queued = [one for _ in range(3) for one in played(each)]
        async with each.ingesting():
            await each.send(queued)
            await each.settled()
        each.later(PAUSE)
        async with each.ingesting():
            await each.polled()
    return seen


def _kind(kind: str, pushed: bool) -> str:
    return f"{kind} pushed" if pushed else kind
