"""Cells are changed in the bytes of a table, and no other byte is."""

from __future__ import annotations

import codecs
import csv
import io

import pytest

from shopsight.errors import TableError
from shopsight.read_options import ReadOptions
from shopsight.tables.write_back import TableBytes

HTML = '"<p>One ""fine"" shirt,\r\nin blue</p>"'
SHOPIFY = (
    "Handle,Title,Body (HTML),Product Category,Price\r\n"
    f"shirt,Blue Shirt,{HTML},,9.90\r\n"
    "shirt,,,,9.90\r\n"
    "\r\n"
    'cap,"=HYPERLINK(""http://a"")",@SUM(1+1),Apparel & Accessories > Hats,5\r\n'
    "bag,Bag,,Uncategorized,12"
)


def changed(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What stands in the one place where two texts differ."""
    start = next(i for i in range(len(after)) if before[i : i + 1] != after[i : i + 1])
    end = 0
    while end < len(before) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[start : len(before) - end], after[start : len(after) - end]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-16-le", b""),
    ],
)
def test_no_other_byte_is_changed(encoding: str, mark: bytes) -> None:
    data = mark + SHOPIFY.encode(encoding)
    found = TableBytes.of(data, "products.csv")
    after = found.with_cells({(2, 3): "Apparel & Accessories > Shirts"})
    expected = SHOPIFY.replace(
        f"{HTML},,9.90\r\n", f"{HTML},Apparel & Accessories > Shirts,9.90\r\n"
    )
    assert after == mark + expected.encode(encoding)
    assert found.with_cells({}) == data


def test_several_cells_of_all_kinds() -> None:
    found = TableBytes.of(SHOPIFY.encode(), "products.csv")
    after = found.with_cells({(2, 3): "A > B", (5, 3): 'C, "D"', (6, 3): "E"}).decode()
    rows = list(csv.reader(io.StringIO(after, newline="")))
    before = list(csv.reader(io.StringIO(SHOPIFY, newline="")))
    assert [row[3] for row in rows if row] == ["Product Category", "A > B", "", 'C, "D"', "E"]
    for row in rows + before:
        del row[3:4]
    # Formulas stay as they are: the shop system has to read its own table.
    assert rows == before
    assert '"=HYPERLINK(""http://a"")",@SUM(1+1)' in after
    assert after.endswith("bag,Bag,,E,12")


def test_quotes_are_those_of_the_column() -> None:
    text = '"id"\t"kind"\n"1"\t""\n"2"\t"shoe"\n3\t\n'
    found = TableBytes.of(text.encode(), "feed.tsv")
    after = found.with_cells({(2, 1): "hat", (4, 1): "cap"}).decode()
    assert after == '"id"\t"kind"\n"1"\t"hat"\n"2"\t"shoe"\n3\t"cap"\n'
    plain = TableBytes.of(b"id;kind\r1;\r2;shoe\r", "feed.csv")
    assert plain.with_cells({(2, 1): "hat"}) == b"id;kind\r1;hat\r2;shoe\r"
    assert plain.with_cells({(2, 1): "a;b"}) == b'id;kind\r1;"a;b"\r2;shoe\r'


def test_windows_encoding_without_a_mark() -> None:
    text = "Handle,Title,Type\r\nm,Müller Käse für Österreich,\r\nn,Größe,Süßes\r\n"
    data = text.encode("cp1252")
    after = TableBytes.of(data, "p.csv").with_cells({(2, 2): "Süßes"})
    assert after == text.replace("Österreich,", "Österreich,Süßes").encode("cp1252")
    with pytest.raises(TableError, match="letters that cp1252 has not"):
        TableBytes.of(data, "p.csv").with_cells({(2, 2): "Чай"})


def test_bytes_that_are_not_of_the_encoding_stay() -> None:
    data = "id,name,kind\n1,äöüéèàäöüéèàç,\n2,x".encode() + b"\xff" + b",shoe\n"
    after = TableBytes.of(data, "p.csv").with_cells({(2, 2): "hat"})
    assert after == data.replace("ç,".encode(), "ç,hat".encode())
    assert changed(data, after) == (b"", b"hat")


def test_what_stands_above_the_names_of_columns_stays() -> None:
    text = "sep=;\r\nid;image;kind\r\n1;a.jpg;\r\n"
    after = TableBytes.of(text.encode(), "p.csv").with_cells({(3, 2): "hat"})
    assert after.decode() == "sep=;\r\nid;image;kind\r\n1;a.jpg;hat\r\n"
    comments = "# of May\nid,image,kind\n1,a.jpg,\n"
    after = TableBytes.of(comments.encode(), "p.csv").with_cells({(3, 2): "hat"})
    assert after.decode() == "# of May\nid,image,kind\n1,a.jpg,hat\n"


def test_blanks_before_quotes() -> None:
    text = 'id, "name", kind\n1, "a, b", \n2,  c, "hat"\n'
    after = TableBytes.of(text.encode(), "p.csv").with_cells({(2, 2): "cap", (3, 2): "coat"})
    assert after.decode() == 'id, "name", kind\n1, "a, b", "cap"\n2,  c, "coat"\n'


def test_some_rows_and_columns() -> None:
    found = TableBytes.of(codecs.BOM_UTF8 + SHOPIFY.encode(), "products.csv")
    after = found.only(1, [2, 5], [0, 1, 3], {(2, 3): "A > B", (5, 3): "C, D"})
    assert after == codecs.BOM_UTF8 + (
        b"Handle,Title,Product Category\r\nshirt,Blue Shirt,A > B\r\n"
        b'cap,"=HYPERLINK(""http://a"")","C, D"\r\n'
    )


def test_cells_that_are_not_there() -> None:
    found = TableBytes.of(b"a,b\n1,2\n3\n", "p.csv")
    with pytest.raises(TableError, match="no row 9"):
        found.with_cells({(9, 0): "x"})
    with pytest.raises(TableError, match="row 3 has 1 cell, and no column 2"):
        found.with_cells({(3, 1): "x"})
    with pytest.raises(TableError, match="quotes cannot be read"):
        TableBytes.of(b'a,b\n1,"2"x\n3,4\n', "p.csv").with_cells({(3, 1): "x"})


def test_an_encoding_that_loses_bytes_is_refused() -> None:
    # Shift JIS has two ways to write some letters, of which Python writes one.
    data = b"a,b\n\xfa\x54,\n"
    with pytest.raises(TableError, match="cannot be written back byte for byte"):
        TableBytes.of(data, "p.csv", ReadOptions(encoding="cp932"))


def test_many_rows_take_no_longer_than_reading_them() -> None:
    row = '"shirt-{0}","A ""long"" text, of\nseveral lines",,9.90\r\n'
    text = "Handle,Title,Kind,Price\r\n" + "".join(row.format(i) for i in range(50_000))
    cells = {(row, 2): f"kind {row}" for row in range(2, 50_002, 7)}
    after = TableBytes.of(text.encode(), "p.csv").with_cells(cells).decode()
    rows = list(csv.reader(io.StringIO(after, newline="")))
    assert all(rows[row - 1][2] == cells.get((row, 2), "") for row in range(2, 50_002))
    assert len(after) == len(text) + sum(map(len, cells.values()))
