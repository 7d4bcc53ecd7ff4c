"""`hub import`: files as spreadsheets and ERPs write them."""

import pytest

from tests.core.test_import import HEAD, ROWS, Folder, folder

__all__ = ["folder"]


@pytest.mark.parametrize(
    "text",
    [
        "Order;Version;Amount;Customer;\n1;4;59,80;C-1;\n2;4;1.059,80;;\n",  # delimiters behind all
        "Order;Version;Amount;Customer;\n1;4;59,80;C-1\n2;4;1.059,80;\n",  # behind the header only
        "Order;Version;Amount;Customer\n1;4;59,80;C-1;;\n2;4;1.059,80;;\n",  # behind the rows only
        "sep=;\r\nOrder;Version;Amount;Customer\r\n1;4;59,80;C-1\r\n2;4;1.059,80;\r\n",
        "SEP=\t\r\nOrder\tVersion\tAmount\tCustomer\r\n1\t4\t59,80\tC-1\r\n2\t4\t1.059,80\t\r\n",
        "\n\nOrder;Version;Amount;Customer\n\n1;4;59,80;C-1\n;;;\n ; ; ;\n2;4;1.059,80;\n\n\n",
        '\ufeff"Order";"Version";"Amount";"Customer"\r\n"1";"4";"59,80";"C-1"\r\n"2";"4";"1.059,80";""\r\n',
        "Order;Version;Amount;Customer\r1;4;59,80;C-1\r2;4;1.059,80;\r",
        "Order ;\xa0Version;Amount;Customer\n1 ;4;59,80\xa0€;C-1\n 2;4;€ 1.059,80;\n",
    ],
)
def test_what_programs_write_around_the_cells_is_no_matter(folder: Folder, text: str) -> None:
    folder.write("orders.csv", text)
    said = folder.json()
    assert (said["accepted"], said["rejected"]) == (2, 0)
    found = {event.subject: event.data for event in folder.events()}
    assert [found[f"push/erp/order/{n}"]["total"] for n in (1, 2)] == ["59.80", "1059.80"]


def test_a_number_with_the_delimiter_in_it_moves_no_cell(folder: Folder) -> None:
    folder.write("orders.csv", "Order,Version,Amount,Customer\n1,4,59,80,\n")
    assert "5 cells, and the first line names 4 columns" in folder.run().err


def test_lines_are_those_of_the_file_whatever_stands_before(folder: Folder) -> None:
    folder.write("orders.csv", 'sep=;\n\nOrder;Version;Amount;"Customer"\n1;4;1;"two\nlines"\n2;4;x;C\n')
    assert folder.json()["rows"] == [{"line": 6, "reason": "column 'Amount': no decimal with the mark ','"}]


def test_columns_of_the_same_name_have_numbers(folder: Folder) -> None:
    head = ["Order", "Version", "Name", "Name", ""]
    folder.csv([["1", "4", "x", "Dana", "?"], ["2", "now", "y", "Robin", "?"]], head=head)
    folder.map(fields={"number": "Order", "status": "Name (2)"})
    assert folder.run().code == 1
    assert [event.data["status"] for event in folder.events()] == ["Dana"]
    path = folder.path / "orders.rejected.csv"
    path.write_text(path.read_text().replace("now", "4"))
    assert folder.json("orders.rejected.csv", "--dry-run")["first"]["data"]["status"] == "Robin"
    folder.map(fields={"number": "Order", "status": "Name"})
    assert "orders.csv has no column 'Name'; did you mean `Name (" in folder.run().err


def test_delimiters_that_a_file_names_are_believed(folder: Folder) -> None:
    folder.write("orders.csv", "sep=|\n" + "\n".join("|".join(row) for row in [HEAD, *ROWS]) + "\n")
    assert folder.json("orders.csv", "--dry-run")["accepted"] == 2


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        (b"PK\3\4\0\0", "a workbook or an archive: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", "a workbook: save it as CSV"),
        (b"\x1f\x8b\x08", "packed: unpack it"),
        (b' [{"id": 1}]', "JSON: write an object a line, and name it .jsonl"),
        (b'{"id": 1}', "JSON: write an object a line, and name it .jsonl"),
    ],
)
def test_a_file_of_another_kind_is_told(folder: Folder, begin: bytes, told: str) -> None:
    folder.write("orders.csv", begin)
    said = folder.run()
    assert (said.code, told in said.err) == (2, True)
    folder.write("orders.csv", "[Order],[Version]\n1,4\n")
    folder.map(id="[Order]", version="[Version]", fields={"number": "[Order]"})
    assert folder.run().code == 0


def test_what_a_spreadsheet_has_spoiled_is_rejected_where_it_would_be_taken_for_a_value(folder: Folder) -> None:
    folder.csv([
        ["4,91512E+12", "4", "1", "C"], ["#REF!", "4", "1", "C"], ["1", "4", "1", "1.2E+15"], ["2", "4", "1", "#N/A"],
        ["3", "4", "1", "C"],
    ])  # fmt: skip
    said = folder.json()
    assert (said["accepted"], [row["line"] for row in said["rows"]]) == (1, [2, 3, 4, 5])
    assert "export the column as text" in said["rows"][0]["reason"]
    assert "a formula that failed" in said["rows"][1]["reason"]


def test_words_for_nothing_are_as_empty_cells(folder: Folder) -> None:
    folder.csv([["1", "4", "NULL", "-"]])
    folder.map(empty=["NULL", "-"])
    data = folder.json("orders.csv", "--dry-run")["first"]["data"]
    assert data == {"number": "1", "currency": "EUR", "parties": []}
    folder.map(empty="NULL")
    assert "empty: a list of words" in folder.run().err
