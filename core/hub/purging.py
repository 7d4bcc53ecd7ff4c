"""Takes a connection out again, a step at each call; killed in between, it begins anew and finds less to do."""

import asyncio
import time
from collections.abc import Set
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
        await asyncio.to_thread(ingest.forget_tokens, config.data, name)
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
    states = await store.states()
    if config.bus.type == "kafka":  # the embedded bus is open in one process only: this one, which does not have it
        await _let_go(bus, name, {(of, process) for of, process, _, at in states if time.time() - at / 1000 < _ALIVE})
    said = [orjson.loads(document) for of, _, document, _ in states if of == name]
    known = sorted({f"{document['connector']}/{account}" for document in said if (account := document.get("account"))})
    if len(known) > 1 and not given:
        named = " and ".join(known)
        raise PermanentError(f"{name!r} was a connection to {named}: name the one to forget, --source VENDOR/ACCOUNT")
    source = given or "".join(known)
    if source.count("/") != 1 or source.startswith("/") or source.endswith("/"):
        raise PermanentError(f"nothing is known of a connection {name!r}: name its source, --source VENDOR/ACCOUNT")
    for each in config.connections.values():
        account = each.settings.account or accounts.get(each.name)
        if f"{each.connector.name}/{account}" == source:
            raise PermanentError(f"the connection {each.name!r} is of the same source, {source}: its objects are these")
    return source


async def _let_go(bus: Bus, name: str, alive: Set[tuple[str, str]]) -> None:
    """Raises PermanentError unless every process of ingest says of what it takes deliveries, and none of this one: what
    it still publishes would come to lie behind the marks. `alive`: connection and process of the latest reports."""
    if any(connection == name for connection, _ in alive):
        raise PermanentError(f"a process still runs with {name!r}, or did until just now: restart it, then purge")
    members, known = await bus.members(ingest.GROUP), len({process for _, process in alive})
    if members > known:
        raise PermanentError(
            f"the bus counts {members} of ingest's processes, the store heard of {known} within {_ALIVE:.0f} s: one may"
            f" still run with {name!r} that cannot reach the store, or whose clock is behind, or it has only just begun"
            " or ended; mend or stop it, then purge"
        )


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
