"""Each row has the number that Python's csv module gives it, however the text is read."""

from __future__ import annotations

import csv
import io
import random

import pytest

from shopsight.errors import TableError
from shopsight.tables import long_texts
from shopsight.tables.delimited import as_delimited
from shopsight.tables.numbered_rows import ROW, NumberedRows, read_numbered

CELLS = ("a", "", "1.50", "two\nlines", 'a "quote"', "a, b", "three\r\nlines\n\n", "é", " b ", '"')


def numbered(text: str, *, on_bad_row: str = "error") -> NumberedRows:
    return read_numbered(
        as_delimited(text, "a.csv"),
        "a.csv",
        on_bad_row=on_bad_row,
        keep=lambda header: range(len(header)),
        first_row=1,
    )


def written(rows: list[list[str]], end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_where_the_csv_module_finds_them(
    seed: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    rows = [["id", "text", "x"]]
    for number in range(60):
        if rng.random() < 0.1:
            rows.append(rng.choice([[], ["", "", ""]]))
        rows.append([str(number), rng.choice(CELLS), rng.choice(CELLS)])
    text = written(rows, end)
    monkeypatch.setattr(long_texts, "PIECE_CHARACTERS", rng.choice([1, 50, 200, 1_000_000]))
    found = numbered(text)
    by_csv = list(csv.reader(io.StringIO(text, newline="")))
    for row in found.frame.iter_rows(named=True):
        assert [row[str(place)] or "" for place in range(3)] == by_csv[row[ROW] - 1]
    assert len(found.frame) == 60
    assert found.num_blank == len(rows) - 61


def test_rows_that_do_not_fit_leave_the_numbers_of_the_others() -> None:
    text = 'id,text\n1,"a\nb"\n\n2\n3,c\n'
    with pytest.raises(TableError, match="1 row of 3 cannot be read"):
        numbered(text)
    assert numbered(text, on_bad_row="skip").frame.rows() == [(2, "1", "a\nb"), (5, "3", "c")]


def test_columns_go_by_their_places() -> None:
    found = numbered("image,image,id\na.jpg,b.jpg,1\n")
    assert found.header == ("image", "image", "id")
    assert found.frame.rows() == [(2, "a.jpg", "b.jpg", "1")]
