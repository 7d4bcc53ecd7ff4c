"""A whole hub as its users run it: processes of `hub run`, with the mock tools as processes beside it. A plugin."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg
import pytest
import yaml

from core import hub as composition
from core import registry
from core.bus import Bus
from core.bus.topics import HINTS
from core.config import HubConfig, load
from core.process import lag
from core.sdk import to_ms
from core.store import Store
from tests.ports import free_ports

SOURCES = ("aircall", "guru", "hubspot", "intercom")
ROLES = ("ingest", "process", "process2", "publish", "api")
PATIENCE = 90.0  # seconds; generous, because the machine is shared
_COMMAND = [sys.executable, "-m", "core.cli"]
_ROOT = Path(__file__).parent.parent
_QUICK = aiohttp.ClientTimeout(total=10)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often the kill tests kill the hub (default: 5)")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture
def machines(kafka_servers: str, postgres_url: str, prefix: str) -> Iterator[dict[str, Any]]:
    """`bus:` and `store:` of a hub on Kafka and PostgreSQL, with topics and a database of its own."""
    name = prefix.strip(".").replace("-", "_")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = postgres_url.replace("/postgres?", f"/{name}?")
        yield {
            "bus": {"type": "kafka", "servers": kafka_servers, "prefix": prefix},
            "store": {"type": "postgres", "url": url},
        }
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def until(said: Callable[[], Any], what: str, seconds: float = PATIENCE, every: float = 0.1) -> Any:
    """Wait for something to be true; `said` may be a coroutine function. An HTTP error means: not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = said()
            value = await value if asyncio.iscoroutine(value) else value
        except (aiohttp.ClientError, TimeoutError, OSError):
            value = None
        if value:
            return value
        assert time.monotonic() < deadline, f"it never came true: {what}"
        await asyncio.sleep(every)


@dataclass
class Tools:
    """The mock tools, each a process of `hub mock`. They stand still until `all("pace", pace=…)`."""

    urls: dict[str, str]
    secrets: Mapping[str, Mapping[str, str]]
    session: aiohttp.ClientSession

    async def post(self, name: str, what: str, **body: Any) -> Any:
        async with self.session.post(f"{self.urls[name]}/_mock/{what}", json=body) as answer:
            return await answer.json()

    async def get(self, name: str, what: str) -> Any:
        async with self.session.get(f"{self.urls[name]}/_mock/{what}") as answer:
            return await answer.json()

    async def all(self, what: str, **body: Any) -> None:
        await asyncio.gather(*(self.post(name, what, **body) for name in self.urls))

    async def beat(self, name: str, kind: str, ref: str, data: Mapping[str, Any]) -> None:
        """Something happens now that is not in the story."""
        await self.post(name, "beat", kind=kind, ref=ref, data=data)

    async def point(self, address: str) -> None:
        """Let webhooks go to the hub, or whoever stands before it, at http://host:port."""
        for name in self.urls:
            await self.post(name, "target", url=f"{address}/hooks/{name}")

    async def delivered(self) -> bool:
        """Whether no webhook waits any more."""
        states = await asyncio.gather(*(self.get(name, "state?truth=0") for name in self.urls))
        return not any(state["queue"] for state in states)

    async def acknowledged(self) -> dict[str, set[str]]:
        """Ids of the objects of every delivery that was answered 2xx, by source."""
        return {
            name: {each["subject"] for each in await self.get(name, "deliveries") if 200 <= each["status"] < 300}
            for name in self.urls
        }


@asynccontextmanager
async def tools(
    folder: Path, names: Sequence[str] = SOURCES, secrets: Mapping[str, Mapping[str, str]] | None = None
) -> AsyncIterator[Tools]:
    """`secrets`: settings by connection, instead of the mock's own."""
    folder.mkdir(parents=True, exist_ok=True)
    secrets = secrets or {}
    processes = []
    try:
        for name in names:
            given = [f"--set={key}={value}" for key, value in secrets.get(name, {}).items()]
            told, state = folder / f"{name}.run", folder / f"{name}.json"
            command = [*_COMMAND, "mock", name, "--pace", "0", "--state", str(state), "--told", str(told), *given]
            with (folder / f"{name}.log").open("ab") as log:
                processes.append(subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log))
        await until(lambda: all((folder / f"{name}.run").exists() for name in names), "the mocks answer")
        urls = {name: orjson.loads((folder / f"{name}.run").read_bytes())["url"] for name in names}
        async with aiohttp.ClientSession(timeout=_QUICK) as session:
            made = Tools(urls, secrets, session)
            await made.all("limit", requests=10**9)  # what they limit is tested elsewhere
            yield made
    finally:
        for process in processes:
            process.kill()
            process.wait()


