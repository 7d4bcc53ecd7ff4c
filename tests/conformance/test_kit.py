"""The kit as its users call it: the command, the list, the line for pytest; and what it says of purity and sameness."""

import datetime
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from core import config, conformance, registry
from core.cli.app import app
from core.conformance import kept
from core.conformance.bench import differences
from core.conformance.watch import watched
from core.errors import ConfigError
from core.sdk.faults import FAULTS
from core.sdk.text import plain
from tests.bench import quote, sources
from tests.bench.rows import CONNECTOR
from tests.conformance import desk
from tests.core.commands import ROOT, hub


def test_a_connector_is_examined_by_name() -> None:
    said = hub("test-connector", "guru", "--check", "settings", "--check", "stale")
    assert said.code == 0
    assert "every setting is described" in said.out
    assert "the source's scheme cannot show that a delivery is stale" in said.out
    assert "guru: passes 1 of 2 checks, 1 do not apply" in said.out
    machine = hub("test-connector", "guru", "--check", "settings", "--json").json
    assert [each["outcome"] for each in machine["checks"]] == ["passed"]


def test_what_does_not_exist_is_not_examined() -> None:
    assert hub("test-connector", "guro").code == 2
    assert hub("test-connector", "guru", "--check", "stael").code == 2
    assert hub("test-connector", "guru", "--write").code == 2


def test_the_list_shows_every_connector_with_what_stands_against_more() -> None:
    rows = {row["name"]: row for row in hub("connectors", "--json").json}
    assert rows.keys() == set(registry.names())
    assert rows.pop("http")["stability"] is None  # as many connectors as there are declarations
    assert all(row["stability"] in ("alpha", "beta") and row["why"] for row in rows.values())
    assert "stable" not in {row["stability"] for row in rows.values()}  # nobody ran against the real services yet
    shown = hub("connectors").out
    assert "as declared" in next(line for line in shown.splitlines() if line.startswith("http "))
    assert all(row["title"] in shown for row in rows.values())


def test_a_dozen_is_what_the_hub_brings_and_declarations_that_can_be_examined(tmp_path: Path) -> None:
    coded, names = sources.examined(), sources.dozen(tmp_path)
    assert len({*names}) == 12 and names[: len(coded)] == coded
    assert {config.declared(Path(name)).connector.name for name in names[len(coded) :]} == {*sources.DECLARED}


def test_how_long_the_examination_of_all_takes_is_quoted_in_a_line_of_its_own() -> None:
    report = [
        {"what": f"{CONNECTOR}normalize", "where": "guru", "value": 1_000.0, "unit": "events/s"},
        {"what": f"{CONNECTOR}every check", "where": "a dozen together", "value": 41.3, "unit": "s"},
    ]
    assert quote.connectors(report).splitlines() == [
        "| connector | normalize, events/s | every check, s |",
        "| --- | ---: | ---: |",
        "| guru | 1,000 |  |",
        "| a dozen together |  | 41.3 |",
    ]


async def test_without_a_mock_it_is_said_what_could_not_be_run() -> None:
    report = await conformance.run(desk.CONNECTOR)
    outcomes = {each.check: each.outcome for each in report.results}
    assert outcomes["contract"] == "passed"
    assert {outcomes[name] for name in ("samples", "readme", "backfill", "genuine", "429")} == {"not run"}
    assert report.passed
    assert report.stability == "alpha"
    some = await conformance.run(desk.CONNECTOR, checks=["contract"])
    assert (some.passed, some.stability) == (True, None), "one check says nothing of the others"
    with pytest.raises(ConfigError, match="no check 'samplse'"):
        await conformance.run(desk.CONNECTOR, checks=["samplse"])


async def test_a_kind_of_which_nothing_comes_is_named_unless_the_mock_says_that_no_list_brings_it() -> None:
    class Quiet(desk.Desk):
        unlisted = ("ticket",)

    lost = replace(desk.CONNECTOR, streams=desk.CONNECTOR.streams[:1])
    report = await conformance.run(lost, mock=desk, checks=["backfill"])
    assert [each.reason for each in report.failures] == ["31 of 31 objects of kind ticket are not found"]
    quiet = SimpleNamespace(DEMO=desk.DEMO, simulator=Quiet)
    assert (await conformance.run(lost, mock=quiet, checks=["backfill"])).passed


async def test_a_declaration_is_asked_for_what_it_maps_and_may_leave_out_the_rest(tmp_path: Path) -> None:
    path, said = tmp_path / "aircall.yaml", yaml.safe_load((ROOT / "deploy/examples/aircall.yaml").read_text())
    said["streams"] = [stream for stream in said["streams"] if stream["kind"] != "team"]
    path.write_text(yaml.safe_dump(said))
    report = await conformance.examine(str(path), checks=["backfill"])
    assert [each.reason for each in report.failures] == ["2 of 2 objects of kind team are not found"]
    del said["mapping"]["team"], said["hydrate"]["team"]
    path.write_text(yaml.safe_dump(said))
    assert (await conformance.examine(str(path), checks=["backfill"])).passed


def test_what_stands_against_beta_is_kept_by_name() -> None:
    made = [conformance.Result("stale", "old ones are refused", "failed", "it is answered 202"),
            conformance.Result("samples", "samples match", "not run", "there are none")]  # fmt: skip
    told = kept.told(conformance.Report("desk", made))
    assert (told.stability, told.why) == ("alpha", ("stale", "samples (not run)"))


@pytest.mark.parametrize(
    ("impure", "said"),
    [
        (lambda: time.time(), "the clock"), (lambda: datetime.datetime.now(datetime.UTC), "the clock"),
        (lambda: Path(__file__).read_text(), "opens a file"),
        (lambda: os.urandom(1), "operating system"), (lambda: uuid.uuid4(), "operating system"),
        (lambda: __import__("socket").create_connection(("127.0.0.1", 9), 1), "I/O"),
    ],
)  # fmt: skip
def test_what_is_not_pure_is_seen(impure: Callable[[], Any], said: str) -> None:
    caught: list[str] = []

    def work() -> None:
        try:
            impure()
        except OSError:
            caught.append("refused")

    assert any(said in each for each in watched(work)[1])


def test_what_is_pure_is_left_in_peace() -> None:
    text, said = watched(lambda: plain("<p>Hello</p>") + datetime.datetime.fromisoformat("2026-01-12").isoformat())
    assert text.startswith("Hello")
    assert said == []


def test_differences_name_the_object_and_the_field_and_no_value() -> None:
    before = {"desk/acme/person/1": ("live", {"name": "Dana"}, None), "desk/acme/person/2": ("live", {}, None)}
    after = {"desk/acme/person/1": ("live", {"name": "Dan"}, None)}
    assert list(differences(before, after)) == [
        "1 of 2 objects are missing, such as person 2",
        "person 1 says something else of name",
    ]


def test_every_fault_is_told_in_the_help() -> None:
    told = next(each.callback.__doc__ for each in app.registered_commands if each.callback.__name__ == "mock")  # type: ignore[union-attr]
    assert [kind for kind in FAULTS if kind not in (told or "")] == []
