"""`hub import`: what of a file cannot be taken is named and kept, and the rest is in, whatever the file holds."""

import asyncio
import codecs
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from core.cli.client import is_running
from core.config import load
from tests.core.commands import COMMAND
from tests.core.test_import import Folder, folder
from tests.ports import free_ports

__all__ = ["folder"]

GOOD = '{"id": 2, "v": 2, "n": 1}\n'
LINES: dict[str, Any] = {"id": "id", "version": "v", "fields": {"number": "id", "attributes": {"n": "n"}}}


def kept(folder: Folder, name: str = "orders.rejected.jsonl") -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (folder.path / name).read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("99999999999999999999", "99999999999999999999"),
        ('{"x": 99999999999999999999}', {"x": "99999999999999999999"}),
        (r'"a\ud800b"', "ab"),
        (r'{"a\ud800b": ["\u0000"]}', {"ab": [""]}),
        ("NaN", None),
    ],
)
def test_what_no_store_could_keep_is_made_storable(folder: Folder, written: str, taken: Any) -> None:
    folder.write("orders.jsonl", f'{{"id": 1, "v": 2, "n": {written}}}\n{GOOD}')
    folder.map(**LINES)
    said = folder.json("orders.jsonl")
    assert (said["accepted"], said["rejected"]) == (2, 0)
    found = {event.subject: event.data for event in folder.events()}["push/erp/order/1"]
    assert found.get("attributes", {}).get("n") == taken


@pytest.mark.parametrize("depth", [200, 250, 254, 300, 900, 5000])
def test_a_row_that_is_nested_too_deep_is_one_row(folder: Folder, depth: int) -> None:
    row = f'{{"id": 1, "v": 2, "n": {"[" * depth + "]" * depth}}}'
    folder.write("orders.jsonl", f"{row}\n{GOOD}")
    folder.map(**LINES)
    said = folder.run("orders.jsonl")
    if depth > 200:
        assert said.code == 1 and "1 row imported, 1 row rejected" in said.out
        assert kept(folder)[0]["_line"] == 1
    else:
        assert said.code == 0


def test_a_rejected_row_is_kept_whatever_it_holds(folder: Folder) -> None:
    folder.write("orders.jsonl", r'{"id": 1, "v": "x", "n": ["\ud800", 99999999999999999999]}' + "\n" + GOOD)
    folder.map(**LINES)
    assert folder.run("orders.jsonl").code == 1
    assert [(each["id"], each["n"]) for each in kept(folder)] == [(1, ["", "99999999999999999999"])]


@pytest.mark.parametrize("before", [1, 3000])
def test_bytes_that_are_not_of_the_encoding_are_one_row(folder: Folder, before: int) -> None:
    rows = b"".join(b'{"id": %d, "v": 2}\n' % n for n in range(before))
    folder.write("orders.jsonl", rows + b'{"id": "\xff", "v": 2}\n{"id": "last", "v": 2}\n')
    folder.map(**{**LINES, "encoding": "utf-8"})
    said = folder.json("orders.jsonl", "--dry-run")
    assert (said["accepted"], said["rejected"]) == (before + 1, 1)
    assert said["rows"] == [{"line": before + 1, "reason": "bytes that are not utf-8"}]
    folder.write("orders.csv", b"Order,Version,Amount,Customer\n1,4,1,C\n2,4,1,\xff\n3,4,1,C\n")
    folder.map(encoding="utf-8")
    said = folder.json()
    assert (said["accepted"], said["rows"]) == (
        2, [{"line": 3, "reason": "column 'Customer': bytes that are not utf-8"}],
    )  # fmt: skip


def test_utf_16_that_is_cut_off_costs_its_last_row(folder: Folder) -> None:
    folder.write("orders.jsonl", (GOOD + GOOD).encode("utf-16")[:-3])
    folder.map(**LINES)
    assert folder.json("orders.jsonl", "--dry-run")["accepted"] == 1


def test_utf_16_without_its_mark_is_told(folder: Folder) -> None:
    folder.write("orders.csv", "Order;Version;Amount;Customer\n1;4;1;C\n".encode("utf-16-le"))
    folder.map(encoding="utf-16")
    said = folder.run()
    assert said.code == 2 and "write `encoding: utf-16-le`" in said.err
    folder.map(encoding="utf-16-le")
    assert folder.run().code == 0


@pytest.mark.parametrize("named", ["utf-8", "cp1252", "utf-16-le"])
def test_a_byte_order_mark_outweighs_the_mapping(folder: Folder, named: str) -> None:
    text = "Order;Version;Amount;Customer\n1;4;1;Größe\n"
    folder.write("orders.csv", codecs.BOM_UTF8 + text.encode())
    folder.map(encoding=named, fields={"number": "Order", "status": "Customer"})
    assert folder.json("orders.csv", "--dry-run")["first"]["data"]["status"] == "Größe"


