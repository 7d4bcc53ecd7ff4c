"""`hub run`: starts the rooms that the roles name, and stops them in order."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
import structlog

from core import api, ingest, process, publish
from core.bus import Bus
from core.bus.topics import CUSTOMERS, EVENTS, LETTERS_KEPT, PAST
from core.config import HubConfig
from core.errors import ConfigError, TransientError, UnauthorizedError
from core.hub import mocks
from core.hub.compose import open_bus, open_store, rules_of, settings_of
from core.hub.losses import read_again
from core.hub.naming import ROLES, process_name
from core.hub.orders import acknowledge, backfill, replay
from core.hub.purging import purge
from core.metrics import Metrics
from core.precedence import Precedence
from core.store import Store
from schemas.answers import BackfillOrder, PurgeOrder, Purging

READERS = {EVENTS: process.GROUP, PAST: process.PAST_GROUP}  # whose lag is told: what process reads, and by which group
_PAUSE = 2.0  # seconds between two tries to reach a bus or a store that is down
_NO_STORE = 10**9  # the lag that pollers see while the store is down: they wait
_LAG_EVERY = 2.0  # seconds between two looks at the lag, for /metrics and `hub status`
_CHECK_EVERY = 300.0  # seconds between two looks at the bus, for alarms in the log
_KNOWN = 2_000  # keys that are looked up at once
_KEPT = 90 * 86_400_000  # ms that the ledger's hours are kept
_LETTERS_KEPT = int(LETTERS_KEPT.total_seconds() * 1000)
_REMEMBERED = 7 * 86_400_000  # ms that is kept what a process said that is gone, and that others report for
_NOT_OURS = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES})  # of addresses to listen at

T = TypeVar("T")
log = structlog.get_logger()
Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Running:
    """A hub that runs. `store` is None while it is down; `started` is set once all listeners are. `clock` gives the
    time of day in UTC."""

    config: HubConfig
    metrics: Metrics
    mocks: list[mocks.RunningMock]
    clock: Clock
    started: asyncio.Event = field(default_factory=asyncio.Event)
    bus: Bus | None = None
    store: Store | None = None
    api: str = ""
    webhooks: str = ""


Watch = Callable[[Running], Awaitable[None]]


async def run(
    config: HubConfig, roles: frozenset[str] = frozenset(ROLES), watch: Watch | None = None, *, clock: Clock = _now
) -> None:
    """Run until cancelled. `watch` runs beside the rooms, with what runs. A bus or a store that is
    down is waited for; raises ConfigError, or UnauthorizedError of the bus, before anything starts."""
    _check(config, roles)
    running = Running(config, Metrics(), [], clock)
    config.data.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        # First, because a second hub on the same data is refused here: it must not touch the mocks of the first. No
        # port opens before: without a bus no delivery can be kept, and sources send again what found no door.
        running.bus = await _reached(stack, lambda: open_bus(config, roles), "bus", "no port opens before it is there")
        if config.store.type == "sqlite" and roles != {"ingest"}:
            # A store of the other kind, or from a newer hub, is told before anything starts.
            running.store = await stack.enter_async_context(open_store(config))
        if config.demo and "ingest" in roles:
            running.config, running.mocks = await mocks.start(config)
            stack.push_async_callback(mocks.stop, running.mocks)
        rooms = _Rooms(running, roles, stack.enter_context(process_name(config.data, roles)))
        try:
            async with asyncio.TaskGroup() as group:
                for name, room in rooms.wanted():
                    group.create_task(room, name=name)
                if watch:
                    group.create_task(watch(running), name="watch")  # type: ignore[arg-type]
        except* OSError as errors:
            raise (_address_taken(errors) or errors) from None


async def _reached(
    stack: AsyncExitStack, opening: Callable[[], AbstractAsyncContextManager[T]], what: str, meanwhile: str
) -> T:
    """Wait for a bus or a store that is down, and say so once. Raises what only a person can mend: ConfigError, and
    UnauthorizedError where our credentials are refused."""
    waits = False
    while True:
        try:
            found = await stack.enter_async_context(opening())
        except UnauthorizedError:
            raise
        except TransientError as error:
            if not waits:
                log.warning(f"{what} is down; {meanwhile}", reason=str(error))
            waits = True
            await asyncio.sleep(_PAUSE)
        else:
            if waits:
                log.info(f"{what} is there")
            return found


def _check(config: HubConfig, roles: frozenset[str]) -> None:
    if unknown := roles - set(ROLES):
        raise ConfigError(f"unknown role {', '.join(sorted(unknown))}; there are: {', '.join(ROLES)}")
    if roles != set(ROLES) and "embedded" in (config.bus.type,):
        raise ConfigError(
            "the embedded bus lives in one process: run all roles together, or set `bus: {type: kafka, servers: …}`"
        )
    if roles != set(ROLES) and config.store.type == "sqlite" and roles != {"ingest"}:
        raise ConfigError(
            "SQLite lives in one process: run all roles together, or set `store: {type: postgres, url: …}`"
        )


class _Rooms:
    """The rooms with what each needs. Those that need the store wait for it; ingest does not."""

    def __init__(self, running: Running, roles: frozenset[str], name: str) -> None:
        assert running.bus is not None
        self._running, self._roles, self._name, self._bus = running, roles, name, running.bus
        self._has_store, self._listens = asyncio.Event(), asyncio.Event()
        self._stored: dict[str, Mapping[int, int]] = {}  # by topic
        self._waits: Mapping[str, int] | None = None  # events by connection
        self._precedence = Precedence()

    def wanted(self) -> list[tuple[str, Any]]:
        rooms: list[tuple[str, Any]] = [("store", self._keep_store())]
        if "ingest" in self._roles:
            rooms += [("ingest", self._ingest()), ("ready", self._ready())]
        for name, room in (("process", self._process), ("publish", self._publish), ("api", self._api)):
            if name in self._roles:
                rooms.append((name, self._with_store(room)))
        if "process" in self._roles:
            rooms.append(("check", self._watch_bus()))
        if self._running.config.server.metrics:
            rooms.append(("metrics", self._watched()))
        return rooms

    async def _watch_bus(self) -> None:
        """What `hub check` says of the bus, while there is time to act: each complaint once, as long as it stays the
        same."""
        said: set[str] = set()
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            with suppress(TransientError):  # a bus or a store that is down is told by those who use it
                if self._running.store is not None:
                    now = _ms(self._running.clock)
                    await self._running.store.trim(now - _KEPT, now - _LETTERS_KEPT)
                    await self._running.store.trim_states(now - _REMEMBERED)
                found = set(await self._bus.check())
                for complaint in sorted(found - said):
                    log.error("the bus needs care", reason=complaint)
                said = found

    async def _keep_store(self) -> None:
        """Open the store as soon as it is there, and hold it open."""
        async with AsyncExitStack() as stack:
            if self._running.store is None:
                config, meanwhile = self._running.config, "webhooks are taken and wait on the bus"
                self._running.store = await _reached(stack, lambda: open_store(config), "store", meanwhile)
            self._has_store.set()
            while True:
                self._waits = await self._waiting(self._running.store)
                await asyncio.sleep(_LAG_EVERY)

    async def _with_store(self, room: Callable[[Store], Awaitable[None]]) -> None:
        await self._has_store.wait()
        assert self._running.store is not None
        await room(self._running.store)

    async def _ingest(self) -> None:
        running = self._running

        def started(address: str) -> None:
            running.webhooks = address
            self._listens.set()

        await ingest.run(
            self._bus,
            running.config.connections,
            running.config.server,
            metrics=running.metrics,
            clock=running.clock,
            lag=self._lag,
            report=self._report,
            started=started,
            known=self._known,
            folder=running.config.data,
            past=self._past,
            precedence=self._precedence,
            alone=running.config.bus.type == "embedded",
        )

    async def _ready(self) -> None:
        await self._listens.wait()
        await mocks.point(self._running.mocks, self._running.webhooks)
        if "api" not in self._roles:
            self._running.started.set()
            await mocks.play(self._running.mocks)

    async def _process(self, store: Store) -> None:
        running = self._running

        async def again() -> Mapping[str, str]:
            return await read_again(running.config, self._bus, store, _ms(running.clock))

        await process.run(
            self._bus,
            store,
            settings_of(running.config),
            running.metrics,
            read_again=again,
            precedence=self._precedence,
        )

    async def _publish(self, store: Store) -> None:
        await publish.run(self._bus, store, self._running.metrics, self._precedence)

    async def _api(self, store: Store) -> None:
        running = self._running
        host, _, port = running.config.server.api.rpartition(":")
        telephony = next((m for m in running.mocks if _category(running.config, m.name) == "telephony"), None)
        room = api.Room(
            store=store,
            rules=rules_of(running.config),
            now=lambda: _ms(running.clock),
            metrics=running.metrics.render,
            since=_ms(running.clock),
            ready={"bus": self._bus_ready, "store": self._store_ready},
            waiting=lambda: self._waits,
            replay=self._replay,
            backfill=self._backfill,
            acknowledge=self._acknowledge,
            purge=self._purge,
            ring=_ring(telephony) if telephony else None,
            silent=why_silent(running.config),
            titles=titles(running.config),
            hosts=frozenset(running.config.server.names),
        )
        async with api.listening(room, host.strip("[]"), int(port)) as address:
            running.api = address
            running.started.set()
            await asyncio.Event().wait()

    async def _watched(self) -> None:
        host, _, port = self._running.config.server.metrics.rpartition(":")
        ready = {"bus": self._bus_ready, "store": self._store_ready}
        if self._roles == {"ingest"}:
            del ready["store"]  # deliveries are taken all the same
        async with api.watched(self._running.metrics.render, ready, host.strip("[]"), int(port)):
            await asyncio.Event().wait()

    async def _lag(self) -> int:
        return await self._behind(EVENTS)

    async def _past(self) -> int:
        return await self._behind(PAST)

    async def _behind(self, topic: str) -> int:
        """Raises TransientError while the store is down; then the gauge goes on from what was last known of it."""
        if self._running.store is None:
            return _NO_STORE
        range_ = await self._bus.range(topic)
        try:
            self._stored[topic] = await self._running.store.offsets(topic)
        finally:
            lag = process.behind(self._stored.get(topic, {}), range_)
            self._running.metrics.lag.labels(READERS[topic]).set(lag)
        return lag

    async def _report(self, connection: str, document: dict[str, Any]) -> None:
        if self._running.store is None:
            raise TransientError("the store is down")
        at = _ms(self._running.clock)
        await self._running.store.put_state(connection, self._name, orjson.dumps(document), at)

    async def _known(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Keys of live objects. Raises TransientError while the store is down."""
        after = ""
        while True:
            if self._running.store is None:
                raise TransientError("the store is down: nobody knows which objects should be listed")
            keys = await self._running.store.live_keys(prefix, after, _KNOWN)
            if not keys:
                return
            yield keys
            after = keys[-1]

    async def _waiting(self, store: Store) -> Mapping[str, int] | None:
        """Looks at every gauge, too. None where bus or store do not answer, and who reads or writes there says so."""
        lags = []
        for topic in READERS:
            with suppress(TransientError):
                lags.append(await self._behind(topic))
        with suppress(TransientError):
            if len(lags) == len(READERS) and "api" in self._roles:
                return await process.waiting(self._bus, store) if any(lags) else {}
        return None

    async def _backfill(self, connection: str, order: BackfillOrder) -> list[str]:
        now = _ms(self._running.clock)
        return await backfill(self._running.config, self._bus, connection, order, now)

    async def _acknowledge(self, connection: str) -> None:
        await acknowledge(self._running.config, self._bus, connection, _ms(self._running.clock))

    async def _replay(self, id: str) -> None:
        assert self._running.store is not None
        await replay(self._running.config, self._bus, self._running.store, id)

    async def _purge(self, connection: str, order: PurgeOrder) -> Purging:
        assert self._running.store is not None
        return await purge(self._running.config, self._bus, self._running.store, connection, order, running=True)

    async def _bus_ready(self) -> str | None:
        with suppress(TransientError):
            await self._bus.range(CUSTOMERS)
            return None
        return "the bus does not answer"

    async def _store_ready(self) -> str | None:
        with suppress(TransientError):
            if self._running.store is not None:
                await self._running.store.hub()
                return None
        return "the store does not answer"


