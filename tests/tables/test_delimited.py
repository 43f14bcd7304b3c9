from __future__ import annotations

import polars as pl
import pytest

from shopsight.errors import TableError
from shopsight.tables import long_texts
from shopsight.tables.delimited import as_delimited
from shopsight.tables.text_rows import to_frame


def read(text: str, on_bad_row: str = "error") -> tuple[pl.DataFrame, list[str]]:
    return to_frame(as_delimited(text, "t.csv"), "t.csv", on_bad_row=on_bad_row)


def cells(text: str, on_bad_row: str = "error") -> dict[str, list[str | None]]:
    return read(text, on_bad_row)[0].to_dict(as_series=False)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    text = end.join(["file,label", "050,x", "", "b,", ""])
    assert cells(text) == {"file": ["050", "b"], "label": ["x", None]}


@pytest.mark.parametrize(
    "text",
    [
        "file;x;title\na;1,5;red, blue, green\nb;2,5;gray\n",
        "file\tx\ttitle\na\t1,5\tred, blue, green\nb\t2,5\tgray\n",
        "file|x|title\na|1,5|red, blue, green\nb|2,5|gray\n",
        'file,x,title\na,"1,5","red, blue, green"\nb,"2,5",gray\n',
        'file, x, title\na, "1,5", "red, blue, green"\nb, "2,5",gray\n',
        "sep=;\nfile;x;title\na;1,5;red, blue, green\nb;2,5;gray\n",
        "# exported\n# today\nfile;x;title\na;1,5;red, blue, green\nb;2,5;gray\n",
        "file;x;title;\na;1,5;red, blue, green;\nb;2,5;gray;\n",
        "file;x;title\na;1,5;red, blue, green;\nb;2,5;gray;\n",
        "file;x;title;;\na;1,5;red, blue, green\nb;2,5;gray\n",
    ],
)
def test_ways_to_write_one_table(text: str) -> None:
    wanted = {"file": ["a", "b"], "x": ["1,5", "2,5"], "title": ["red, blue, green", "gray"]}
    assert cells(text) == wanted


def test_separators_in_quotes_and_quoted_lines() -> None:
    text = 'a|b\n"x;y;z\nw"|"say ""hi"""\n"1;2;3"|5" heel\n'
    assert cells(text) == {"a": ["x;y;z\nw", "1;2;3"], "b": ['say "hi"', '5" heel']}


def test_one_column_and_thousands() -> None:
    assert cells("file\na.jpg\nb.jpg\n") == {"file": ["a.jpg", "b.jpg"]}
    wide = ",".join(f"c{i}" for i in range(5000)) + "\n" + ",".join(map(str, range(5000)))
    assert read(wide)[0].shape == (1, 5000)


def test_a_huge_cell() -> None:
    assert len(cells(f"file,vector\na,{'1 ' * 200_000}\n")["vector"][0] or "") == 400_000


def test_an_index_column_without_a_name() -> None:
    assert cells(",file\n0,a\n1,b\n") == {"column 1": ["0", "1"], "file": ["a", "b"]}
    assert cells("#,file\n0,a\n1,b\n") == {"#": ["0", "1"], "file": ["a", "b"]}


RAGGED = 'file,label,title\na,b,"c\nd"\nb,nice\ne,f,one, two\ng,h,i\n'


def test_rows_of_too_few_and_too_many_cells_are_named_with_their_lines() -> None:
    with pytest.raises(TableError, match="2 rows of 4 cannot be read as 3 cells") as caught:
        read(RAGGED)
    assert "line 4, 2 cells: b,nice" in str(caught.value)
    assert "line 5, 4 cells: e,f,one, two" in str(caught.value)
    assert "--on-bad-row skip" in str(caught.value)


def test_ragged_rows_are_left_out_by_number() -> None:
    frame, notes = read(RAGGED, "skip")
    assert frame["file"].to_list() == ["a", "g"]
    assert notes == ["left out, not 3 cells: 2 rows, e.g. line 4, 2 cells: b,nice"]


def test_when_no_row_fits_it_is_an_error_all_the_same() -> None:
    with pytest.raises(TableError, match="2 rows of 2"):
        read("file,label,title\na,b\nc,d,e,f\n", "skip")


def test_text_behind_a_closing_quote_is_a_bad_row() -> None:
    text = 'file,title\na,"Nice" shoe\nb,hat\n'
    with pytest.raises(TableError, match="line 2, text behind a closing quote"):
        read(text)
    assert cells(text, "skip") == {"file": ["b"], "title": ["hat"]}


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_a_quote_that_is_never_closed_is_not_left_out_with_all_that_follows(
    on_bad_row: str,
) -> None:
    with pytest.raises(TableError, match="ends within quotes, opened in line 3"):
        read('file,title\na,x\nb,"y\nc,z\nd,z\n', on_bad_row)


