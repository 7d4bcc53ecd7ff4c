"""What webhooks only named is fetched: from a source that fails, after restarts, and never lost."""

import asyncio
from functools import partial
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from core import deadletter
from core.bus import Bus, Message
from core.bus.codec import connection_headers
from core.bus.topics import HINTS
from tests.ingesting import desk, hints_done, hydrating, named, running, status, until
from tests.source import Source, serving


async def test_what_a_webhook_named_is_fetched_whole(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source), lag=1_000_000) as hub:
        for number in range(25):
            source.person(number)
        assert await hub.post(named(*range(25))) == 202
        await until(lambda: hub.has(25))
        assert all(event.order[1] == 1 for event in await hub.events()), "they were read"
        assert max(len(body["ids"]) for body in source.bodies if body) == 10, "in the connector's batches"


async def test_a_fetch_soon_after_the_change_is_repeated_and_finds_what_it_missed(bus: Bus, source: Source) -> None:
    stale = source.person(1, name="Old")
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: "/batch" in source.paths)
        stale["name"], stale["updated"] = "New", stale["updated"] + 1_000
        await until(lambda: hub.shows("New"))
        await asyncio.sleep(1.0)
        assert source.paths.count("/batch") == 2, "once, not for ever"


async def test_a_source_that_is_down_delays_its_own_hints_only_and_loses_none(any_bus: Bus, source: Source) -> None:
    async with serving(Source("other")) as dead:
        dead.broken = status(500)
        down = desk(dead, "down", account="other")
        async with running(any_bus, desk(source), down, lag=1_000_000) as hub:
            with capture_logs() as lines:
                for number in range(5):
                    source.person(number)
                    dead.person(number)
                assert await hub.post(named(*range(5)), "down") == 202
                assert await hub.post(named(*range(5))) == 202
                await until(lambda: hub.has(5, "desk/acme/"))
                await until(lambda: hub.documents.get("down", {}).get("error"))
                assert hub.documents["desk"]["error"] is None
                dead.broken = None
                await until(lambda: hub.has(5, "desk/other/"))
                await until(lambda: hub.documents["down"]["error"] is None)
        said = [line["event"] for line in lines if line.get("connection") == "down"]
        assert said == ["source unavailable", "source is back"]
        assert not await hub.letters()


@pytest.mark.parametrize("answer", [status(429), status(429, Retry_After="0"), status(503), status(401), status(403)])
async def test_a_fetch_that_was_refused_for_a_while_comes_in_the_end(bus: Bus, source: Source, answer: Any) -> None:
    source.broken = answer
    source.person(1)
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: len(source.requests) > 3)
        source.broken = None
        await until(lambda: hub.has(1))
        assert not await hub.letters()


async def test_hints_that_were_not_fetched_are_fetched_after_a_restart(any_bus: Bus, source: Source) -> None:
    source.broken = status(500)
    for number in range(30):
        source.person(number)
    async with running(any_bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(*range(30)))
        await until(lambda: len(source.requests) > 2)
    source.broken = None
    async with running(any_bus, desk(source), lag=1_000_000) as hub:
        await until(lambda: hub.has(30))


async def test_what_was_fetched_is_not_fetched_again_after_a_restart(bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: hub.has(1))
        await until(lambda: hints_done(bus))
    before = source.paths.count("/batch")
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: hints_done(bus))
    assert source.paths.count("/batch") in (before + 1, before + 2)


async def test_an_object_that_can_never_be_fetched_becomes_a_letter_and_spares_the_others(
    bus: Bus, source: Source
) -> None:
    async def poisoned(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return web.json_response({}, status=400) if "13" in body["ids"] else source.regular(request, body)

    for number in range(20):
        source.person(number)
    source.broken = poisoned
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(*range(20)))
        await until(lambda: hub.has(19))
        [letter] = await until(hub.letters)
        assert letter.stage == "hydrate" and orjson.loads(letter.payload)["id"] == "13"
        await until(lambda: hints_done(bus))
        assert hub.metrics.value("dead", connection="desk", stage="hydrate") == 1


async def test_an_endless_queue_of_hints_stays_on_the_bus(bus: Bus, source: Source) -> None:
    from core.ingest import hydrate

    class Watched:
        """The bus, and how often hints were read from it once more."""

        again = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def read(self, topic: str, *rest: Any) -> Any:
            self.again += topic == HINTS
            return await bus.read(topic, *rest)

    watched: Any = Watched()
    source.broken = status(500)
    hints = [
        Message(
            HINTS,
            f"desk/person/{number}",
            orjson.dumps({"kind": "person", "id": str(number), "at": 1, "action": "changed"}),
            "desk",
            connection_headers("desk", "acme", "person"),
        )
        for number in range(300)
    ]
    for number in range(300):
        source.person(number)
    async with hydrating(watched, partial(hydrate.Hydrator, most=20), desk(source)) as hub:
        await bus.publish(hints)
        await until(lambda: len(source.requests) > 3)
        source.broken = None
        await until(lambda: hub.has(300))
        await until(lambda: hints_done(bus))
        assert watched.again >= 300 // 20 - 1, "20 at a time had room"


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "person", "id": "1", "at": 1, "colour": "of a newer hub"},
        {"kind": "person", "id": 1, "at": 1},
        {"kind": "person", "id": "1", "at": "yesterday"},
        ["person", "1"],
        7,
        "no JSON",
        None,
    ],
    ids=["unknown field", "number as id", "word as time", "list", "number", "no JSON", "no value"],
)
async def test_a_hint_that_cannot_be_read_becomes_a_letter_and_the_next_is_fetched(
    bus: Bus, source: Source, odd: Any
) -> None:
    source.person(2)
    value = odd.encode() if isinstance(odd, str) else None if odd is None else orjson.dumps(odd)
    headers = connection_headers("desk", "acme", "person")
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await bus.publish([Message(HINTS, "desk/person/1", value, "desk", headers)])
        assert await hub.post(named(2)) == 202
        await until(lambda: hub.has(1))
        await until(lambda: hints_done(bus))
        letters = await hub.letters()
        assert [(letter.connection, letter.stage) for letter in letters] == ([("desk", "hydrate")] if value else [])
        if letters:
            kept = orjson.loads(letters[0].payload)
            assert deadletter.to_message(kept) == Message(HINTS, "desk/person/1", value, "desk", headers)
