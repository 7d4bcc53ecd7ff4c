"""A mistake in one connector's code is that connection's alone: whatever it raises, the others go on."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.bus.embedded import open_embedded
from core.config.model import Connection
from core.sdk import Connector, Listing, Payload, Stream
from tests.ingesting import Hub, Knows, named, running, until
from tests.source import CONNECTOR, Config, Source, serving

CANARY = "canary-of-somebody"


def fails(*_: Any, **__: Any) -> Any:
    raise RuntimeError(CANARY)


async def fails_later(*_: Any) -> AsyncIterator[Any]:
    fails()
    yield


async def gives_nothing(*_: Any) -> AsyncIterator[Any]:
    yield None


async def gives_what_is_no_json(http: Any, config: Any, account: str, hints: Any) -> AsyncIterator[Payload]:
    yield Payload("person", {"id": {1, 2}}, account, False, 1)


class Odd(Exception):
    """It cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError(CANARY)


def fails_oddly(*_: Any) -> Any:
    raise Odd


async def names_a_set(*_: Any) -> Any:
    return {4711}


HOOK = CONNECTOR.webhook
assert HOOK is not None
EVERY = timedelta(hours=1)
BROKEN: dict[str, Callable[[], Connector[Any]]] = {
    "account": lambda: replace(CONNECTOR, account=fails),
    "account is no text": lambda: replace(CONNECTOR, account=names_a_set),
    "auth": lambda: replace(CONNECTOR, auth=fails),
    "base_url": lambda: replace(CONNECTOR, base_url=fails),
    "cut": lambda: replace(CONNECTOR, webhook=replace(HOOK, cut=fails)),
    "needs": lambda: replace(CONNECTOR, webhook=replace(HOOK, needs="nowhere")),
    "hydrate": lambda: replace(CONNECTOR, hydrate=fails_later),
    "hydrate at once": lambda: replace(CONNECTOR, hydrate=fails),
    "hydrate gives nothing": lambda: replace(CONNECTOR, hydrate=gives_nothing),
    "hydrate gives what is no JSON": lambda: replace(CONNECTOR, hydrate=gives_what_is_no_json),
    "listing": lambda: replace(CONNECTOR, listings=(Listing("person", fails_later, every=EVERY),)),
    "normalize": lambda: replace(CONNECTOR, normalize=fails),
    "normalize tells nothing": lambda: replace(CONNECTOR, normalize=fails_oddly),
    "oauth": lambda: replace(CONNECTOR, oauth=fails),
    "parse": lambda: replace(CONNECTOR, webhook=replace(HOOK, parse=fails)),
    "poll": lambda: replace(CONNECTOR, streams=(Stream("people", fails_later),)),
    "poll gives nothing": lambda: replace(CONNECTOR, streams=(Stream("people", gives_nothing),)),
    "poll tells nothing": lambda: replace(CONNECTOR, streams=(Stream("people", fails_oddly),)),
    "quota": lambda: replace(CONNECTOR, quota=fails),
    "split": lambda: replace(CONNECTOR, webhook=replace(HOOK, split=fails)),
    "split gives nothing": lambda: replace(CONNECTOR, webhook=replace(HOOK, split=lambda *_: None)),
    "verify": lambda: replace(CONNECTOR, webhook=replace(HOOK, verify=fails)),
}


@pytest.mark.parametrize("place", BROKEN)
async def test_a_mistake_in_one_connector_touches_no_other_connection(tmp_path: Path, place: str) -> None:
    source = Source()
    source.person(1)
    async with serving(source), open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        account = {} if place.startswith("account") else {"account": "ours"}
        bad = Connection("bad", BROKEN[place](), Config(type="desk", base_url=source.url, **account))
        good = Connection("good", CONNECTOR, Config(type="desk", base_url=source.url, account="acme"))
        async with running(bus, bad, good, known=Knows(1)) as hub:
            for number in range(3):
                await hub.post(_person(10 + number), "bad")
                await hub.post(named(1), "bad")
            await until(lambda: hub.documents.get("good", {}).get("streams"), 20)
            source.person(2)
            assert await hub.post(_person(20), "good") == 202
            assert await hub.post(named(2), "good") == 202
            await until(lambda: _has(hub, {"1", "2", "20"}), 20)
            await until(lambda: hub.documents["good"]["hydrated"], 20)
            assert hub.task is not None and not hub.task.done()
            assert hub.documents["good"]["error"] is None
            assert "bad" in hub.documents, "the broken one is shown, too"


async def test_what_a_split_without_an_answer_was_given_is_kept_as_a_dead_letter(tmp_path: Path) -> None:
    source = Source()
    async with serving(source), open_embedded(tmp_path / "bus.db", disk_cap=10**9) as bus:
        bad = Connection("bad", BROKEN["split gives nothing"](), Config(type="desk", base_url=source.url, account="a"))
        async with running(bus, bad) as hub:
            assert await hub.post(_person(1), "bad") == 202
            [letter] = await hub.letters()
            assert "split gave NoneType instead of a Split" in letter.reason


async def _has(hub: Hub, ids: set[str]) -> bool:
    return ids <= {each.subject.rpartition("/")[2] for each in await hub.events() if each.connection == "good"}


def _person(id: int) -> dict[str, Any]:
    return {"items": [{"kind": "person", "id": id, "name": "Dana Reyes", "updated": 5}]}
