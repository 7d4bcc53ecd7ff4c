"""Takes a connection out again, a step at each call; killed in between, it begins anew and finds less to do."""

import asyncio
import time
from contextlib import suppress

import orjson

from core import ingest, process
from core import purge as marks
from core.bus import Bus
from core.config import HubConfig
from core.errors import PermanentError
from core.hub.compose import settings_of
from core.metrics import Metrics
from core.store import Store
from schemas.answers import PurgeOrder, Purging

STEP = 2.0  # seconds of one step
_LOOK = 0.1
_ALIVE = 30.0  # seconds for which a process that has reported a connection may still take its deliveries


async def purge(config: HubConfig, bus: Bus, store: Store, name: str, order: PurgeOrder, *, running: bool) -> Purging:
    """One step. Without `running` nobody else processes, so it is done here. Raises PermanentError where the connection
    is still wanted, or nothing is known of it."""
    source = await _source(config, bus, store, name, order.source)
    if not order.confirmed:
        return await _told(store, name, source)
    if order.at is None:
        # The marks come first: from here on whatever happens the source will be forgotten.
        ends, void = await marks.begin(bus, name, source, int(time.time() * 1000))
        await ingest.Cursors(bus).forget(name)
    else:
        ends, void = order.at["ends"], order.at["void"]
    left, unread = await marks.void(bus, name, source, void, STEP)
    if not running:
        await _process(config, bus, store, ends)
    done = not left and await _reached(store, ends)
    if done:
        await store.drop_states(name)
    elif not left:
        await asyncio.sleep(_LOOK)
    told = await _told(store, name, source)
    return told.model_copy(update={"unread": unread, "at": {"ends": ends, "void": left}, "done": done})


async def _source(config: HubConfig, bus: Bus, store: Store, name: str, given: str | None) -> str:
    """`vendor/account` of the connection, from what it said of itself while it ran."""
    if name in config.connections:
        raise PermanentError(f"the hub still has the connection {name!r}: take it out of hub.yaml and restart the hub")
    accounts = await ingest.Cursors(bus).accounts()
    said = [(orjson.loads(document), at) for connection, _, document, at in await store.states() if connection == name]
    if config.bus.type == "kafka" and any(time.time() - at / 1000 < _ALIVE for _, at in said):
        raise PermanentError(f"a process still runs with {name!r}, or did until just now: restart it, then purge")
    known = {f"{document['connector']}/{account}" for document, _ in said if (account := document.get("account"))}
    source = given or min(known, default="")
    if source.count("/") != 1 or source.startswith("/") or source.endswith("/"):
        raise PermanentError(f"nothing is known of a connection {name!r}: name its source, --source VENDOR/ACCOUNT")
    for each in config.connections.values():
        account = each.settings.account or accounts.get(each.name)
        if f"{each.connector.name}/{account}" == source:
            raise PermanentError(f"the connection {each.name!r} is of the same source, {source}: its objects are these")
    return source


async def _told(store: Store, name: str, source: str) -> Purging:
    counts = {entity: count for (of, entity), count in (await store.counts()).items() if of == source}
    return Purging(connection=name, source=source, objects=counts, letters=(await store.dead_counts()).get(name, 0))


async def _reached(store: Store, ends: dict[str, int]) -> bool:
    return marks.reached({topic: await store.offsets(topic) for topic in marks.topics()}, ends)


async def _process(config: HubConfig, bus: Bus, store: Store, ends: dict[str, int]) -> None:
    """For one step, as `hub run` would do it; what is under way at its end comes again in the next one."""
    worker = asyncio.create_task(process.run(bus, store, settings_of(config), Metrics()))
    until = time.monotonic() + STEP
    try:
        while time.monotonic() < until and not worker.done() and not await _reached(store, ends):
            await asyncio.wait([worker], timeout=_LOOK)
        if worker.done():
            worker.result()
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(worker, return_exceptions=True)
