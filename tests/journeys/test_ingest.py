"""Ingest as it runs: listener, fetches and polls together on the real embedded bus, against a source that fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from core import deadletter
from core.bus import Bus, Message, Record
from core.bus.codec import Incoming, connection_headers, decode
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.topics import CURSORS, DEAD, EVENTS, HINTS
from core.config.model import Connection, Server
from core.errors import TransientError
from core.ingest import Known, Pace, Patience, replaying, run
from core.ingest.turns import Turns
from core.metrics import Metrics
from core.store import DeadRow
from tests.source import Source, connection, serving, signed

QUICK = Pace(most_lag=100, look=0.05, settle=0.3, first=0.05, longest=0.2, rest=0.1, longest_rest=0.2, report=0.05)
HASTY = Patience(tries=2, first=0.01, longest=0.5, timeout=2.0)
LONG = timedelta(hours=1)


async def until(said: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait generously for something to be true; `said` may be a coroutine function."""
    deadline = time.monotonic() + seconds
    while True:
        value = said()
        value = await value if asyncio.iscoroutine(value) else value
        if value:
            return value
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)


@dataclass
class Hub:
    """`lag` is what process would say; `documents` what was reported."""

    bus: Bus
    address: str = ""
    lag: int = 0
    metrics: Metrics = field(default_factory=Metrics)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None
    session: aiohttp.ClientSession | None = None

    async def post(self, body: Any, name: str = "desk") -> int:
        assert self.session is not None
        async with self.session.post(f"{self.address}/hooks/{name}", **signed(body)) as answer:
            return answer.status

    async def events(self) -> list[Incoming]:
        return [decode(record) for record in await messages(self.bus, EVENTS)]

    async def origins(self) -> dict[str, list[tuple[str, str, bool]]]:
        """By which ways each object came, in order."""
        found: dict[str, list[tuple[str, str, bool]]] = {}
        for event in await self.events():
            found.setdefault(event.subject.rpartition("/")[2], []).append(tuple(event.origin))
        return found

    async def people(self) -> set[str]:
        return {event.subject.rpartition("/")[2] for event in await self.events()}

    async def letters(self) -> list[DeadRow]:
        return [deadletter.decode(record) for record in await messages(self.bus, DEAD)]

    async def cursor(self, name: str = "desk") -> dict[str, Any] | None:
        saved = [it.value for it in await messages(self.bus, CURSORS) if it.key == f"{name}/people"]
        return orjson.loads(saved[-1] or b"null") if saved else None


async def messages(bus: Bus, topic: str) -> list[Record]:
    found: list[Record] = []
    for partition, (begin, _) in (await bus.range(topic)).items():
        found += (await bus.read(topic, partition, begin, 100_000)).records
    return found


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def running(
    bus: Bus,
    *connections: Connection,
    lag: int = 0,
    pace: Pace = QUICK,
    known: Known | None = None,
    folder: Path | None = None,
) -> AsyncIterator[Hub]:
    hub = Hub(bus, lag=lag)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def its_lag() -> int:
        return hub.lag

    async def report(name: str, document: dict[str, Any]) -> None:
        hub.documents[name] = document

    hub.task = asyncio.create_task(
        run(
            bus,
            {it.name: it for it in connections},
            Server(webhooks="127.0.0.1:0"),
            metrics=hub.metrics,
            clock=now,
            lag=its_lag,
            report=report,
            started=ready.set_result,
            pace=pace,
            patience=HASTY,
            known=known,
            folder=folder,
        )
    )
    await asyncio.wait([ready, hub.task], return_when=asyncio.FIRST_COMPLETED)
    if hub.task.done():
        hub.task.result()
    hub.address = ready.result()
    async with aiohttp.ClientSession() as hub.session:
        try:
            yield hub
        finally:
            hub.task.cancel()
            await asyncio.gather(hub.task, return_exceptions=True)


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000) as opened:
        yield opened


