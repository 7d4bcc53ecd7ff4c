"""Ingest alone, as it runs: listener, fetches and polls together on a real bus, against a source that fails."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from core import deadletter
from core.bus import Bus, Record
from core.bus.codec import Incoming, decode
from core.bus.topics import CURSORS, DEAD, EVENTS, HINTS, PAST
from core.config.model import Connection, Server
from core.errors import TransientError
from core.ingest import Board, Client, Intake, Known, Pace, Patience, run, sessions
from core.ingest.poll import Tools
from core.ingest.turns import Turns
from core.metrics import Metrics
from core.precedence import Precedence
from core.store import DeadRow
from tests.source import Source, connection, signed

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

    async def gone(self) -> set[str]:
        return {event.subject.rpartition("/")[2] for event in await self.events() if event.action == "deleted"}

    async def is_gone(self, ids: set[str]) -> bool:
        return await self.gone() == ids

    async def letters(self) -> list[DeadRow]:
        return [deadletter.decode(record) for record in await messages(self.bus, DEAD)]

    async def cursor(self, name: str = "desk") -> dict[str, Any] | None:
        saved = [it.value for it in await messages(self.bus, CURSORS) if it.key == f"{name}/people"]
        return orjson.loads(saved[-1] or b"null") if saved else None

    async def complete(self) -> dict[str, Any] | None:
        """The cursor, once its stream was read to the end."""
        saved = await self.cursor()
        return saved if saved and saved["complete_up_to"] else None

    async def has(self, count: int, prefix: str = "") -> bool:
        """Exactly so many subjects whose keys begin so."""
        return len({event.subject for event in await self.events() if event.subject.startswith(prefix)}) == count

    async def shows(self, name: str) -> bool:
        return any(event.data.get("display_name") == name for event in await self.events())


async def messages(bus: Bus, topic: str) -> list[Record]:
    found: list[Record] = []
    for partition, (begin, _) in (await bus.range(topic)).items():
        found += (await bus.read(topic, partition, begin, 100_000)).records
    return found


def now() -> datetime:
    return datetime.now(UTC)


class Knows:
    """What the hub knows, as a listing is told; `down`: nobody can say."""

    def __init__(self, *ids: int) -> None:
        self.keys = [f"desk/acme/person/{id}" for id in ids]
        self.down = False

    async def __call__(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        if self.down:
            raise TransientError("the store is down")
        keys = sorted(key for key in self.keys if key.startswith(prefix))
        for begin in range(0, len(keys), 7):
            yield keys[begin : begin + 7]


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


def desk(source: Source, name: str = "desk", **more: Any) -> Connection:
    settings = {"base_url": source.url, "account": "acme", "poll_every": LONG, **more}
    return connection(name, **settings)


def status(code: int, **headers: str) -> Callable[[web.Request], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.json_response({}, status=code, headers=named)


def named(*ids: int) -> dict[str, Any]:
    return {"items": [{"kind": "named", "id": id} for id in ids]}


async def hints_done(bus: Bus) -> bool:
    committed = await bus.committed("hydrate", HINTS)
    heads = {partition: end for partition, (begin, end) in (await bus.range(HINTS)).items() if end > begin}
    return bool(heads) and all(committed.get(partition) == end for partition, end in heads.items())


@asynccontextmanager
async def hydrating(bus: Bus, kind: Any, only: Connection) -> AsyncIterator[Hub]:
    """Fetching alone, by a Hydrator that a test has made small."""

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
