"""`hub import`: files in every form that people have, and mistakes that are told where they stand."""

import asyncio
import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from core.bus import Record
from core.bus.codec import Incoming, decode
from core.bus.topics import EVENTS
from core.config import load
from core.hub import open_bus
from core.ingest.recipes import cook
from core.sdk import NormalizeError
from tests.core.commands import Said, hub
from tests.core.test_intake import messages

MAPPING: dict[str, Any] = {
    "entity": "order",
    "id": "Order",
    "version": "Version",
    "fields": {
        "number": "Order",
        "total": {"column": "Amount", "decimal": ","},
        "currency": {"constant": "EUR"},
        "parties": [{"role": {"constant": "requester"}, "person": {"column": "Customer", "prefix": "person/"}}],
    },
}
HEAD = ["Order", "Version", "Amount", "Customer"]
ROWS = [["1", "4", "59,80", "C-1"], ["2", "4", "1.059,80", ""]]


class Folder:
    """A hub.yaml with a push connection, a mapping and data files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connect()
        self.map()

    def connect(self, api: int = 9, webhooks: int = 10, **settings: Any) -> None:
        """`settings` of the connection; at the ports nobody listens, if none are given."""
        entry = {"type": "push", "account": "erp", "token": "a-long-word-of-the-erp", **settings}
        server = {"api": f"127.0.0.1:{api}", "webhooks": f"127.0.0.1:{webhooks}"}
        self.write("hub.yaml", yaml.safe_dump({"data": "data", "connections": {"erp": entry}, "server": server}))

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def map(self, **changes: Any) -> None:
        self.write("map.yaml", yaml.safe_dump({**MAPPING, **changes}, sort_keys=False))

    def csv(self, rows: list[list[str]], delimiter: str = ",", head: list[str] | None = None) -> None:
        lines = [delimiter.join(f'"{cell}"' for cell in row) for row in [head or HEAD, *rows]]
        self.write("orders.csv", "\n".join(lines) + "\n")

    def run(self, name: str = "orders.csv", *more: str) -> Said:
        given = ["--connection", "erp", "--map", str(self.path / "map.yaml"), "-c", str(self.path / "hub.yaml")]
        return hub("import", str(self.path / name), *given, *more)

    def json(self, name: str = "orders.csv", *more: str) -> Any:
        return self.run(name, "--json", *more).json

    def events(self) -> list[Incoming]:
        async def read() -> list[Record]:
            async with open_bus(load(self.path / "hub.yaml")) as bus:
                return await messages(bus, EVENTS)

        return [decode(record) for record in asyncio.run(read())]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    yield Folder(tmp_path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out(folder: Folder, delimiter: str) -> None:
    folder.csv(ROWS, delimiter)
    assert folder.json("orders.csv", "--dry-run")["accepted"] == 2


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE), ("cp1252", b"")],
)
def test_the_encoding_is_found_out(folder: Folder, encoding: str, mark: bytes) -> None:
    text = "Order;Version;Größe\r\n1;1;Größe 5 €\r\n"
    folder.write("orders.csv", mark + text.encode(encoding))
    folder.map(fields={"status": "Größe"})
    assert folder.json("orders.csv", "--dry-run")["first"]["data"] == {"status": "Größe 5 €"}


def test_a_row_becomes_an_item_and_what_is_empty_is_left_out(folder: Folder) -> None:
    folder.csv(ROWS)
    first = folder.json("orders.csv", "--dry-run")["first"]
    assert first["data"] == {
        "number": "1", "total": "59.80", "currency": "EUR",
        "parties": [{"role": "requester", "person": "person/C-1"}],
    }  # fmt: skip
    folder.csv(ROWS[1:])
    assert folder.json("orders.csv", "--dry-run")["first"]["data"]["parties"] == []


def test_a_word_that_becomes_nothing_is_as_an_empty_cell(folder: Folder) -> None:
    folder.csv([["1", "4", "1,00", "none"]])
    person = {"column": "Customer", "values": {"none": None, "*": "C-1"}, "prefix": "person/"}
    folder.map(fields={"number": "Order", "parties": [{"role": {"constant": "requester"}, "person": person}]})
    assert folder.json("orders.csv", "--dry-run")["first"]["data"] == {"number": "1", "parties": []}


def test_json_lines_keep_money_as_it_is_written(folder: Folder) -> None:
    folder.write("orders.jsonl", '{"id": 1, "v": 2, "total": 59.80, "customer": {"id": "C-1"}, "paid": true}\n')
    status = {"column": "paid", "values": {"true": "paid", "false": "open"}}
    folder.map(id="id", version="v", fields={"total": "total", "status": status, "attributes": {"who": "customer.id"}})
    said = folder.json("orders.jsonl", "--dry-run")
    assert said["first"]["data"] == {"total": "59.80", "status": "paid", "attributes": {"who": "C-1"}}


def test_the_same_file_twice_is_the_same_events(folder: Folder) -> None:
    folder.csv(ROWS)
    assert (folder.run().code, folder.run().code) == (0, 0)
    events = folder.events()
    assert {event.subject for event in events} == {"push/erp/order/1", "push/erp/order/2"}
    assert len({event.id for event in events}) == 2
    assert {event.connection for event in events} == {"erp"}


def test_a_dry_run_sends_nothing(folder: Folder) -> None:
    folder.csv(ROWS)
    assert folder.run("orders.csv", "--dry-run").code == 0
    assert not (folder.path / "data").exists()


def test_rejected_rows_are_named_and_kept_and_can_be_imported_after_a_repair(folder: Folder) -> None:
    wrong = [["3", "4", "about 60", "C-1"], ["4", "now", "1,00", "C-1"], ["5", "4", "1,00"], ["", "4", "1,00", "C-1"]]
    folder.csv([ROWS[0], *wrong, ROWS[1]])
    said = folder.run()
    assert said.code == 1 and "2 rows imported, 4 rows rejected" in said.out
    path = folder.path / "orders.csv"
    assert said.err.splitlines() == [
        f"{path}:3: column 'Amount': no decimal with the mark ','",
        f"{path}:4: column 'Version' (version): input should be a valid integer, unable to parse string as an integer",
        f"{path}:5: 3 cells, and the first line names 4 columns",
        f"{path}:6: id: is missing",
    ]
    beside = folder.path / "orders.rejected.csv"
    assert beside.stat().st_mode & 0o077 == 0
    kept = beside.read_text().splitlines()
    assert kept[0].endswith("_line,_reason") and kept[1].startswith("3,4,about 60,C-1,3,") and len(kept) == 5
    beside.write_text("\n".join([kept[0], kept[1].replace("about 60", '"60,00"')]) + "\n")
    assert folder.run("orders.rejected.csv").code == 0
    folder.csv(ROWS)
    assert folder.run().code == 0 and not beside.exists()


def test_a_file_that_breaks_off_says_where(folder: Folder) -> None:
    text = 'Order,Version,Amount,Customer\n1,1,"1,00",C-1\n2,1,"1,0"0,C-1\n'
    folder.write("orders.csv", text)
    said = folder.run()
    assert said.code == 1 and f"{folder.path / 'orders.csv'}:3: cannot be read on" in said.err
    assert "what stands before line 3 is in: go on with --from 3" in said.err
    assert [event.subject for event in folder.events()] == ["push/erp/order/1"]
    folder.write("orders.csv", text.replace('0"0', '00"'))
    assert "1 row imported" in folder.run("orders.csv", "--from", "3").out


def test_an_import_can_go_on_from_a_line(folder: Folder) -> None:
    folder.csv(ROWS)
    said = folder.json("orders.csv", "--dry-run", "--from", "3")
    assert said["accepted"] == 1 and said["first"]["id"] == "2"


def test_a_row_can_delete(folder: Folder) -> None:
    folder.csv([["1", "4", "x", "C-1"]])
    folder.map(action={"column": "Amount", "values": {"x": "deleted", "*": "upserted"}})
    said = folder.json("orders.csv", "--dry-run")
    assert (said["accepted"], said["first"]["action"], "data" in said["first"]) == (1, "deleted", False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"entity": "ordr"}, "1: entity: say what a row is; did you mean `order`?"),
        ({"kind": "x"}, "kind: of custom objects, and of no others"),
        ({"id": "Ordr"}, "2: id: orders.csv has no column 'Ordr'; did you mean `Order`?"),
        ({"version": None}, "name a column"),
        ({"colour": "Order"}, "colour: unknown; there are:"),
        ({"fields": {}}, "fields: say which field comes from which column"),
        ({"fields": {"totl": "Amount"}}, "5: fields.totl: order has no such field; did you mean `total`?"),
        ({"fields": {"total": {"column": "Amont"}}}, "fields.total: orders.csv has no column 'Amont'"),
        ({"fields": {"total": {"column": "Amount", "decimel": ","}}}, "decimel: unknown; did you mean `decimal`?"),
        ({"fields": {"at": {"column": "Order", "zone": "Europe/Bern"}}}, "zone: no time zone of that name"),
        ({"fields": {"total": {"column": "Amount", "take": 1}}}, "take: which part after `split`"),
        ({"fields": {"total": 5}}, "fields.total: name a column"),
        ({"mode": "some"}, "mode: full or patch"),
        ({"delimiter": ";;"}, "delimiter: one mark in quotes"),
        ({"delimiter": ""}, "delimiter: one mark in quotes"),
        ({"delimiter": 5}, "delimiter: one mark in quotes"),
        ({"encoding": 5}, "encoding: none of that name"),
        ({"encoding": "utf-9"}, "encoding: none of that name"),
        ({"encoding": "base64"}, "encoding: none of that name"),
        ({"kind": 5, "entity": "custom"}, "kind: of custom objects"),
        ({"id": None}, "2: id: name a column"),
        ({"fields": {"number": None}}, "5: fields.number: name a column"),
        ({"fields": {"number": {"column": 2024}}}, "6: fields.number.column: write the column's name, in quotes"),
        ({"fields": {"number": {"column": None}}}, "fields.number.column: write the column's name"),
        ({"fields": {"number": {"column": "Order", "split": ""}}}, "split: write the mark between the parts"),
        ({"fields": {"number": {"column": "Order", "prefix": None}}}, "prefix: write what stands before it"),
        ({"fields": {"number": {"column": "Order", "currency": None}}}, "currency: write the currency"),
        ({"fields": {"number": {"column": "Order", "phone": False}}}, "phone: write the country as two capitals"),
        ({"fields": {"number": {"column": "Order", "date": None}}}, "date: write the date's form"),
        ({"fields": {"number": {"column": "Order", "date": "%Q"}}}, "date: write iso, epoch, epoch_ms, or a form"),
        ({"fields": {"number": {"column": "Order", "date": "DD.MM.YYYY"}}}, "date: write iso, epoch, epoch_ms"),
    ],
)
def test_mistakes_in_the_mapping_are_told_with_their_line(folder: Folder, change: dict[str, Any], told: str) -> None:
    folder.csv(ROWS)
    folder.map(**change)
    if change == {"version": None}:
        folder.map(**{**change, "version": 7})
    said = folder.run("orders.csv", "--dry-run")
    assert said.code == 2
    line = next(line for line in said.err.splitlines() if told in line.replace(str(folder.path) + "/", ""))
    assert f"{folder.path / 'map.yaml'}:" in line


def test_what_stands_twice_in_a_mapping_is_told(folder: Folder) -> None:
    folder.csv(ROWS)
    folder.write("map.yaml", "entity: order\nid: Order\nversion: Version\nfields:\n  number: Order\n  number: Amount\n")
    assert "map.yaml:6: fields.number: stands twice" in folder.run().err


def test_words_that_yaml_takes_for_something_else_stay_as_they_are_written(folder: Folder) -> None:
    folder.csv(ROWS[:1])
    text = (folder.path / "map.yaml").read_text()
    folder.write("map.yaml", text + '  at: {constant: 2026-03-01T09:30:00Z}\n  status: {constant: "a\\uD800b"}\n')
    data = folder.json("orders.csv", "--dry-run")["first"]["data"]
    assert (data["at"], data["status"]) == ("2026-03-01T09:30:00Z", "ab")


def test_who_sends_from_inside_needs_no_public_address(folder: Folder) -> None:
    said = hub("check", "--live", "-c", str(folder.path / "hub.yaml"))
    assert (said.code, "private" in said.out) == (0, False)
    assert "erp: push, ok, account erp" in said.out and "/hooks/erp" in said.out


def test_wrong_use_is_told(folder: Folder) -> None:
    folder.csv(ROWS)
    given = ["--map", str(folder.path / "map.yaml"), "-c", str(folder.path / "hub.yaml")]
    said = hub("import", str(folder.path / "orders.csv"), "--connection", "crm", *given)
    assert said.code == 2 and "no push connection 'crm'; there are: erp" in said.err
    assert folder.run("absent.csv").code == 2
    folder.write("orders.csv", "")
    assert "the first line must name the columns" in folder.run().err
    folder.csv(ROWS, head=["Order", "Order", "Order (1)", "Customer"])
    assert "stands twice" in folder.run().err


@pytest.mark.parametrize(
    ("cell", "recipe", "made"),
    [
        ("a; b;;c", {"split": ";"}, ["a", "b", "c"]),
        ("Reyes, Dana", {"split": ",", "take": 2}, "Dana"),
        ("Reyes", {"split": ",", "take": 2}, None),
        (", Dana", {"split": ",", "take": 1}, None),  # no family name, and not Dana
        (", Dana", {"split": ",", "take": 2}, "Dana"),
        ("1; 2;", {"split": ";", "values": {"1": "gold", "2": None}}, ["gold"]),
        ([7, None, "8"], {"prefix": "tag/"}, ["tag/7", "tag/8"]),
        ([7, {"a": True}], {}, [7, {"a": True}]),
        ("none", {"values": {"none": None}, "prefix": "person/"}, None),
        ("free", {"values": {"free": None, "*": "1"}, "decimal": ","}, None),
        ("free", {"values": {"free": 0}, "decimal": ","}, "0"),
        ("never", {"values": {"never": None}, "date": "%Y"}, None),
        ("0", {"date": "epoch", "prefix": "on "}, None),
        ("1.059,80 €", {"decimal": ","}, "1059.80"),
        ("$1,059.80", {"decimal": "."}, "1059.80"),
        ("1 059,80", {"decimal": ","}, "1059.80"),
        ("-5", {"decimal": "."}, "-5"),
        ("1.059,80-", {"decimal": ","}, "-1059.80"),
        ("−5,00 €", {"decimal": ","}, "-5.00"),
        ("+5", {"decimal": "."}, "5"),
        (",50", {"decimal": ","}, "0.50"),
        ("12,50 CHF", {"currency": "EUR"}, "CHF"),
        ("£5", {"currency": "EUR"}, "GBP"),
        ("5", {"currency": "EUR"}, "EUR"),
        ("020 7946 0321", {"phone": "GB"}, "+442079460321"),
        ("2026-07-01 12:00", {"date": "iso", "zone": "Europe/Berlin"}, "2026-07-01T10:00:00.000Z"),
        ("01.02.2026", {"date": "%d.%m.%Y"}, "2026-02-01T00:00:00.000Z"),
        ("2026-10-25 02:30", {"date": "iso", "zone": "Europe/Berlin"}, "2026-10-25T00:30:00.000Z"),  # the first of two
        ("1772208000", {"date": "epoch"}, "2026-02-27T16:00:00.000Z"),
        (7, {"prefix": "person/"}, "person/7"),
    ],
)
def test_recipes(cell: Any, recipe: dict[str, Any], made: Any) -> None:
    assert cook(cell, recipe, "US") == made


@pytest.mark.parametrize(
    ("cell", "recipe"),
    [
        ("1.50", {"decimal": ","}),  # not 150
        ("1,5,0", {"decimal": ","}),
        (",", {"decimal": ","}),
        ("٥,٠٠", {"decimal": ","}),
        ("-5-", {"decimal": ","}),
        ("free", {"decimal": "."}),
        ("31.02.2026", {"date": "%d.%m.%Y"}),
        ("anonymous", {"phone": "US"}),
        ("Z", {"values": {"A": "gold"}}),
        ("Z", {"values": {"Z": True}, "decimal": "."}),
        ({"id": 1}, {"prefix": "person/"}),
    ],
)
def test_recipes_refuse_what_they_would_have_to_guess(cell: Any, recipe: dict[str, Any]) -> None:
    with pytest.raises(NormalizeError):
        cook(cell, recipe, "US")


def test_rejected_json_lines_stay_json_lines(folder: Folder) -> None:
    folder.write("orders.jsonl", '{"id": 1, "v": 1, "total": "x"}\n{broken\n[1]\n{"id": 2, "v": 1, "total": "2"}\n')
    folder.map(id="id", version="v", fields={"total": "total"})
    assert folder.run("orders.jsonl").code == 1
    kept = [orjson.loads(line) for line in (folder.path / "orders.rejected.jsonl").read_bytes().splitlines()]
    assert [(each["_line"], each.get("id"), each.get("text")) for each in kept] == [
        (1, 1, None), (2, None, "{broken"), (3, None, "[1]"),
    ]  # fmt: skip
