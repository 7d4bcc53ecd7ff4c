"""A whole hub as a process of its own, with one Intercom connection, for what is measured from outside."""

import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

SECRET = "bench-secret"
WARM = 5.0  # seconds of deliveries before any are measured
_FILE = """\
data: {data}
connections:
  intercom:
    type: intercom
    mock: true
    account: bench
    base_url: http://127.0.0.1:9
    token: bench
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
    """A running hub; `token` is its admin token."""

    api: str
    hooks: str
    token: str
    pid: int

    @property
    def webhook(self) -> str:
        return f"{self.hooks}/hooks/intercom"

    def peak_mb(self) -> float:
        """The most memory that the process ever had, as Linux counts it."""
        return self._memory("VmHWM:")

    def memory_mb(self) -> float:
        """What it has now."""
        return self._memory("VmRSS:")

    def _memory(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(name)[2].split()[0]) / 1024


@asynccontextmanager
async def running(data: Path, backends: str, crowd: str = "") -> AsyncIterator[Hub]:
    """`backends`: the `bus:` and `store:` sections as YAML; empty: embedded and SQLite in `data`. `crowd`: the address
    of a source whose past is to be fetched."""
    api, hooks = _free_port(), _free_port()
    more = _CROWD.format(url=crowd) if crowd else ""
    file = data / "bench.yaml"
    file.write_text(_FILE.format(data=data, secret=SECRET, api=api, hooks=hooks, backends=backends, more=more))
    with (data / "hub.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "core.cli", "run", "--config", str(file), stdout=log, stderr=log
        )
    try:
        await _ready(f"http://127.0.0.1:{api}", process, data)
        token = (data / "auth").read_text().split()[-1]
        yield Hub(f"http://127.0.0.1:{api}", f"http://127.0.0.1:{hooks}", token, process.pid)
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


async def _ready(api: str, process: asyncio.subprocess.Process, data: Path) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):
            if process.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{api}/readyz") as answer:
                    if answer.status == 200 and (data / "auth").exists():
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the hub does not start: see {data / 'hub.log'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
