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
