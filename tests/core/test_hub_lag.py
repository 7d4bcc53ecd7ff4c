"""The lag of each connection is counted beside the requests that ask for it."""

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core import hub
from core.bus import Message
from core.bus.topics import EVENTS
from core.config import load
from core.errors import TransientError
from core.hub.compose import open_bus, open_store
from core.process.waiting import waiting
from tests.core import commands
from tests.ingesting import until
from tests.ports import free_ports


@pytest.mark.slow
async def test_sources_are_told_at_once_while_the_bus_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commands.demo_file(tmp_path, *free_ports(2))
    added = await asyncio.to_thread(commands.hub, "token", "add", "first", "--scope", "read", "-c", str(path))
    config, runs = load(path), asyncio.get_running_loop().create_future()
    [token] = re.findall(r"hub_\S+", added.out)
    headers = {"Authorization": f"Bearer {token}"}

    async def watch(running: hub.Running) -> None:
        await running.started.wait()
        runs.set_result(running)

    async def lags() -> set[int | None]:
        async with asyncio.timeout(5), session.get(f"{running.api}/v1/sources") as answer:
            return {source.get("lag") for source in (await answer.json())["sources"]}

    async def known() -> bool:
        return bool(found := await lags()) and None not in found

    async def unknown() -> bool:
        return await lags() == {None}

    async def refused(topic: str) -> Any:
        raise TransientError("the bus is down")

    async def hanging(topic: str) -> Any:
        await asyncio.Event().wait()

    work = asyncio.create_task(hub.run(config, watch=watch))
    try:
        running = await asyncio.wait_for(runs, 60)
        async with aiohttp.ClientSession(headers=headers) as session:
            await until(known)
            with monkeypatch.context() as down:
                down.setattr(running.bus, "range", refused)
                await until(unknown)
            await until(known)
            with monkeypatch.context() as down:
                down.setattr(running.bus, "range", hanging)
                await asyncio.sleep(3)  # the next look has begun
                assert await known()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_what_others_put_on_the_bus_stops_no_count(tmp_path: Path) -> None:
    config = load(commands.demo_file(tmp_path, *free_ports(2)))
    config.data.mkdir(parents=True)
    headers = [b"aircall", b"\xff", b""]
    async with open_bus(config) as bus, open_store(config) as store:
        await bus.publish([Message(EVENTS, f"{each!r}", b"?", headers=[("ce_connection", each)]) for each in headers])
        assert await waiting(bus, store) == {"aircall": 1}