@dataclass
class Hub:
    """A hub on its own `hub.yaml`. Processes are known by the roles that they were started with ("" is all of them),
    and by a number where there are several of a kind: `process`, `process2`."""

    folder: Path
    api: str
    webhooks: str
    session: aiohttp.ClientSession
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    command: Sequence[str] = (*_COMMAND, "run")

    @property
    def path(self) -> Path:
        return self.folder / "hub.yaml"

    @property
    def config(self) -> HubConfig:
        return load(self.path)

    def start(self, *names: str) -> None:
        for name in names or ("",):
            assert name not in self.running, f"{name} runs already"
            role = name.rstrip("0123456789")
            given = ["--role", role] if role else []
            with (self.folder / f"{name or 'hub'}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [*self.command, "-c", str(self.path), *given], cwd=_ROOT, stdout=log, stderr=log
                )

    async def kill(self, name: str = "") -> None:
        """As a crash does it."""
        process = self.running.pop(name)
        process.kill()
        await asyncio.to_thread(process.wait)

    async def stop(self) -> None:
        """In order; asserts that all ended by themselves and said no error."""
        stopping, self.running = self.running, {}
        for process in stopping.values():
            process.send_signal(signal.SIGTERM)
        for name, process in stopping.items():
            code = await asyncio.to_thread(process.wait, PATIENCE)
            assert code == 0, f"{name or 'hub'} ended with {code}:\n{self.log()[-3000:]}"

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)

    def log(self) -> str:
        """What all of them said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    async def ready(self) -> None:
        """Until requests and webhooks are answered, by those that run."""
        await until(self.is_ready, "the hub is ready")

    async def is_ready(self) -> bool:
        for name, process in self.running.items():
            assert process.poll() is None, f"{name or 'hub'} ended by itself:\n{self.log()[-3000:]}"
        if self.running.keys() & {"", "ingest"}:
            async with self.session.get(f"{self.webhooks}/hooks"):
                pass
        if not self.running.keys() & {"", "api"}:
            return True
        async with self.session.get(f"{self.api}/readyz") as answer:
            return answer.status == 200 and (self.folder / "data" / "auth").exists()

    @property
    def authorization(self) -> dict[str, str]:
        name, _, value = (self.folder / "data" / "auth").read_text().strip().partition(": ")
        return {name: value}

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.api}{path}", headers=self.authorization) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return await answer.json() if "json" in answer.content_type else await answer.text()

    async def polled(self, since: float = 0.0) -> None:
        """Until every stream was read once to its end, from `since` (Unix time) on."""

        async def complete() -> bool:
            states = {each["connection"]: each for each in (await self.get("/v1/sources"))["sources"]}
            wanted = {name: each.connector.streams for name, each in self.config.connections.items()}
            return all(
                all(
                    _after(states.get(name, {}).get("complete_up_to", {}).get(stream.name), since) for stream in streams
                )
                for name, streams in wanted.items()
            )

        await until(complete, "every stream was read to its end", 2 * PATIENCE)

    async def settled(self, quiet: float = 4.0) -> str:
        """Until nothing changes any more for `quiet` seconds; the version at which that is."""
        seen, since = "", time.monotonic()

        async def same() -> bool:
            nonlocal seen, since
            if (version := (await self.get("/v1/sources"))["version"]) != seen:
                seen, since = version, time.monotonic()
            return time.monotonic() - since > quiet

        await until(same, "the records come to rest", 2 * PATIENCE)
        return seen

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Bus, Store]]:
        """Bus and store from outside; on the embedded bus only while the hub is stopped."""
        config = self.config
        async with composition.open_bus(config) as bus, composition.open_store(config) as store:
            yield bus, store

    async def drained(self) -> None:
        """Stop the hub once everything that it took has come to its end."""
        roles = tuple(self.running)
        for _ in range(10):
            await self.settled()
            await self.stop()
            async with self.opened() as (bus, store):
                if not await _behind(bus, store):
                    return
            self.start(*roles)
            await self.ready()
        raise AssertionError("something on the bus never comes to its end")


async def _behind(bus: Bus, store: Store) -> int:
    """Events and hints that are not yet handled."""
    hints = await bus.committed("hydrate", HINTS)
    behind = sum(high - hints.get(at, low) for at, (low, high) in (await bus.range(HINTS)).items())
    return behind + await lag(bus, store)


def _after(moment: str | None, since: float) -> bool:
    return moment is not None and to_ms(moment) >= since * 1000


def settings(made: Tools, more: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The `connections:` for these mocks, which the hub finds running: it does not start them."""
    connections: dict[str, Any] = {}
    for name, url in made.urls.items():
        entry = {"type": name, "mock": True, "base_url": url, "poll_every": "1h", **made.secrets.get(name, {})}
        if "account" in registry.mock(name).DEMO or name == "guru":
            entry["account"] = "example"
        connections[name] = {**entry, **(more or {}).get(name, {})}
    return connections


@asynccontextmanager
async def hub(folder: Path, connections: Mapping[str, Any], **sections: Any) -> AsyncIterator[Hub]:
    """A hub that is not started yet, on free ports; what still runs at the end is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    api, webhooks = free_ports(2)
    server = {"api": f"127.0.0.1:{api}", "webhooks": f"127.0.0.1:{webhooks}"}
    identity = {"own": ["support@example.com", "+12025550199"]}
    given = {"data": "data", "connections": dict(connections), "identity": identity, "server": server, **sections}
    (folder / "hub.yaml").write_text(yaml.safe_dump(given))
    async with aiohttp.ClientSession(timeout=_QUICK) as session:
        made = Hub(folder, f"http://{server['api']}", f"http://{server['webhooks']}", session)
        try:
            yield made
        finally:
            for process in made.running.values():
                process.kill()
                process.wait()