def test_a_row_that_makes_us_stumble_is_one_row(folder: Folder) -> None:
    """Deeper by what the mapping puts around it than by itself."""
    deep = "[" * 244 + "]" * 244
    folder.write("orders.jsonl", f'{{"id": 1, "v": 2, "n": {deep}}}\n{GOOD}')
    fields: Any = "n"
    for _ in range(12):
        fields = {"a": fields}
    folder.map(**{**LINES, "fields": {"attributes": fields}})
    said = folder.run("orders.jsonl")
    assert said.code == 1 and "1 row imported, 1 row rejected" in said.out and "Traceback" not in said.err


def test_csv_rows_of_another_length_are_kept_as_they_are_and_stay_wrong(folder: Folder) -> None:
    folder.csv([["1", "4", "1"], ["2", "4", "1", "C", "more"]])
    folder.map(updated_at={"file": "modified"})
    assert folder.run().code == 1
    path: Path = folder.path / "orders.rejected.csv"
    assert [line.split(",")[:5] for line in path.read_text().splitlines()[1:]] == [
        ["1", "4", "1", "2", '"3 cells'], ["2", "4", "1", "C", "more"],
    ]  # fmt: skip
    again = folder.json("orders.rejected.csv")
    assert (again["accepted"], again["rejected"]) == (0, 2)


def test_going_on_keeps_what_was_rejected_before_that_line(folder: Folder) -> None:
    rows = [
        ["1", "4", "x", 'C "1"\n2'.replace('"', '""')],
        ["2", "4", "1", "C"],
        ["3", "4", "y", "C"],
        ["4", "4", "1", "C"],
    ]
    folder.csv(rows)
    assert folder.run().code == 1
    path = folder.path / "orders.rejected.csv"
    before = path.read_bytes()
    assert folder.run("orders.csv", "--from", "5").code == 1  # which is where 3 stands: its first row has two lines
    assert path.read_bytes() == before and path.stat().st_mode & 0o077 == 0
    said = folder.run("orders.csv", "--from", "6")
    assert said.code == 0 and "rejected rows with their reasons" in said.out
    assert path.read_bytes() == before
    folder.csv([["1", "4", "1", "C"]])
    assert folder.run().code == 0 and not path.exists()


def test_going_on_keeps_rejected_json_lines(folder: Folder) -> None:
    folder.map(**LINES)
    folder.write("orders.jsonl", '{"id": 1, "v": "x", "n": "\u2028"}\n{broken\n' + GOOD + '{"v": 2}\n')
    assert folder.run("orders.jsonl").code == 1
    before = kept(folder)
    with (folder.path / "orders.rejected.jsonl").open("a") as file:
        file.write('{"id": 9, "_line": 1, "_re')  # cut off as it was written
    assert folder.run("orders.jsonl", "--from", "4").code == 1
    assert kept(folder) == before and [each["_line"] for each in before] == [1, 2, 4]


def test_going_on_overwrites_no_rejected_rows_of_another_form(folder: Folder) -> None:
    folder.csv([["1", "4", "1", "C"]])
    path = folder.write("orders.rejected.csv", "Other;_line;_reason\nx;2;why\n")
    said = folder.run("orders.csv", "--from", "2")
    assert said.code == 2 and "move it away" in said.err and path.read_text().endswith("x;2;why\n")


def test_rejected_rows_can_be_rejected_again_and_again(folder: Folder) -> None:
    folder.csv([["1", "4", "x", "C"], ["2", "4", "x"]])
    assert [folder.run(f"orders{'.rejected' * n}.csv").code for n in range(3)] == [1, 1, 1]
    path = folder.path / "orders.rejected.rejected.rejected.csv"
    lines = path.read_text().splitlines()
    assert lines[0] == "Order,Version,Amount,Customer,_line,_reason" and lines[1].startswith("1,4,x,C,2,")
    path.write_text("\n".join([lines[0], lines[1].replace("x", "5")]))
    assert folder.run(path.name).code == 0


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
def test_rejected_rows_are_read_as_they_are_whatever_the_mapping_names(folder: Folder, encoding: str) -> None:
    folder.map(encoding=encoding, fields={"total": {"column": "Amount", "decimal": ","}, "status": "Customer"})
    folder.write("orders.csv", "Order,Version,Amount,Customer\n1,4,x,Größe\n".encode(encoding))
    assert folder.run().code == 1
    path = folder.path / "orders.rejected.csv"
    path.write_bytes(path.read_bytes().replace(b",x,", b",5,"))
    assert folder.json(path.name, "--dry-run")["first"]["data"] == {"total": "5", "status": "Größe"}


