"""The door of a push connection for commands: the listener of the hub that runs, otherwise the bus itself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from core import ingest
from core.config import Connection, HubConfig
from core.errors import PermanentError, TransientError
from core.hub.compose import open_bus
from core.metrics import Metrics
from core.sdk import Delivery

Told = Sequence[dict[str, Any]]  # as ingest.Outcome.items says
Send = Callable[[Sequence[dict[str, Any]]], Awaitable[Told]]
_PATIENT = aiohttp.ClientTimeout(total=60)


@asynccontextmanager
async def pushing(config: HubConfig, connection: Connection, *, listener: str = "") -> AsyncIterator[Send]:
    """Yields what takes a batch of items and returns once it is durable. `listener`: the address of a hub that runs;
    empty: the bus is opened here. Sending raises TransientError where it may work later, PermanentError where the whole
    batch is refused."""
    headers = {
        "authorization": f"Bearer {connection.settings.token.get_secret_value()}",  # type: ignore[attr-defined]
        "content-type": "application/json",
    }
    if listener:
        async with aiohttp.ClientSession(timeout=_PATIENT, headers=headers) as session:
            yield _posting(session, f"{listener}/hooks/{connection.name}")
        return
    async with open_bus(config) as bus:
        intake = await ingest.replaying(bus, {connection.name: connection}, metrics=Metrics(), clock=_now)

        async def deliver(items: Sequence[dict[str, Any]]) -> Told:
            delivery = Delivery("POST", "", headers, orjson.dumps(items))
            outcome = await intake.delivery(connection.name, delivery, int(_now().timestamp() * 1000))
            if outcome.status >= 400:
                raise PermanentError(outcome.detail, status=outcome.status)
            return [dict(item) for item in outcome.items]

        yield deliver


def _posting(session: aiohttp.ClientSession, url: str) -> Send:
    async def post(items: Sequence[dict[str, Any]]) -> Told:
        try:
            async with session.post(url, data=orjson.dumps(items)) as answer:
                said = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(f"no answer from {url} ({type(error).__name__})") from error
        match answer.status:
            case 202 | 207:
                return list(said["items"])
            case 503:
                raise TransientError(f"{url}: {said.get('detail')}")
            case 404:
                raise PermanentError(
                    f"{url}: the hub that runs has no such connection: start it again after a change of hub.yaml, "
                    "or stop it where it is another one",
                    status=404,
                )
        raise PermanentError(f"{url} answered {answer.status}: {said.get('detail')}", status=answer.status)

    return post


def _now() -> datetime:
    return datetime.now(UTC)
