"""A whole hub as processes of its own, with one Intercom connection, for what is measured from outside."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from tests.ports import free_ports

SECRET = "bench-secret"
WARM = 5.0  # seconds of deliveries before any are measured
Roles = tuple[str, ...]
TOGETHER: Sequence[Roles] = ((),)
APART: Sequence[Roles] = (("process", "publish", "api"), ("ingest",))
_FILE = """\
data: {data}
connections:
  intercom:
    type: intercom
    mock: true
    account: bench
    base_url: http://127.0.0.1:9
    token: token-of-the-bench
    webhook_secret: {secret}
    poll_every: 30d
{more}server: {{api: "127.0.0.1:{api}", webhooks: "127.0.0.1:{hooks}"}}
{backends}
"""


_CROWD = """\
  crowd:
    type: intercom
    mock: true
    account: crowd
    base_url: {url}
    token: demo-token-of-intercom
    poll_every: 30d
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub, in one process or several; `token` is its admin token."""

    api: str
    hooks: str
    pids: tuple[int, ...]
    token: str = ""

    @property
    def webhook(self) -> str:
        return f"{self.hooks}/hooks/intercom"

    def peak_mb(self) -> float:
        """The most memory that each of the processes ever had, as Linux counts it, together."""
        return self._memory("VmHWM:")

    def memory_mb(self) -> float:
        """What they have now."""
        return self._memory("VmRSS:")

    def _memory(self, name: str) -> float:
        told = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids]
        return sum(int(status.partition(name)[2].split()[0]) for status in told) / 1024


@asynccontextmanager
async def running(data: Path, backends: str, crowd: str = "", parts: Sequence[Roles] = TOGETHER) -> AsyncIterator[Hub]:
    """`backends`: the `bus:` and `store:` sections as YAML, where they differ from the defaults. `crowd`: the address
    of a source whose past is to be fetched. `parts`: the roles of each process."""
    api, hooks = free_ports(2)
    more = _CROWD.format(url=crowd) if crowd else ""
    file = data / "bench.yaml"
    file.write_text(_FILE.format(data=data, secret=SECRET, api=api, hooks=hooks, backends=backends, more=more))
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(_started(file, roles)) for roles in parts]
        pids = tuple(process.pid for process in processes)
        hub = Hub(f"http://127.0.0.1:{api}", f"http://127.0.0.1:{hooks}", pids)
        await _ready(hub, processes, data)
        yield replace(hub, token=(data / "auth").read_text().split()[-1])


@asynccontextmanager
async def _started(file: Path, roles: Roles) -> AsyncIterator[asyncio.subprocess.Process]:
    chosen = [word for role in roles for word in ("--role", role)]
    with (file.parent / "hub.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "core.cli", "run", "--config", str(file), *chosen, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def client(*words: Any) -> dict[str, Any]:
    """Run the load in a process of its own and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.client", *map(str, words), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the load failed: {words[0]}")
    return dict(json.loads(printed))


async def _ready(hub: Hub, processes: Sequence[asyncio.subprocess.Process], data: Path) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            if any(process.returncode is not None for process in processes):
                break
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{hub.api}/readyz") as ready, session.get(hub.hooks):
                    if ready.status == 200 and (data / "auth").exists():
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the hub does not start: see {data / 'hub.log'}")
