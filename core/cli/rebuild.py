"""`hub rebuild`: folds every record again."""

from typing import Any

from core.cli.options import CONFIG, JSON, YAML


def rebuild(config: CONFIG = YAML, json: JSON = False) -> None:
    """Fold every record again, after a change of `identity:` or `show:` or a restored backup.

    Ids stay, a new generation begins, subscribers get everything again. With SQLite the hub must be stopped first.
    """
    from core.cli.terminal import emit, finish, say
    from core.config import load

    objects, generation, customers = finish(_rebuilt(load(config)))
    if json:
        emit({"objects": objects, "customers": customers, "generation": generation})
        return
    say(f"{objects} objects are {customers} customers again, generation {generation}")


async def _rebuilt(config: Any) -> tuple[int, int, int]:
    from contextlib import AsyncExitStack

    from core import hub, process
    from core.cli.client import is_running
    from core.cli.terminal import progress
    from core.errors import ConfigError

    async with AsyncExitStack() as stack:
        if config.store.type == "sqlite":
            if await is_running(config):
                raise ConfigError("a hub runs on this SQLite store: stop it first (Ctrl-C), then rebuild")
            # The bus is not needed; it is locked, so that no hub starts meanwhile.
            _, store = await stack.enter_async_context(hub.opened(config))
        else:
            store = await stack.enter_async_context(hub.open_store(config))
        total = sum(count for (source, _), count in (await store.counts()).items() if source)
        with progress("rebuild", total) as done:
            objects = await process.rebuild(store, hub.settings_of(config), done)
        return objects, (await store.hub()).generation, (await store.counts()).get(("", "customer"), 0)
