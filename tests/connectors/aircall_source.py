"""Aircall's contract mock with a client, and what it is asked and says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from connectors.aircall import CONNECTOR
from connectors.aircall.config import Config
from connectors.aircall.mock import DEMO
from core.projection.registers import Registers
from core.sdk import Delivery, Hint, Page, Payload, Split
from core.sdk.mock import Mock
from core.sdk.story import Beat, beats
from schemas.event import Event
from tests.connectors.http import PlainHttp, plain_http

CONFIG = Config(type="aircall", **DEMO)
NOW = datetime(2026, 1, 12, 7, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)


def normalized(payload: Payload) -> list[Event]:
    return list(CONNECTOR.normalize(payload))


def taken(body: dict[str, Any], config: Config = CONFIG, received: int = MS) -> Split:
    """A delivery with this body, after the cuts."""
    assert CONNECTOR.webhook is not None
    delivery = Delivery("POST", "https://hooks.example.com/hooks/aircall", {}, b"")
    return CONNECTOR.webhook.split(CONNECTOR.webhook.cut(body), delivery, config, "example", received)


async def hydrated(http: PlainHttp, *hints: Hint, config: Config = CONFIG) -> list[Event]:
    assert CONNECTOR.hydrate is not None
    found = [payload async for payload in CONNECTOR.hydrate(http, config, "example", hints)]
    return [event for payload in found for event in normalized(payload)]


def folded(found: list[Event]) -> dict[str, Any]:
    """What each object says in the end, by the hub's own registers."""
    registers: dict[str, Registers] = {}
    for event in found:
        registers.setdefault(event.subject, Registers(event.entity)).apply(event)
    return {key: each.visible() for key, each in registers.items()}


@asynccontextmanager
async def aircall(mock: Mock, **secrets: str) -> AsyncIterator[PlainHttp]:
    config = CONFIG.model_copy(update={"base_url": mock.url, **secrets})
    async with plain_http(CONNECTOR.base_url(config), CONNECTOR.auth(config), now_ms=mock.player.clock.now) as http:
        yield http


def stream(name: str) -> Any:
    return next(each.poll for each in CONNECTOR.streams if each.name == name)


async def pages(http: PlainHttp, name: str, cursor: dict[str, Any] | None = None, stop: int = 10_000) -> list[Page]:
    found: list[Page] = []
    async for page in stream(name)(http, CONFIG, "example", cursor):
        found.append(page)
        if len(found) == stop:
            break
    return found


def ids(read: list[Page]) -> list[int]:
    return [payload.data["id"] for page in read for payload in page.payloads]


def contacts(mock: Mock, count: int, step: int) -> None:
    """So many more contacts, the last of them an hour ago, `step` seconds between two."""
    for index in range(count):
        beat = Beat(0, "person.upsert", "aircall", f"extra{index}", 0, {"given": "Extra", "family": str(index)})
        mock.simulator.apply(beat, MS - 3_600_000 - (count - index) * step * 1_000)


def crowd(mock: Mock, cycles: int) -> None:
    """Plays cycles of the story straight into the world, all of it in the 20 days before the clock's time."""
    begin, share = MS - 20 * 86_400_000, 20 * 86_400_000 / (cycles * 75.0)
    for beat in beats(7):
        if beat.cycle >= cycles:
            return
        if beat.vendor == "aircall":
            mock.simulator.apply(beat, begin + int(beat.at * share))