def titles(config: HubConfig) -> dict[str, str]:
    """The sources' own names by vendor."""
    return {each.connector.name: each.connector.title for each in config.connections.values()}


def _ring(mock: mocks.RunningMock) -> Callable[[str | None], Awaitable[Mapping[str, str]]]:
    async def ring(phone: str | None) -> Mapping[str, str]:
        rung = await mocks.ring(mock.url, phone)
        if not rung.get("call"):
            raise LookupError(phone)
        return {"phone": str(rung["phone"]), "connection": mock.name}

    return ring


def why_silent(config: HubConfig) -> tuple[str, str]:
    """Why a process that started no mock telephone system can let nobody ring, and what to do."""
    phone = next((each for each in config.connections.values() if each.connector.category == "telephony"), None)
    if not config.demo:
        return "the sources are real", "`mock: true` makes them mocks"
    if phone is None:
        return "no telephone system is connected", "add one to hub.yaml, such as aircall"
    if phone.settings.base_url:
        return f"the mock of {phone.name} was started elsewhere", f"POST {phone.settings.base_url}/_mock/ring"
    return (
        f"the mock of {phone.name} runs with the role ingest, in another process",
        f"run both roles in one, or POST /_mock/ring to the url in {config.data / 'mocks' / phone.name}.run",
    )


def _category(config: HubConfig, name: str) -> str:
    return config.connections[name].connector.category


def _ms(clock: Clock) -> int:
    return int(clock().timestamp() * 1000)


def _address_taken(errors: BaseExceptionGroup[OSError]) -> ConfigError | None:
    """None where it is another mistake of the system, which must not be told as this one."""
    taken, _ = errors.split(lambda error: isinstance(error, OSError) and error.errno in _NOT_OURS)
    error: BaseException | None = taken
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return None
    return ConfigError(f"{error}: is a hub running already? Otherwise change `server:` in hub.yaml")


@asynccontextmanager
async def opened(config: HubConfig) -> AsyncIterator[tuple[Bus, Store]]:
    """Bus and store together, for commands that need both while no hub runs."""
    async with open_bus(config) as bus, open_store(config) as store:
        yield bus, store