@pytest.fixture
async def any_bus(bus_kind: str, request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> AsyncIterator[Bus]:
    """Embedded, and real Kafka: for what groups and offsets decide."""
    if bus_kind == "kafka":
        opening = open_kafka(request.getfixturevalue("kafka_servers"), prefix=prefix, options={})
    else:
        opening = open_embedded(tmp_path / "bus.db", disk_cap=1_000_000_000)
    async with opening as opened:
        yield opened


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    async with serving(Source()) as served:
        yield served


def desk(source: Source, name: str = "desk", **more: Any) -> Connection:
    settings = {"base_url": source.url, "account": "acme", "poll_every": LONG, **more}
    return connection(name, **settings)


def status(code: int, **headers: str) -> Callable[[web.Request], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.json_response({}, status=code, headers=named)


def named(*ids: int) -> dict[str, Any]:
    return {"items": [{"kind": "named", "id": id} for id in ids]}


# -- accounts


async def test_the_account_is_asked_once_and_remembered(any_bus: Bus, source: Source) -> None:
    async with running(any_bus, desk(source, account=None)) as hub:
        source.person(1)
        await until(lambda: hub.documents.get("desk", {}).get("account") == "acme")
        assert await hub.post({"items": [source.people[0]]}) == 202
    asked = source.paths.count("/me")
    source.broken = status(500)
    door = await replaying(any_bus, {"desk": desk(source, account=None)}, metrics=Metrics(), clock=now)
    letter = DeadRow("1", "desk", "normalize", "", orjson.dumps(deadletter.of_bytes(b'{"items": []}')), 1, "open", 1)
    assert door.account("desk") == "acme" and (await door.replay(letter)).dead == 0
    async with running(any_bus, desk(source, account=None)) as hub:
        await until(lambda: hub.documents.get("desk", {}).get("account") == "acme")
        assert await hub.post({"items": [source.people[0]]}) == 202
    assert source.paths.count("/me") == asked == 1


async def test_until_the_account_is_known_deliveries_are_asked_to_come_again(bus: Bus, source: Source) -> None:
    source.broken = status(503)
    async with running(bus, desk(source, account=None)) as hub:
        assert await hub.post({"items": []}) == 503
        await until(lambda: hub.documents["desk"]["error"])
        source.broken = None
        await until(lambda: hub.documents["desk"]["account"] == "acme")
        assert await hub.post({"items": []}) == 202
        await until(lambda: hub.documents["desk"]["error"] is None)


# -- fetching what webhooks only named


async def test_what_a_webhook_named_is_fetched_whole(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source), lag=1_000_000) as hub:
        for number in range(25):
            source.person(number)
        assert await hub.post(named(*range(25))) == 202
        await until(lambda: _all(hub, 25))
        assert all(event.order[1] == 1 for event in await hub.events()), "they were read"
        assert max(len(body["ids"]) for body in source.bodies if body) == 10, "in the connector's batches"


async def test_a_fetch_soon_after_the_change_is_repeated_and_finds_what_it_missed(bus: Bus, source: Source) -> None:
    stale = source.person(1, name="Old")
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: "/batch" in source.paths)
        stale["name"], stale["updated"] = "New", stale["updated"] + 1_000
        await until(lambda: _shows(hub, "New"))
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
                await until(lambda: _count(hub, "desk/acme/", 5))
                await until(lambda: hub.documents.get("down", {}).get("error"))
                assert hub.documents["desk"]["error"] is None
                dead.broken = None
                await until(lambda: _count(hub, "desk/other/", 5))
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
        await until(lambda: _all(hub, 1))
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
        await until(lambda: _all(hub, 30))


async def test_what_was_fetched_is_not_fetched_again_after_a_restart(bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: _all(hub, 1))
        await until(lambda: _hints_done(bus))
    before = source.paths.count("/batch")
    async with running(bus, desk(source), lag=1_000_000) as hub:
        await hub.post(named(1))
        await until(lambda: _hints_done(bus))
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
        await until(lambda: _all(hub, 19))
        [letter] = await until(hub.letters)
        assert letter.stage == "hydrate" and orjson.loads(letter.payload)["id"] == "13"
        await until(lambda: _hints_done(bus))
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
    async with _hydrating(watched, partial(hydrate.Hydrator, most=20), desk(source)) as hub:
        await bus.publish(hints)
        await until(lambda: len(source.requests) > 3)
        source.broken = None
        await until(lambda: _all(hub, 300))
        await until(lambda: _hints_done(bus))
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
        await until(lambda: _all(hub, 1))
        await until(lambda: _hints_done(bus))
        letters = await hub.letters()
        assert [(letter.connection, letter.stage) for letter in letters] == ([("desk", "hydrate")] if value else [])
        if letters:
            kept = orjson.loads(letters[0].payload)
            assert deadletter.to_message(kept) == Message(HINTS, "desk/person/1", value, "desk", headers)


# -- polls


async def test_a_stream_is_read_page_by_page_and_its_cursor_saved(bus: Bus, source: Source) -> None:
    for number in range(5):
        source.person(number)
    async with running(bus, desk(source)) as hub:
        await until(lambda: _all(hub, 5))
        saved = await until(lambda: _complete(hub))
        assert saved["cursor"] == {"after": 5} and saved["began"] is None
        assert source.paths.count("/people?after=0") == 1
        await until(lambda: hub.documents["desk"]["streams"].get("people", {}).get("complete_up_to"))
        assert hub.documents["desk"]["polls_here"] is True
        assert hub.metrics.value("polled", connection="desk", stream="people") == 5


