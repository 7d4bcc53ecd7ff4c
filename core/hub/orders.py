"""What people order by hand: a dead letter again, a past again, changed payloads taken as known."""

from datetime import UTC, datetime

import orjson
from pydantic import TypeAdapter

from core import ingest, process
from core.bus import Bus
from core.config import HubConfig
from core.errors import PermanentError
from core.hub.compose import settings_of
from core.metrics import Metrics
from core.sdk.times import Duration
from core.store import Store
from schemas.answers import BackfillOrder


async def replay(config: HubConfig, bus: Bus, store: Store, id: str) -> None:
    """Put a dead letter's input on its way again. Raises PermanentError where there is none, where it cannot be, or
    where it fails at once for the same reason; then the letter is open again."""
    row = await store.dead_letter(id)
    if row is None:
        raise PermanentError(f"there is no dead letter {id}; `hub dead list` names them")
    intake = await ingest.replaying(bus, config.connections, metrics=Metrics(), clock=lambda: datetime.now(UTC))
    # Marked before it is sent: what fails once more is opened by process, perhaps before we could mark it.
    await store.set_dead([id], "replayed")
    try:
        content = orjson.loads(row.payload)
        if content["form"] == "customer":
            again = await process.refold(store, content["customer"], settings_of(config))
        else:
            again = not (await intake.replay(row)).dead
        if not again:
            raise PermanentError(f"it failed again: {row.reason}")
    except BaseException:
        await store.set_dead([id], "open")
        raise


async def backfill(config: HubConfig, bus: Bus, name: str, order: BackfillOrder, now: int) -> list[str]:
    """Let streams of a connection begin anew, as of `now` (epoch ms); answers which. Raises LookupError where there is
    no such connection, PermanentError where it has no such stream."""
    since = TypeAdapter(Duration).validate_python(order.since) if order.since else None
    return await ingest.begin_anew(
        bus, config.connections[name], now, stream=order.stream, since=since, accept=order.accept
    )


async def acknowledge(config: HubConfig, bus: Bus, name: str, now: int) -> None:
    """Take what has changed in a connection's payloads until `now` (epoch ms) as known. Raises LookupError
    where there is no such one."""
    await ingest.acknowledge(bus, config.connections[name].name, now)
