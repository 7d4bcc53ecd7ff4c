"""A hub whose bus is down when it starts waits for it, as it does for its store, and goes on without a restart."""

import asyncio
import signal
import subprocess
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from core import hub
from core.config import HubConfig, load
from core.errors import ConfigError
from tests.core.commands import COMMAND
from tests.fixtures_bus import kafka_node
from tests.ingesting import until
from tests.ports import free_ports


def settings(folder: Path, servers: str, **options: Any) -> HubConfig:
    api, webhooks = free_ports(2)
    path = folder / "hub.yaml"
    found = {
        "data": "var",
        "server": {"api": f"127.0.0.1:{api}", "webhooks": f"127.0.0.1:{webhooks}"},
        "bus": {"type": "kafka", "servers": servers, "options": options},
        "connections": {"guru": {"type": "guru", "mock": True, "account": "example"}},
    }
    path.write_text(yaml.safe_dump(found))
    return load(path)


def said(lines: list[MutableMapping[str, Any]], word: str) -> list[MutableMapping[str, Any]]:
    return [line for line in lines if line["event"].startswith(word)]


@pytest.mark.kafka
async def test_a_hub_waits_for_its_bus_and_says_so_once_and_once_more_when_it_goes_on(tmp_path: Path) -> None:
    node = kafka_node(tmp_path / "node")
    runs: asyncio.Future[hub.Running] = asyncio.get_running_loop().create_future()

    async def watch(running: hub.Running) -> None:
        await running.started.wait()
        runs.set_result(running)

    with capture_logs() as lines:
        work = asyncio.create_task(hub.run(settings(tmp_path, node.address), watch=watch))
        try:
            await until(lambda: said(lines, "bus is down"))
            await asyncio.sleep(5)  # more than one try
            assert not work.done() and not said(lines, "bus is there")
            await asyncio.to_thread(node.start)
            running = await asyncio.wait_for(asyncio.shield(runs), 60)
            assert running.bus is not None and await hub.kind_of(running.bus) == "demo"
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            node.stop()
    [waits], [goes_on] = said(lines, "bus is down"), said(lines, "bus is there")
    assert (waits["log_level"], goes_on["log_level"]) == ("warning", "info")
    assert "connecting to" in waits["reason"]


@pytest.mark.slow
def test_ctrl_c_ends_a_hub_that_waits(tmp_path: Path) -> None:
    config = settings(tmp_path, f"127.0.0.1:{free_ports(1)[0]}")
    process = subprocess.Popen([*COMMAND, "run", "-c", str(config.path)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert "bus is down" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 10
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def test_what_is_wrong_in_the_file_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean `linger_ms`"):
        await asyncio.wait_for(hub.run(settings(tmp_path, "127.0.0.1:1", linger=5)), 20)