async def test_a_restart_goes_on_at_the_cursor_and_sweeps_at_once_what_was_missed(any_bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(any_bus, desk(source)) as hub:
        await until(lambda: _complete(hub))
        assert await hub.origins() == {"1": [("backfill", "people", True)]}
    polls = len(source.paths)
    source.person(2)
    async with running(any_bus, desk(source)) as hub:
        await until(lambda: _all(hub, 2))
        assert source.paths[polls:] == ["/people?after=1"], "once, though it would be due in an hour"
        assert (await hub.origins())["2"] == [("sweep", "people", True)]


async def test_a_poll_that_was_cut_short_is_complete_up_to_its_first_beginning(bus: Bus, source: Source) -> None:
    for number in range(4):
        source.person(number)
    source.failing = [lambda _: web.json_response({"people": source.people[:2], "next": 2, "more": True})]
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        began = (await until(hub.cursor))["began"]
    source.broken = None
    async with running(bus, desk(source)) as hub:
        assert (await until(lambda: _complete(hub)))["complete_up_to"] == began


async def test_a_crash_between_publish_and_cursor_repeats_the_page(bus: Bus, source: Source) -> None:
    class Crashing:
        """The bus until the first cursor is to be saved."""

        def __init__(self) -> None:
            self.crashed = asyncio.Event()

        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def publish(self, messages: Any) -> None:
            if any(message.topic == CURSORS for message in messages):
                self.crashed.set()
                await asyncio.Event().wait()
            await bus.publish(messages)

    source.person(1)
    crashing = Crashing()
    async with running(crashing, desk(source)):  # type: ignore[arg-type]
        await asyncio.wait_for(crashing.crashed.wait(), 20)
    assert await messages(bus, EVENTS) and not await messages(bus, CURSORS)
    async with running(bus, desk(source)) as hub:
        assert await until(lambda: _complete(hub))
        events = await hub.events()
        assert len(events) == 2 and len({event.subject for event in events}) == 1
    assert source.paths == ["/people?after=0"] * 2


@pytest.mark.parametrize(
    "answer", [status(429), status(500), status(401), status(404)], ids=["429", "500", "401", "404"]
)
async def test_a_failing_poll_is_said_once_heals_and_touches_nobody_else(bus: Bus, source: Source, answer: Any) -> None:
    async with serving(Source("other")) as dead:
        dead.person(1)
        dead.person(2)
        dead.person(3)
        source.person(4)
        dead.failing = [lambda _: web.json_response({"people": dead.people[:2], "next": 2, "more": True})]
        dead.broken = answer
        with capture_logs() as lines:
            async with running(bus, desk(source), desk(dead, "down", account="other")) as hub:
                await until(lambda: _count(hub, "desk/acme/", 1))
                await until(lambda: len(dead.requests) > 6)
                document = await until(lambda: hub.documents["down"]["error"] and hub.documents["down"])
                assert document["remedy"] and document["streams"]["people"]["error"]
                assert hub.documents["desk"]["error"] is None
                dead.broken = None
                await until(lambda: _count(hub, "desk/other/", 3))
                await until(lambda: hub.documents["down"]["error"] is None)
        said = [line["event"] for line in lines if line.get("connection") == "down"]
        assert said == ["source unavailable", "source is back"]
        assert "/people?after=2" in dead.paths, "it went on where it was"


async def test_a_poll_waits_while_process_lags_and_webhooks_do_not(bus: Bus, source: Source) -> None:
    source.person(1)
    async with running(bus, desk(source), lag=101) as hub:
        assert await hub.post({"items": [{**source.people[0], "id": 99}]}) == 202
        await asyncio.sleep(1.0)
        assert await hub.people() == {"99"}
        hub.lag = 100
        await until(lambda: _all(hub, 2))


@pytest.mark.parametrize("cursor", [b"nonsense", b'{"cursor": 7, "at": 1, "complete_up_to": 1}', b'{"other": 1}'])
async def test_a_wrong_cursor_is_shown_and_not_polled(bus: Bus, source: Source, cursor: bytes) -> None:
    await bus.publish([Message(CURSORS, "desk/people", cursor, "desk")])
    async with running(bus, desk(source)) as hub:
        await until(lambda: "cursor" in (hub.documents.get("desk", {}).get("error") or ""))
        assert not source.requests


async def test_a_source_that_goes_in_circles_is_shown_and_not_followed(bus: Bus, source: Source) -> None:
    source.person(1)
    source.broken = lambda _: web.json_response({"people": source.people, "next": 1, "more": True})
    pace = Pace(rest=30.0, report=0.05)
    async with running(bus, desk(source), pace=pace) as hub:
        await until(lambda: "circles" in (hub.documents.get("desk", {}).get("error") or ""))
        asked = len(source.requests)
        await asyncio.sleep(0.5)
        assert len(source.requests) == asked == 2


async def test_each_connection_is_polled_by_one_of_two_and_handed_over(any_bus: Bus, source: Source) -> None:
    names = [f"desk {number}" for number in range(12)]
    every = timedelta(milliseconds=200)
    connections = [desk(source, name, poll_every=every) for name in names]

    def mine(hub: Hub) -> set[str]:
        return {name for name, document in hub.documents.items() if document["polls_here"]}

    async with running(any_bus, *connections) as first:
        await until(lambda: mine(first) == set(names))
        async with running(any_bus, *connections) as second:
            await until(lambda: mine(second) and not mine(first) & mine(second))
            await until(lambda: mine(first) | mine(second) == set(names))
        await until(lambda: mine(first) == set(names))


async def test_polls_wait_for_a_bus_that_is_down_and_go_on(bus: Bus, source: Source) -> None:
    class Shaky:
        down = False

        def __getattr__(self, name: str) -> Any:
            return getattr(bus, name)

        async def publish(self, messages: Any) -> None:
            if self.down:
                raise TransientError("the disk is full")
            await bus.publish(messages)

    shaky = Shaky()
    shaky.down = True
    source.person(1)
    with capture_logs() as lines:
        async with running(shaky, desk(source)) as hub:  # type: ignore[arg-type]
            await until(lambda: source.requests)
            assert await hub.post({"items": [source.people[0]]}) == 503
            await asyncio.sleep(0.5)
            assert len(source.requests) == 1
            shaky.down = False
            await until(lambda: _all(hub, 1))
            await until(lambda: _complete(hub))
    said = [line["event"] for line in lines]
    assert said.count("bus unavailable") == said.count("bus is back") == 1
    assert "source unavailable" not in said


# -- the whole room


async def test_many_deliveries_at_once_are_all_kept(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source), lag=1_000_000) as hub:
        bodies = [{"items": [{**source.person(number), "id": number}]} for number in range(300)]
        answers = await asyncio.gather(*(hub.post(body) for body in bodies))
        assert set(answers) == {202}
        assert len(await hub.people()) == 300


