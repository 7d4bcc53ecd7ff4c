"""Ingest as it runs: listener, fetches and polls together on the real embedded bus, against a source that fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core import deadletter
from core.bus import Bus, Record
from core.bus.codec import Incoming, decode
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.topics import CURSORS, DEAD, EVENTS, HINTS, PAST
from core.config.model import Connection, Server
from core.ingest import Known, Pace, Patience, replaying, run
from core.ingest.turns import Turns
from core.metrics import Metrics
from core.precedence import Precedence
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
        found = [decode(record) for topic in (PAST, EVENTS) for record in await messages(self.bus, topic)]
        return sorted(found, key=lambda event: event.received)

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
            Tools(bus, intake, connections, https, board, now, lag, QUICK, Turns(lag, lag, QUICK, Precedence()))
        )
        task = asyncio.create_task(hydrator.run())
        try:
            yield Hub(bus)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
