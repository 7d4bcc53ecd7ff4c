"""The mock tools of a demo hub: processes of their own, so that they outlive a hub that is killed."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from core import registry
from core.config import Connection, HubConfig
from core.errors import TransientError
from core.sdk.mock import next_cycle
from supporthub import COMMAND

_PATIENCE = 30.0  # seconds until a mock must answer
_QUICK = aiohttp.ClientTimeout(total=2)


@dataclass(frozen=True, slots=True)
class RunningMock:
    """A mock that answers at `url`; `pid` is its process."""

    name: str
    url: str
    pid: int


async def start(config: HubConfig) -> tuple[HubConfig, list[RunningMock]]:
    """Start the mocks that the file asks for, or go on with those that run already. Returns the file with their
    addresses filled in. A connection that names a `base_url` keeps it: somebody runs that mock elsewhere. Where it
    fails or is cancelled, none of them is left: nobody would end it."""
    wanted = [c for c in config.connections.values() if c.settings.mock and not c.settings.base_url]
    folder = config.data / "mocks"
    folder.mkdir(parents=True, exist_ok=True)
    cycle = next_cycle([folder / f"{each.name}.json" for each in wanted])
    async with aiohttp.ClientSession(timeout=_QUICK) as session:
        at = f"http://{config.server.webhooks}"
        starting = [asyncio.ensure_future(_one(session, config, each, cycle, at)) for each in wanted]
        try:
            mocks = await asyncio.gather(*starting)
        except BaseException:
            for each in starting:
                each.cancel()
            ended = await asyncio.gather(*starting, return_exceptions=True)
            await stop([each for each in ended if isinstance(each, RunningMock)])
            raise
    urls = {mock.name: mock.url for mock in mocks}
    connections = {
        name: replace(each, settings=each.settings.model_copy(update={"base_url": urls[name]}))
        if name in urls
        else each
        for name, each in config.connections.items()
    }
    return replace(config, connections=connections), list(mocks)


async def point(mocks: list[RunningMock], webhooks: str) -> None:
    """Tell the mocks where webhooks go; `webhooks` is the listener's address, http://host:port. Where the secret is a
    part of the address, the mock knows it and signs with it."""
    for mock in mocks:
        await _told_to(mock.url, "target", {"url": f"{webhooks}/hooks/{mock.name}"})


def hook_url(connection: Connection, public: str) -> str:
    """What a person pastes into the source: the connection's webhook address, its secret part included, or the name of
    the setting for it where that is not set."""
    url = f"{public.rstrip('/')}/hooks/{connection.name}"
    webhook = connection.connector.webhook
    if webhook is None or webhook.path_secret is None:
        return url
    secret = getattr(connection.settings, webhook.path_secret, None)
    return f"{url}/{secret.get_secret_value() if secret else f'<{webhook.path_secret}>'}"


async def play(mocks: list[RunningMock]) -> None:
    """Let the story go on; until then new mocks stand still, so that the first fetch finds the world at rest."""
    for mock in mocks:
        await _told_to(mock.url, "pace", {"pace": 1})


async def stop(mocks: list[RunningMock]) -> None:
    """End these mocks and wait until their ports are free, two seconds at most."""
    async with aiohttp.ClientSession(timeout=_QUICK) as session:
        await asyncio.gather(*(_end(session, mock) for mock in mocks))


async def ring(url: str, phone: str | None) -> Mapping[str, Any]:
    """Let somebody call at the mock telephone system: {phone, name, call}."""
    return await _told_to(url, "ring", {"phone": phone} if phone else {})


async def _told_to(url: str, what: str, order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mock's answer. Raises TransientError where it has gone."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_QUICK) as session,
            session.post(f"{url}/_mock/{what}", json=order) as answer,
        ):
            return dict(orjson.loads(await answer.read()))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TransientError(f"the mock at {url} has gone: start the hub again") from error


async def _one(
    session: aiohttp.ClientSession, config: HubConfig, connection: Connection, cycle: int, webhooks: str
) -> RunningMock:
    folder = config.data / "mocks"
    told = folder / f"{connection.name}.run"
    if (running := _told(told, connection.name)) and await _answers(session, running.url):
        return running
    told.unlink(missing_ok=True)
    registry.mock(connection.connector.name)  # a connector without a mock says so before a process is started
    command = [
        *COMMAND, "mock", connection.connector.name, "--state",
        str(folder / f"{connection.name}.json"), "--cycle", str(cycle), "--told", str(told), "--pace", "0",
        "--config", str(config.path),
        # Told at once: what an earlier run had not delivered yet would be dropped by a mock that has no target.
        "--target", f"{webhooks}/hooks/{connection.name}",
    ]  # fmt: skip
    if connection.settings.account:
        command += ["--set", f"account={connection.settings.account}"]
    with (folder / f"{connection.name}.log").open("ab") as log:
        # A session of its own: Ctrl-C ends the hub, and the hub ends the mocks, in order.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(int(_PATIENCE / 0.05)):
            if running := _told(told, connection.name):
                return running
            if process.returncode is not None:
                break
            await asyncio.sleep(0.05)
    except BaseException:
        await _killed(process)
        raise
    await _killed(process)
    raise TransientError(f"the mock of {connection.name} does not start; see {folder / connection.name}.log")


async def _killed(process: asyncio.subprocess.Process) -> None:
    """A mock that has not begun has nothing to keep."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _told(path: Path, name: str) -> RunningMock | None:
    try:
        said = orjson.loads(path.read_bytes())
        return RunningMock(name, said["url"], said["pid"])
    except (OSError, ValueError, KeyError):
        return None


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.get(f"{url}/_mock/state?truth=0") as answer:
            return answer.status == 200
    return False


async def _end(session: aiohttp.ClientSession, mock: RunningMock) -> None:
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.post(f"{mock.url}/_mock/stop"):
            pass
    for _ in range(40):
        try:
            os.kill(mock.pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        if not await _answers(session, mock.url):
            return
        await asyncio.sleep(0.05)