async def test_it_stops_in_order_within_five_seconds(bus: Bus, source: Source) -> None:
    source.broken = status(500)
    async with running(bus, desk(source)) as hub:
        await hub.post(named(1))
        await until(lambda: source.requests)
        assert hub.task is not None
        began = time.monotonic()
        hub.task.cancel()
        await asyncio.gather(hub.task, return_exceptions=True)
        assert time.monotonic() - began < 5.0
        with pytest.raises(aiohttp.ClientError):
            await hub.post({"items": []})


async def test_an_address_that_is_taken_is_an_error(bus: Bus, source: Source) -> None:
    async with running(bus, desk(source)) as hub:
        taken = Server(webhooks=hub.address.removeprefix("http://"))

        async def nothing(*_: Any) -> int:
            return 0

        with pytest.raises(BaseExceptionGroup) as caught:
            await run(
                bus,
                {},
                taken,
                metrics=Metrics(),
                clock=now,
                lag=nothing,
                report=nothing,  # type: ignore[arg-type]
            )
        assert caught.group_contains(OSError)


async def _all(hub: Hub, count: int) -> bool:
    return len(await hub.people()) == count


async def _count(hub: Hub, prefix: str, count: int) -> bool:
    return len({event.subject for event in await hub.events() if event.subject.startswith(prefix)}) == count


async def _shows(hub: Hub, name: str) -> bool:
    return any(event.data.get("display_name") == name for event in await hub.events())


async def _complete(hub: Hub) -> dict[str, Any] | None:
    saved = await hub.cursor()
    return saved if saved and saved["complete_up_to"] else None


async def _hints_done(bus: Bus) -> bool:
    committed = await bus.committed("hydrate", HINTS)
    heads = {partition: end for partition, (begin, end) in (await bus.range(HINTS)).items() if end > begin}
    return bool(heads) and all(committed.get(partition) == end for partition, end in heads.items())


@asynccontextmanager
async def _hydrating(bus: Bus, kind: Any, only: Connection) -> AsyncIterator[Hub]:
    """Fetching alone, by a Hydrator that a test has made small."""
    from core.ingest import Board, Client, Intake, sessions
    from core.ingest.poll import Tools

    async def lag() -> int:
        return 0

    connections = {only.name: only}
    board = Board([only], Metrics(), now)
    intake = Intake(bus, connections, board, now)
    async with sessions() as session:
        https = {only.name: Client(only, session, now, patience=HASTY)}
        hydrator = kind(
            Tools(bus, intake, connections, https, board, now, lag, QUICK, Turns(lag, QUICK, intake.arrivals))
        )
        task = asyncio.create_task(hydrator.run())
        try:
            yield Hub(bus)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