def test_a_dry_run_leaves_rejected_rows_alone(folder: Folder) -> None:
    folder.csv([["1", "4", "x", ""]])
    assert folder.json("orders.csv", "--dry-run")["rejected_file"] is None
    path = folder.write("orders.rejected.csv", "of the last import")
    assert folder.json("orders.csv", "--dry-run")["rejected_file"] is None
    assert path.read_text() == "of the last import"


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on_without_a_loss(folder: Folder) -> None:
    many, wrong = 6_000, {n for n in range(6_000) if n % 7 == 3}
    folder.csv([[f"id-{n}", "4", "x" if n in wrong else "1", "C"] for n in range(many)])
    path = folder.path / "orders.rejected.csv"
    given = ["--connection", "erp", "--map", "map.yaml", "-c", "hub.yaml"]
    with subprocess.Popen([*COMMAND, "import", "orders.csv", *given], cwd=folder.path) as process:
        while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n") > 100):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    in_before = {event.subject.rpartition("-")[2]: event.id for event in folder.events()}
    assert 0 < len(in_before) < many - len(wrong)
    line = max(map(int, in_before)) + 2  # a line again that is in
    assert folder.run("orders.csv", "--from", str(line)).code == 1
    events = folder.events()
    assert {event.subject.rpartition("-")[2]: event.id for event in events} | in_before == {
        event.subject.rpartition("-")[2]: event.id for event in events
    }
    assert {int(event.subject.rpartition("-")[2]) for event in events} == set(range(many)) - wrong
    found = [row.split(",")[0] for row in path.read_text().splitlines()[1:]]
    assert found == [f"id-{n}" for n in sorted(wrong)]


@pytest.mark.parametrize("setting", [{"max_items": 7}, {"max_body": 2_000}, {"max_body": 700}])
def test_batches_are_as_the_connection_takes_them(folder: Folder, setting: dict[str, int]) -> None:
    folder.connect(**setting)
    folder.csv([[str(n), "4", "1", "C"] for n in range(300)])
    assert "300 rows imported" in folder.run().out
    assert len(folder.events()) == 300


def test_a_row_that_no_body_can_hold_is_one_row(folder: Folder) -> None:
    folder.connect(max_body=200_000)
    folder.csv(
        [["1", "4", "1", "C"], ["2", "4", "1", "x" * 180_000], ["3", "4", "1", "y" * 200_000], ["4", "4", "1", "C"]]
    )
    said = folder.json()
    assert (said["accepted"], [row["line"] for row in said["rows"]]) == (3, [4])
    assert said["rows"][0]["reason"] == "the row is too large for a body: raise connections.erp.max_body (200000)"
    assert folder.run("orders.csv", "--from", "5").code == 0
    assert folder.json("orders.csv", "--dry-run")["accepted"] == 3


@pytest.mark.slow
def test_a_hub_that_takes_less_than_its_file_says_by_now_gets_less(folder: Folder) -> None:
    api, webhooks = free_ports(2)
    folder.connect(api, webhooks, max_items=50, max_body=20_000)
    folder.csv([[str(n), "4", "1", "x" * (30_000 if n == 70 else 5_000)] for n in range(120)])
    with subprocess.Popen([*COMMAND, "run", "-c", "hub.yaml"], cwd=folder.path) as process:
        try:
            begun = time.monotonic()
            while not asyncio.run(is_running(load(folder.path / "hub.yaml"))) and time.monotonic() < begun + 60:
                time.sleep(0.05)
            folder.connect(api, webhooks)
            said = folder.json()
        finally:
            process.terminate()
    assert (said["accepted"], said["running"], [row["line"] for row in said["rows"]]) == (119, True, [72])
    assert len(folder.events()) == 119


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ("2026-10-25 01:59", "2026-10-24T23:59:00.000Z"),
        ("2026-10-25 02:30", None),  # in summer time, or an hour later in winter time
        ("2026-10-25 02:30+01:00", "2026-10-25T01:30:00.000Z"),
        ("2026-10-25 03:00", "2026-10-25T02:00:00.000Z"),
        ("2026-03-29 02:30", None),  # the clocks leave it out
    ],
)
def test_an_hour_that_comes_twice_does_not_tell_old_from_new(folder: Folder, changed: str, taken: str | None) -> None:
    folder.csv([["1", changed, "1", "C"]])
    day = {"column": "Version", "date": "iso", "zone": "Europe/Berlin"}
    folder.map(version="Order", updated_at=day, fields={"number": "Order", "at": day})
    said = folder.json("orders.csv", "--dry-run")
    if taken:
        assert (said["first"]["updated_at"], said["first"]["data"]["at"]) == (taken, taken)
    else:
        assert "show it twice or never" in said["rows"][0]["reason"]


def test_a_day_without_a_time_is_a_day_wherever_clocks_are_set_at_midnight(folder: Folder) -> None:
    folder.csv([["1", "01.11.2026", "1", "C"]])
    folder.map(updated_at={"column": "Version", "date": "%d.%m.%Y", "zone": "America/Havana"}, version="Order")
    assert folder.json("orders.csv", "--dry-run")["first"]["updated_at"] == "2026-11-01T04:00:00.000Z"
