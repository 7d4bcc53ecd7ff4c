"""From `hub.yaml` to a bus, a store and the settings of process."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from core import process
from core.bus import Bus
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.bus.kind import is_new, kind_of, mark
from core.bus.topics import EVENTS, PAST
from core.config import HubConfig
from core.errors import TransientError, check_kind
from core.hub.naming import ROLES
from core.identity import Rules
from core.projection import FOLD_REVISION, Choice
from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite


@asynccontextmanager
async def open_bus(
    config: HubConfig, roles: frozenset[str] = frozenset(ROLES), *, read_only: bool = False
) -> AsyncIterator[Bus]:
    """The bus that `bus:` names, marked as demo or real. It may go without a mark with `read_only`, and where an older
    hub wrote on it until a process comes with that hub's store, which ingest alone does not have. Raises TransientError
    where it is down, ConfigError where it is somebody else's or of the other kind."""
    match config.bus.type:
        case "kafka":
            opening = open_kafka(config.bus.servers, prefix=config.bus.prefix, options=config.bus.options)
            place, example = "`bus.prefix`", "`prefix: {}.`"
        case _:
            opening = open_embedded(config.data / "bus.db", disk_cap=config.bus.disk_cap)
            place, example = "the `data:` folder", "`data: var/{}`"
    async with opening as bus:
        kind = await kind_of(bus)
        if kind is None and not read_only:
            kind = await _mark(config, bus, roles)
        if kind is not None:
            check_kind(kind, config.kind, "bus", place, example)
        yield bus


async def _mark(config: HubConfig, bus: Bus, roles: frozenset[str]) -> str | None:
    """Give a new bus the kind of its store, which is born with it where there is none yet.

    A bus on which an older hub wrote without a mark gets it from the store that its events went into. No other store
    can say of which kind they are, and a mark is for ever: who comes without that store, or with another one (it is
    lost and its records are to be recovered, or a prefix is wrong), goes on without a mark.
    """
    new = await is_new(bus)
    if not new and roles == {"ingest"}:
        return None
    try:
        async with open_store(config) as store:  # it refuses connections of the other kind
            kind = (await store.hub()).kind
            if not new and not await _has_read(store):
                return None
    except TransientError:
        if not new or config.kind is None:
            raise
        kind = config.kind  # who takes deliveries does not wait for a store, and nothing is there to be mixed
    try:
        return await mark(bus, kind)
    except TransientError:
        if new:
            raise
        return None  # it is full: process must start to make room, and the next start marks it


async def _has_read(store: Store) -> bool:
    return any([any((await store.offsets(topic)).values()) for topic in (EVENTS, PAST)])


def open_store(config: HubConfig, *, read_only: bool = False) -> AbstractAsyncContextManager[Store]:
    """The store that `store:` names, made or migrated unless `read_only`. Raises TransientError where it is down,
    ConfigError where it is of the other kind (demo or real), or `read_only` finds none or an older one."""
    rules = process.digest(settings_of(config))
    match config.store.type:
        case "postgres":
            url = config.store.url.get_secret_value()
            return open_postgres(url, read_only=read_only, kind=config.kind, fold_revision=FOLD_REVISION, rules=rules)
        case _:
            config.data.mkdir(parents=True, exist_ok=True)
            return open_sqlite(
                config.data / "hub.db", read_only=read_only, kind=config.kind, fold_revision=FOLD_REVISION, rules=rules
            )


def rules_of(config: HubConfig) -> Rules:
    """The `identity:` section as identity wants it."""
    identity = config.identity
    return Rules(
        region=identity.region,
        proved={vendor: frozenset(kinds) for vendor, kinds in identity.proved.items()},
        join=tuple(identity.join),
        block=tuple(identity.block),
        own=tuple(identity.own),
    )


def settings_of(config: HubConfig) -> process.Settings:
    """The `identity:` and `show:` sections as process wants them."""
    show = config.show
    facts = {"name": show.name, "email": show.email, "phone": show.phone}
    choice = Choice((show.default,), {fact: tuple(rules) for fact, rules in facts.items() if rules})
    return process.Settings(rules_of(config), choice)
