"""The API over the store while no hub runs: on a loopback port of its own, for as long as one command needs it."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from core import api, process
from core.bus import Bus
from core.config import HubConfig
from core.hub.compose import open_bus, open_store, rules_of, settings_of
from core.hub.orders import acknowledge, backfill, replay
from core.hub.purging import purge
from core.hub.run import READERS, titles
from core.store import Store
from schemas.answers import BackfillOrder, PurgeOrder, Purging


@asynccontextmanager
async def offline(config: HubConfig, *, write: bool) -> AsyncIterator[tuple[str, Store]]:
    """(address, store). Without `write` nothing is made or changed. Raises ConfigError where there is no store yet."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(config, read_only=not write))
        opened: list[Bus] = []  # by the first replay or backfill; all others need none

        async def bus() -> Bus:
            if not opened:
                opened.append(await stack.enter_async_context(open_bus(config)))
            return opened[0]

        async def again(id: str) -> None:
            await replay(config, await bus(), store, id)

        async def anew(connection: str, order: BackfillOrder) -> list[str]:
            return await backfill(config, await bus(), connection, order, int(time.time() * 1000))

        async def known(connection: str) -> None:
            await acknowledge(config, await bus(), connection, int(time.time() * 1000))

        async def out(connection: str, order: PurgeOrder) -> Purging:
            return await purge(config, await bus(), store, connection, order, running=False)

        room = api.Room(
            store=store,
            rules=rules_of(config),
            now=lambda: int(time.time() * 1000),
            metrics=lambda: b"",
            replay=again,
            backfill=anew,
            acknowledge=known,
            purge=out,
            titles=titles(config),
        )
        address = await stack.enter_async_context(api.listening(room, "127.0.0.1", 0))
        yield address, store


async def due(config: HubConfig) -> str | None:
    """Why a rebuild is due, by the store and by hub.yaml as it is now; None where it is not."""
    async with open_store(config, read_only=True) as store:
        return process.due(await store.hub(), settings_of(config))


async def lag(config: HubConfig) -> tuple[dict[str, int], dict[str, int]]:
    """Events that wait on the bus while no hub runs, for each group of process, and of each connection."""
    async with open_bus(config, read_only=True) as bus, open_store(config, read_only=True) as store:
        groups = {group: await process.lag(bus, store, [topic]) for topic, group in READERS.items()}
        return groups, await process.waiting(bus, store)
