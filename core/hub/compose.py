"""From `hub.yaml` to a bus, a store and the settings of process."""

from contextlib import AbstractAsyncContextManager

from core import process
from core.bus import Bus
from core.bus.embedded import open_embedded
from core.bus.kafka import open_kafka
from core.config import HubConfig
from core.identity import Rules
from core.projection import FOLD_REVISION, Choice
from core.store import Store
from core.store.postgres import open_postgres
from core.store.sqlite import open_sqlite


def open_bus(config: HubConfig) -> AbstractAsyncContextManager[Bus]:
    """The bus that `bus:` names. Raises TransientError where it is down, ConfigError where it is somebody else's."""
    match config.bus.type:
        case "kafka":
            return open_kafka(config.bus.servers, prefix=config.bus.prefix, options=config.bus.options)
        case _:
            return open_embedded(config.data / "bus.db", disk_cap=config.bus.disk_cap)


def open_store(config: HubConfig, *, read_only: bool = False) -> AbstractAsyncContextManager[Store]:
    """The store that `store:` names. Raises TransientError where it is down, ConfigError where it is of the other kind
    (demo or real)."""
    kind = config.kind
    match config.store.type:
        case "postgres":
            return open_postgres(config.store.url.get_secret_value(), kind=kind, fold_revision=FOLD_REVISION)
        case _:
            config.data.mkdir(parents=True, exist_ok=True)
            return open_sqlite(config.data / "hub.db", kind=kind, read_only=read_only, fold_revision=FOLD_REVISION)


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
