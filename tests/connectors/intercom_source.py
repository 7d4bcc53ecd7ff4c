"""Intercom's contract mock with a client, and the hub's door that its webhooks go to."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from connectors.intercom import CONNECTOR
from connectors.intercom.config import Config
from connectors.intercom.mock import DEMO, Intercom, simulator
from connectors.intercom.normalize import normalize
from core.projection.registers import Registers
from core.sdk import Delivery, Hint, Ids, Page
from core.sdk.mock import Clock, Mock, running
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
SEED = 7
CONFIG = Config(type="intercom", token=DEMO["token"], webhook_secret=DEMO["webhook_secret"])
STREAMS = [stream.name for stream in CONNECTOR.streams]


@dataclass
class Source:
    """A running mock with a client, its account and a clock that stands until it is set."""

    mock: Mock
    world: Intercom
    http: PlainHttp
    clock: Clock
    account: str

    def happens(self, kind: str, ref: str, **data: Any) -> None:
        self.mock.send(self.mock.player.insert(kind, ref, data))

    def later(self, seconds: float) -> None:
        self.mock.player.set_clock(self.clock.now() + int(seconds * 1000), None)

    async def pages(self, stream: str, cursor: dict[str, Any] | None = None, config: Config = CONFIG) -> list[Page]:
        poll = next(each.poll for each in CONNECTOR.streams if each.name == stream)
        return [page async for page in poll(self.http, config, self.account, cursor)]

    async def hydrated(self, *hints: Hint) -> list[Event]:
        assert CONNECTOR.hydrate is not None
        found = [payload async for payload in CONNECTOR.hydrate(self.http, CONFIG, self.account, hints)]
        return [event for payload in found for event in normalize(payload)]

    async def ids(self, kind: str, cursor: dict[str, Any] | None = None) -> list[Ids]:
        listing = next(each for each in CONNECTOR.listings if each.kind == kind)
        return [page async for page in listing.ids(self.http, CONFIG, self.account, cursor)]

    def key(self, kind: str, id: str) -> str:
        return f"intercom/{self.account}/{kind}/{id}"


@asynccontextmanager
async def source(target: str = "") -> AsyncIterator[Source]:
    clock, world = Clock(BEGIN, rate=0), simulator(SEED, {})
    async with running(world, pace=0, clock=clock, target=target) as mock:
        async with plain_http(mock.url, CONNECTOR.auth(CONFIG), now_ms=clock.now) as http:
            yield Source(mock, world, http, clock, await CONNECTOR.account(http, CONFIG))


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Delivery]]]:
    """A hub's door: keeps what comes and answers 202."""
    kept: list[Delivery] = []

    async def take(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        kept.append(Delivery(request.method, str(request.url), headers, await request.read()))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hooks/intercom", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/intercom", kept
    finally:
        await runner.cleanup()


def events(pages: Iterable[Page]) -> list[Event]:
    return [event for page in pages for payload in page.payloads for event in normalize(payload)]


def states(found: Iterable[Event]) -> set[str]:
    return {json.dumps([event.subject, event.type, event.data], sort_keys=True) for event in found}


def folded(found: Iterable[Event]) -> dict[str, Any]:
    """What each object says in the end, by the hub's own registers."""
    registers: dict[str, Registers] = {}
    for event in found:
        registers.setdefault(event.subject, Registers(event.entity)).apply(event)
    return {key: each.visible() for key, each in registers.items()}
