"""`hub status`, `hub ledger` and `hub backfill` over a store that knows something."""

import asyncio
import os
import pty
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from core import api
from core.bus import Message
from core.bus.embedded import open_embedded
from core.bus.topics import EVENTS, PAST
from core.config import load
from core.hub.compose import open_bus, open_store, rules_of
from core.ingest import Cursors
from core.ingest.cursors import Saved, decode
from core.metrics import Metrics
from core.store import LedgerRow, RepairRow, Store
from core.store.sqlite import open_sqlite
from tests.core.commands import COMMAND, demo_file, hub
from tests.ports import free_ports

HOUR = 3_600_000
NOW = int(time.time() * 1000)
LAGGING = " · lag 12 events, 3,400 of first fetches waiting"
RUNNING = {"way": "backfill", "fetched": 4_200, "total": 10_000, "per_second": 350.0, "seconds_left": 17}


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A hub.yaml with a store in which one connection has said something."""
    path = demo_file(tmp_path, *free_ports(2))
    assert hub("token", "add", "first", "--scope", "read", "-c", str(path)).code == 0
    quiet = {name: {"complete_up_to": NOW - HOUR} for name in ("teams", "users")}
    streams = {
        "calls": {"complete_up_to": NOW - HOUR},
        **quiet,
        "contacts": {"complete_up_to": None, "progress": RUNNING},
    }
    document = {"connector": "aircall", "account": "example", "polls_here": True, "webhook": True, "streams": streams}

    async def write(store: Store) -> None:
        await store.put_state("aircall", "p", orjson.dumps(document), int(time.time() * 1000))
        async with store.writing() as writing:
            rows = [
                LedgerRow("aircall", NOW // HOUR * HOUR, "calls", "sweep", 12, 3, 1, 3),
                LedgerRow("aircall", NOW // HOUR * HOUR, "", "webhook", 70, 0, 0, 0),
            ]
            await writing.put_ledger(
                rows, [RepairRow("aircall", "aircall/example/call/7", NOW, "calls", "sweep", "new")]
            )

    asyncio.run(_in_store(path, write))
    return path


async def _in_store(path: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    (database,) = path.parent.rglob("hub.db")
    async with open_sqlite(database, kind="demo") as store:
        await work(store)


def test_status_tells_per_stream_what_came_and_how_far_a_backfill_is(told: Path) -> None:
    said = hub("status", "-c", str(told)).out
    rows = {line.split()[1]: line.split(None, 2)[2] for line in said.splitlines() if line.startswith("aircall ")}
    assert rows["webhooks"].split() == ["–", "70", "–", "–", "–"]
    assert rows["calls"].split() == ["1", "h", "ago", "12", "3", "3", "–"]
    assert rows["contacts"].endswith("42% backfill 4,200 of 10,000 · 350/s · 17 s left")
    assert "hub ledger CONNECTION" in said
    assert rows["2"].split() == ["more,", "nothing", "new", "1", "h", "ago", *"––––"]


def test_status_gives_machines_the_same(told: Path) -> None:
    (source,) = hub("status", "-c", str(told), "--json").json["sources"]
    assert source["streams"]["contacts"]["progress"] == RUNNING
    assert {name: source["streams"]["calls"][name] for name in ("received", "missing", "early", "repaired")} == {
        "received": 12, "missing": 3, "early": 1, "repaired": 3,
    }  # fmt: skip


def _of(connection: str) -> tuple[str, bytes]:
    return "ce_connection", connection.encode()


def test_what_waits_on_the_bus_is_told_apart_from_what_first_fetches_brought(told: Path) -> None:
    async def put() -> None:
        async with open_bus(load(told)) as bus:
            await bus.publish([Message(EVENTS, f"{n}", b"{}", headers=[_of("aircall")]) for n in range(12)])
            past = [
                Message(PAST, f"{n}", b"{}", "desk", [_of("intercom" if n % 4 else "aircall")]) for n in range(3_400)
            ]
            await bus.publish(past)

    assert hub("status", "-c", str(told)).out.splitlines()[0].endswith(" · lag 0 events")
    asyncio.run(put())
    assert LAGGING in hub("status", "-c", str(told)).out.splitlines()[0]
    said = hub("status", "-c", str(told), "--json").json
    assert (said["running"], said["lag"], said["lag_past"]) == (False, 12, 3_400)
    # Reckoned from the first that wait.
    assert {source["connection"]: source["lag"] for source in said["sources"]} == {"aircall": 896}


async def test_a_running_hub_tells_it_in_the_same_words(told: Path) -> None:
    config, metrics = load(told), Metrics()
    host, _, port = config.server.api.rpartition(":")
    async with open_store(config) as store:
        room = api.Room(
            store=store,
            rules=rules_of(config),
            now=lambda: NOW,
            metrics=metrics.render,
            waiting=lambda: {"aircall": 7},
        )
        async with api.listening(room, host, int(port)):
            assert " · lag unknown" in (await asyncio.to_thread(hub, "status", "-c", str(told))).out
            metrics.lag.labels("process").set(12)
            assert (
                (await asyncio.to_thread(hub, "status", "-c", str(told))).out.splitlines()[0].endswith("lag 12 events")
            )
            metrics.lag.labels("process-past").set(3_400)
            assert LAGGING in (await asyncio.to_thread(hub, "status", "-c", str(told))).out.splitlines()[0]
            said = (await asyncio.to_thread(hub, "status", "-c", str(told), "--json")).json
            assert (said["running"], said["lag"], said["lag_past"]) == (True, 12, 3_400)
            assert [source["lag"] for source in said["sources"]] == [7]


@pytest.mark.slow
def test_a_person_sees_a_bar(told: Path) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen([*COMMAND, "status", "-c", str(told)], stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65_536):
            seen += part
    except OSError:  # the other side is closed
        pass
    process.wait(60)
    os.close(ours)
    assert "━" in seen.decode() and "4,200 of 10,000" in seen.decode()


def test_the_ledger_names_hours_and_what_was_repaired(told: Path) -> None:
    said = hub("ledger", "aircall", "-c", str(told))
    assert said.code == 0
    assert [line.split()[2:] for line in said.out.splitlines() if " sweep " in line] == [
        ["calls", "sweep", "12", "3", "1", "3"]
    ]
    assert said.out.rstrip().endswith("aircall/example/call/7")
    answer = hub("ledger", "aircall", "--json", "-c", str(told)).json
    assert [each["key"] for each in answer["repaired"]] == ["aircall/example/call/7"] and len(answer["hours"]) == 2
    assert "hub status" in hub("ledger", "nobody", "-c", str(told)).err


def test_a_wrong_time_is_answered_with_one_that_is_right(told: Path) -> None:
    said = hub("backfill", "aircall", "calls", "--since", "soon", "-c", str(told))
    assert said.code == 2 and "since: write it as in 90d" in said.err


def test_a_backfill_is_ordered_for_the_next_start(told: Path) -> None:
    said = hub("backfill", "aircall", "calls", "--since", "90d", "-c", str(told))
    assert said.code == 0 and "calls begin anew" in said.out
    saved: dict[str, Saved] = asyncio.run(_cursors(told))
    assert (saved["calls"].cursor, saved["calls"].backfill, saved["calls"].since) == (None, True, 90 * 86_400.0)
    assert hub("backfill", "aircall", "--json", "-c", str(told)).json["streams"] == [
        "users",
        "teams",
        "contacts",
        "calls",
        "webhook",
    ]
    for wrong in (
        ("nobody",),
        ("aircall", "parrots"),
        ("aircall", "calls", "--since", "long"),
        ("aircall", "--accept"),
    ):
        assert hub("backfill", *wrong, "-c", str(told)).code != 0, wrong


async def _cursors(path: Path) -> dict[str, Any]:
    (database,) = path.parent.rglob("bus.db")
    async with open_embedded(database, disk_cap=10**9) as bus:
        return {name: decode(value) for name, value in (await Cursors(bus).streams("aircall")).items()}
