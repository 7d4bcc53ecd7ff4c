"""`hub status` of sources that are not well, short of requests, or not as they were; `hub acknowledge`."""

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from core.bus import Message
from core.bus.topics import SHAPES
from core.config import load
from core.hub.compose import open_bus, open_store
from core.store import migrate
from tests.core.commands import demo_file, hub
from tests.ports import free_ports

NOW = int(time.time() * 1000)
LIMIT = {"limit": 120, "per": 60.0, "reserve": 24}


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A hub.yaml of mocks with a store, on ports where nobody listens."""
    made = demo_file(tmp_path, *free_ports(2))
    assert hub("token", "add", "first", "--scope", "read", "-c", str(made)).code == 0
    return made


def report(config: Path, connection: str, process: str, *, ago: int = 0, **document: Any) -> None:
    """What a process of ingest would write down, or has so many ms ago."""

    async def put() -> None:
        async with open_store(load(config)) as store:
            await store.put_state(connection, process, orjson.dumps(document), int(time.time() * 1000) - ago)

    asyncio.run(put())


def test_a_name_that_stood_for_another_account_shows_nothing_of_it(demo: Path) -> None:
    streams = {"old cards": {"complete_up_to": NOW - 1}}
    report(demo, "guru", "a", ago=8 * 86_400_000, connector="guru", account="old", last_poll=NOW - 1, streams=streams)
    report(demo, "guru", "b", connector="guru", account="new", last_poll=NOW, streams={})
    (guru,) = (
        each for each in hub("status", "-c", str(demo), "--json").json["sources"] if each["connection"] == "guru"
    )
    assert (guru["source"], guru["streams"]) == ("guru/new", {})


def test_a_source_that_is_not_well_is_told_by_its_kind_with_the_remedy(demo: Path) -> None:
    trouble = {"state": "unauthorized", "error": "GET example.com/me: 401", "remedy": "correct the token"}
    report(demo, "aircall", "a", connector="aircall", last_poll=NOW, **trouble)
    report(demo, "guru", "a", connector="guru", last_poll=NOW)
    said = hub("status", "-c", str(demo))
    assert said.code == 1
    assert "aircall: GET example.com/me: 401" in said.out and "aircall: correct the token" in said.out
    states = {each["connection"]: each["state"] for each in hub("status", "-c", str(demo), "--json").json["sources"]}
    assert states == {"aircall": "unauthorized", "guru": "ok"}, "and touches no other"


def test_what_no_process_attends_to_any_more_is_told_with_the_remedy_however_well_it_was(demo: Path) -> None:
    three_days = 3 * 86_400_000
    report(demo, "aircall", "a", ago=three_days, connector="aircall", last_poll=NOW - three_days)
    report(demo, "guru", "b", connector="guru", last_poll=NOW)
    said = hub("status", "-c", str(demo))
    assert said.code == 1 and "unattended" in said.out
    assert "aircall: no process of the hub takes its deliveries or polls it (since 3 d ago)" in said.out
    remedy = "aircall: start `hub run`; where hub.yaml does not have it any more: hub purge aircall"
    assert remedy in " ".join(said.out.split())
    states = {each["connection"]: each["state"] for each in hub("status", "-c", str(demo), "--json").json["sources"]}
    assert states == {"aircall": "unattended", "guru": "ok"}


def test_who_waits_for_a_limit_is_told_over_all_processes(demo: Path) -> None:
    report(demo, "aircall", "a", connector="aircall", budget={**LIMIT, "left": 3, "waiting": {"backfill": 2}})
    report(
        demo, "aircall", "b", connector="aircall", budget={**LIMIT, "left": 0, "waiting": {"backfill": 1, "sweep": 1}}
    )
    report(demo, "guru", "a", connector="guru", budget={"waiting": {}, "paused_until": NOW + 60_000})
    said = hub("status", "-c", str(demo))
    assert (
        "aircall: requests wait for their turn (backfill: 3, sweep: 1): the source allows 120 requests in 60 s, "
        "24 of them left to your other tools"
    ) in " ".join(said.out.split())
    assert "guru: the source asked for silence until" in said.out
    assert said.code == 0
    [aircall, _] = hub("status", "-c", str(demo), "--json").json["sources"]
    assert aircall["budget"]["left"] == 0


def test_a_refusal_is_told_with_its_own_remedy(demo: Path) -> None:
    remedy = "raise connections.aircall.max_body"
    refusals = {"refused": {"the body is too large": 2}, "last_refusal": "the body is too large: more than 5 bytes"}
    report(demo, "aircall", "a", connector="aircall", **refusals, refusal_remedy=remedy)
    report(demo, "guru", "a", connector="guru", refused={"stale": 1}, last_refusal="stale")
    said = hub("status", "-c", str(demo)).out
    assert f"the last one for: the body is too large: more than 5 bytes; {remedy}\n" in said
    assert "the last one for: stale; compare connections.guru with what the source sends" in said
    assert "the body is too large: 2" in said


def test_changed_payloads_are_shown_until_they_are_acknowledged(demo: Path) -> None:
    news = [{"kind": "call", "what": "mood is new", "at": NOW}]
    report(demo, "aircall", "a", connector="aircall", drift=news)
    report(demo, "aircall", "b", connector="aircall", drift=news)
    assert "aircall: payloads have changed: call: mood is new" in hub("status", "-c", str(demo)).out
    [source] = hub("status", "-c", str(demo), "--json").json["sources"]
    assert [each["what"] for each in source["drift"]] == ["mood is new"], "once, though two processes have seen it"
    assert hub("acknowledge", "aircall", "-c", str(demo)).out == "aircall: what has changed until now is known\n"
    [message] = asyncio.run(_shapes(demo))
    assert message.key == "aircall/acknowledged" and orjson.loads(message.value or b"")["at"] >= NOW
    unknown = hub("acknowledge", "nobody", "-c", str(demo))
    assert (unknown.code, "`hub status` names them" in unknown.err) == (1, True)


async def _shapes(config: Path) -> list[Message]:
    async with open_bus(load(config)) as bus:
        found = []
        for partition, (begin, _) in (await bus.range(SHAPES)).items():
            found += [
                Message(SHAPES, record.key, record.value)
                for record in (await bus.read(SHAPES, partition, begin, 100)).records
            ]
        return found


@pytest.mark.postgres
def test_who_looks_at_a_database_leaves_it_as_it_is(tmp_path: Path, postgres_url: str) -> None:
    made = demo_file(tmp_path, *free_ports(2))
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("CREATE DATABASE looked_at")
    url = postgres_url.replace("/postgres?", "/looked_at?")
    made.write_text(f"{made.read_text()}\nstore: {{type: postgres, url: '{url}'}}\n")

    def tables() -> list[Any]:
        with psycopg.connect(url) as connection:
            named = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            return sorted(connection.execute(named).fetchall())

    checked, told = hub("check", "-c", str(made)), hub("status", "-c", str(made))
    assert checked.code == 0 and "postgres: not there yet: `hub run` makes it" in checked.out
    assert told.code == 2 and "there is no store yet: start `hub run` first" in told.err
    assert tables() == []

    older = migrate.revisions()[1]
    migrate.upgrade_postgres(lambda: psycopg.connect(url), None, 1, migrate.Birth("demo"), to=older)
    before = tables()
    checked, told = hub("check", "-c", str(made)), hub("status", "-c", str(made))
    remedy = "the store's schema is older than this supporthub: start `hub run` once"
    assert checked.code == 1 and remedy in checked.out
    assert told.code == 2 and remedy in told.err
    assert tables() == before != []