def test_rows_of_broken_bytes() -> None:
    text = "file,label\na,b\udce9\nc,d\n"
    with pytest.raises(TableError, match="line 2, bytes that are not UTF-8") as caught:
        read(text)
    assert "--encoding NAME" in str(caught.value)
    assert cells(text, "skip")["file"] == ["c"]


def test_a_header_that_comes_again() -> None:
    frame, notes = read("file,label\na,b\nfile,label\nc,d\n")
    assert frame["file"].to_list() == ["a", "c"]
    assert notes == ["left out, the header again: line 3"]


def test_two_columns_of_one_name() -> None:
    with pytest.raises(TableError, match="two columns are named 'label'") as caught:
        read("file,label,label \na,b,c\n")
    assert "the columns 2 and 3" in str(caught.value)
    frame, notes = read("file,label,label \na,b,b\n")
    assert frame.columns == ["file", "label"]
    assert "there again" in notes[0]


def test_without_a_header_columns_have_numbers() -> None:
    table = as_delimited("a.jpg,b\nc.jpg,d\n", "t.csv")
    frame, notes = to_frame(table, "t.csv", on_bad_row="error", has_header=lambda rows: False)
    assert frame.to_dict(as_series=False) == {"1": ["a.jpg", "c.jpg"], "2": ["b", "d"]}
    assert "no header" in notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "the file is empty"), (" \n", "the file is empty"), ("a,b\nc\0,d\n", "in line 2")],
)
def test_no_table(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(text)


def test_more_rows_than_are_read_at_once() -> None:
    count = 45_000
    text = "id,title\n" + "".join(f'{i},"a, {i}"\n' for i in range(count))
    assert cells(text)["title"][-1] == f"a, {count - 1}"
    with pytest.raises(TableError, match=f"line {count + 2:,}, 1 cell: x"):
        read(text + "x\n")


def test_a_comment_before_rows_whose_quotes_cannot_be_read() -> None:
    with pytest.raises(TableError, match="quote"):
        read('# by hand\n"file" "label""images/4.jpg" "dress\n')


@pytest.mark.parametrize(
    "title",
    ["My shop, 2024\n", "My shop;;\n", "My shop\n\n", "My shop;;\n;;\n;exported today;\n", ";;\n"],
)
def test_a_title_above_the_names_of_the_columns(title: str) -> None:
    table = as_delimited(f"{title}file;x;label\na.jpg;1;hat\nb.jpg;2;shoe\n", "t.csv")
    frame, notes = to_frame(table, "t.csv", on_bad_row="error")
    assert frame.columns == ["file", "x", "label"]
    assert frame["label"].to_list() == ["hat", "shoe"]
    assert notes[0].startswith("passed over, above the names of the columns: '")
    # Lines are counted in the file.
    broken = as_delimited(f"{title}file;x;label\na.jpg;1;hat\nb.jpg;2\n", "t.csv")
    with pytest.raises(TableError, match=f"line {title.count(chr(10)) + 3}, 2 cells"):
        to_frame(broken, "t.csv", on_bad_row="error")


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nimage,hat\n",
        "file,\nimage,hat\nphoto,shoe\n",
        "a.jpg,hat\nfile,hat\n",
        "first,second\nimage,label\n",
    ],
)
def test_a_first_row_of_names_or_of_two_cells_is_no_title(text: str) -> None:
    assert as_delimited(text, "t.csv").text == text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "odd",
    [
        "7,,", "7, x ,#", ",,7", "\ufeff7,x,y", "NA,null,\\N", "7,a\rb,y",
        '7,"a, b",y', '7,"a\n\nb",y', '"7","a ""b""",y', '7,"""a""",""', '"","",y', '7,5" disc,y',
        '7, "a",y', "", "7,x", "7,x,y,z", "7,x,y,z\n8,x", "id,title,end", '"id","title",end',
        '7,"x"y,z', '7,"x,y', '7,"a,b"', '7,x,"y","z"',
    ],
)  # fmt: skip
def test_long_texts_are_read_as_short_ones(
    odd: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f'{row},"hat, {row}",é' if row % 3 else f"{row},hat {row},é" for row in range(40)]
    text = end.join(["id,title,end", *rows[:20], odd, *rows[20:], ""])
    whole = cells_or_error(text)
    for length in (1, 100, 270):
        monkeypatch.setattr(long_texts, "PIECE_CHARACTERS", length)
        assert cells_or_error(text) == whole


def cells_or_error(text: str) -> object:
    try:
        return cells(text)
    except TableError as error:
        return str(error)
