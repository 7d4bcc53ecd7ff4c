"""What the tests of Guru share: deliveries, samples, and its mock with a clock that stands."""

import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.guru import CONNECTOR
from connectors.guru.config import Config
from connectors.guru.mock import DEMO, Guru, simulator
from connectors.guru.normalize import normalize
from connectors.guru.webhook import WEBHOOK
from core.projection.registers import Registers
from core.sdk import Delivery, Hint, Page, Payload, Split
from core.sdk.mock import Clock, Mock, running
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

ROOT = Path(__file__).parents[2]
DECLARED = ROOT / "deploy/examples/guru.yaml"
SAMPLES = sorted((ROOT / "connectors/guru/samples").glob("*.payload.json"))
VENDOR = Path(os.environ.get("HUB_VENDOR_DATA") or ROOT / "../shared/vendor-data") / "knowledge/guru"
needs_vendor_data = pytest.mark.skipif(
    not VENDOR.exists(), reason="no vendor descriptions: set HUB_VENDOR_DATA to the folder that holds knowledge/guru"
)
NOW = datetime(2026, 1, 12, 6, 47, tzinfo=UTC)
BEGIN = int(NOW.timestamp() * 1000)
DAY = 86_400
CONFIG = Config(type="guru", account="example", **DEMO)
STREAMS = [stream.name for stream in CONNECTOR.streams]


def sample(path: Path) -> Payload:
    return Payload(**json.loads(path.read_text()))


def named(name: str) -> Payload:
    return sample(next(path for path in SAMPLES if path.name == f"{name}.payload.json"))


def delivery(secret: str, body: bytes = b"{}") -> Delivery:
    return Delivery("POST", f"https://hooks.example.com/hooks/guru/{secret}", {}, body, path_secret=secret)


def taken(body: Any) -> Split:
    return WEBHOOK.split(body, delivery(DEMO["webhook_secret"]), CONFIG, "example", BEGIN)


def told(kind: str, card: str | None = "c1", at: str = "2026-01-05T10:20:30.125+0000") -> dict[str, Any]:
    event = {"id": "e1", "eventType": kind, "user": "sam@example.com", "eventDate": at}
    return event | ({"properties": {"cardId": card, "source": "UI"}} if card else {})


def batch(*events: Any) -> dict[str, Any]:
    messages = [{"id": "m:0", "timestamp": BEGIN, "data": json.dumps(event), "action": 0} for event in events]
    return {
        "items": [{"webhookId": "w", "name": "channel.message", "data": {"channelId": "wh:1", "messages": messages}}]
    }


def folded(found: Iterable[Event]) -> dict[str, Any]:
    """What each object says in the end, by the hub's own registers."""
    registers: dict[str, Registers] = {}
    for event in found:
        registers.setdefault(event.subject, Registers(event.entity)).apply(event)
    return {key: each.visible() for key, each in registers.items()}


@dataclass
class Source:
    """A running mock with a client and a clock that stands until it is set."""

    mock: Mock
    guru: Guru
    http: PlainHttp
    clock: Clock

    def happens(self, kind: str, ref: str, **data: Any) -> str:
        self.mock.send(self.mock.player.insert(kind, ref, data))
        return self.guru.team.card_id(ref)

    def later(self, seconds: float) -> None:
        self.mock.player.set_clock(self.clock.now() + int(seconds * 1000), None)

    async def pages(self, stream: str, cursor: dict[str, Any] | None = None, config: Config = CONFIG) -> list[Page]:
        poll = next(each.poll for each in CONNECTOR.streams if each.name == stream)
        return [page async for page in poll(self.http, config, "example", cursor)]

    async def hydrated(self, *hints: Hint) -> list[Event]:
        assert CONNECTOR.hydrate is not None
        found = [payload async for payload in CONNECTOR.hydrate(self.http, CONFIG, "example", hints)]
        return [event for payload in found for event in normalize(payload)]


@asynccontextmanager
async def source(target: str = "") -> AsyncIterator[Source]:
    clock, guru = Clock(BEGIN, rate=0), simulator(7, {})
    async with running(guru, pace=0, clock=clock, target=target) as mock:
        async with plain_http(mock.url, CONNECTOR.auth(CONFIG), now_ms=clock.now) as http:
            yield Source(mock, guru, http, clock)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[Delivery]]]:
    """A hub's door: keeps what comes and answers 202."""
    kept: list[Delivery] = []

    async def take(request: web.Request) -> web.Response:
        secret = request.match_info["secret"]
        kept.append(Delivery("POST", str(request.url), {}, await request.read(), path_secret=secret))
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/hooks/guru/{secret}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/guru", kept
    finally:
        await runner.cleanup()


def events(pages: Iterable[Page]) -> list[Event]:
    return [event for page in pages for payload in page.payloads for event in normalize(payload)]


def states(found: Iterable[Event]) -> set[str]:
    return {json.dumps([event.subject, event.type, event.data], sort_keys=True) for event in found}
