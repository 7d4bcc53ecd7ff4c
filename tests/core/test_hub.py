"""What the composition root decides by itself."""

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.config import load
from core.hub.naming import ROLES, process_name
from core.hub.run import why_silent
from tests.hubs import Hub, Tools, hub, settings, tools
from tests.ports import free_ports


def test_processes_report_under_their_host_and_roles_and_under_the_same_name_after_a_restart(tmp_path: Path) -> None:
    ingest = frozenset({"ingest"})
    with process_name(tmp_path, frozenset({"api", "ingest"})) as name:
        assert name.startswith(f"{socket.gethostname()}-ingest-api-")
    with ExitStack() as together:
        every = [[role] for role in ROLES] + [list(ROLES)]
        assert len({together.enter_context(process_name(tmp_path, frozenset(roles))) for roles in every}) == 5
    with process_name(tmp_path, ingest) as first:
        with process_name(tmp_path, ingest) as second:
            pass
    with process_name(tmp_path, ingest) as again, process_name(tmp_path, ingest) as other:
        assert (again, other) == (first, second)


def test_two_processes_of_one_kind_have_two_names_also_where_two_hosts_are_called_the_same(tmp_path: Path) -> None:
    ingest, unwritable = frozenset({"ingest"}), tmp_path / "file"
    unwritable.touch()
    with ExitStack() as together:
        folders = [tmp_path, tmp_path, tmp_path / "a", tmp_path / "b", unwritable, unwritable]
        for folder in folders[2:4]:
            folder.mkdir()
        names = {together.enter_context(process_name(folder, ingest)) for folder in folders}
    assert len(names) == len(folders)


def test_a_process_that_was_killed_leaves_its_name_to_the_next_one(tmp_path: Path) -> None:
    text = (
        "import pathlib, sys, time; from core.hub.naming import process_name; "
        "it = process_name(pathlib.Path(sys.argv[1]), frozenset({'ingest'})); print(it.__enter__(), flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        name = killed.stdout.readline().strip()
        with process_name(tmp_path, frozenset({"ingest"})) as meanwhile:
            assert meanwhile != name
        killed.kill()
        killed.wait()
    with process_name(tmp_path, frozenset({"ingest"})) as next_one:
        assert next_one == name


@pytest.mark.parametrize("left", [bytes(8), b"\xff\xfe", b"0123ABCD", b"0123abcd4", b"0123"])
def test_a_name_that_a_power_cut_has_spoiled_is_drawn_anew_and_kept(tmp_path: Path, left: bytes) -> None:
    ingest = frozenset({"ingest"})
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "ingest-0").write_bytes(left)
    with process_name(tmp_path, ingest) as drawn:
        assert re.fullmatch("[0-9a-f]{8}", drawn.removeprefix(f"{socket.gethostname()}-ingest-"))
    with process_name(tmp_path, ingest) as again:
        assert again == drawn


def test_a_file_system_without_locks_leaves_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(slot: int, how: int) -> None:
        opened.append(slot)
        raise OSError(errno.ENOLCK, "no locks available")

    opened: list[int] = []
    monkeypatch.setattr(fcntl, "flock", unsupported)
    with process_name(tmp_path, frozenset({"ingest"})) as name:
        assert name
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


@asynccontextmanager
async def served(folder: Path, ports: Sequence[int], **server: Any) -> AsyncIterator[tuple[Tools, Hub]]:
    """A hub with one source that runs with these settings of `server:`; it must stop in order."""
    api, webhooks = (f"127.0.0.1:{port}" for port in ports)
    async with (
        tools(folder / "tools", ["guru"]) as made,
        hub(folder / "hub", settings(made), server={"api": api, "webhooks": webhooks, **server}) as running,
    ):
        running.api, running.webhooks = f"http://{api}", f"http://{webhooks}"
        running.start()
        await running.ready()
        yield made, running
        await running.stop()


@pytest.mark.slow
async def test_browsers_reach_the_page_under_the_names_that_the_configuration_gives(tmp_path: Path) -> None:
    async with served(tmp_path, free_ports(2), names=["hub.example.com"]) as (made, running):
        for name, status in (("hub.example.com", 200), ("other.example.com", 421)):
            async with made.session.get(running.api, headers={"Host": name}) as answer:
                assert answer.status == status
        async with made.session.post(f"{running.api}/v1/ring", headers=running.authorization, json={}) as answer:
            assert "no telephone system is connected" in (await answer.json())["detail"]


@pytest.mark.slow
async def test_a_monitor_gets_figures_and_health_and_nothing_else_from_a_listener_of_its_own(tmp_path: Path) -> None:
    *ports, port = free_ports(3)
    metrics = f"127.0.0.1:{port}"
    async with served(tmp_path, ports, metrics=metrics) as (made, _):
        expected = {"metrics": 200, "healthz": 200, "readyz": 200, "v1/sources": 404, "": 404}
        for path, status in expected.items():
            async with made.session.get(f"http://{metrics}/{path}") as answer:
                assert answer.status == status, path
                said = await answer.text()
                assert path != "metrics" or "hub_applied" in said
                assert status == 200 or answer.content_type == "application/problem+json"


DEMO = "data: var\nconnections:\n  calls: {type: aircall, mock: true, account: example}\n"


@pytest.mark.parametrize(
    ("text", "why", "remedy"),
    [
        (DEMO, "the mock of calls runs with the role ingest, in another process", "var/mocks/calls.run"),
        (
            DEMO.replace("mock: true", "mock: true, base_url: 'http://127.0.0.1:9'"),
            "the mock of calls was started elsewhere",
            "POST http://127.0.0.1:9/_mock/ring",
        ),
        (DEMO.replace("mock: true", "api_id: a, api_token: b"), "the sources are real", "`mock: true`"),
    ],
)
def test_a_hub_in_parts_says_truly_why_it_can_let_nobody_ring(tmp_path: Path, text: str, why: str, remedy: str) -> None:
    (tmp_path / "hub.yaml").write_text(text)
    told, what = why_silent(load(tmp_path / "hub.yaml", {}))
    assert told == why and remedy in what
