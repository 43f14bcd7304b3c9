from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.errors import TableError
from shopsight.memory import use_memory_budget
from shopsight.read_options import ReadOptions
from shopsight.tables import table_room
from shopsight.tables.table_files import read_table
from shopsight.tables.table_names import is_table, may_be_list

ROWS = pl.DataFrame({"file": ["a.jpg", "b.jpg"], "label": ["050", "x"]})
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"


def parquet() -> bytes:
    file = io.BytesIO()
    ROWS.write_parquet(file)
    return file.getvalue()


def packed(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 2000)
    return file.getvalue()


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"file,label\na.jpg,050\nb.jpg,x\n"),
        ("t.tab", b"file\tlabel\na.jpg\t050\nb.jpg\tx\n"),
        ("t.CSV.gz", gzip.compress(b"file,label\na.jpg,050\nb.jpg,x\n", mtime=0)),
        ("t.csv", gzip.compress(b"file,label\na.jpg,050\nb.jpg,x\n", mtime=0)),
        ("t.csv", "file,label\na.jpg,050\nb.jpg,x\n".encode("utf-16-le")),
        ("t.jsonl", b'{"file": "a.jpg", "label": "050"}\n\n{"file": "b.jpg", "label": "x"}\n'),
        ("t.parquet", parquet()),
        ("t.csv", parquet()),
    ],
)
def test_ways_to_store_one_table(tmp_path: Path, name: str, data: bytes) -> None:
    assert is_table(name)
    (tmp_path / name).write_bytes(data)
    assert read_table(str(tmp_path / name))[0].equals(ROWS)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.parquet", parquet()[:300], "the Parquet file is cut off"),
        ("t.parquet", parquet().replace(b"PAR1", b"PAR2"), "not a Parquet file"),
        ("t.parquet", parquet()[:40] + b"\xff" * 400 + b"PAR1", "the Parquet file is damaged"),
        ("t.parquet", LFS, "a Git LFS pointer, not a table"),
        ("t.csv", LFS, "git lfs pull"),
        ("t.parquet", b"", "the file is empty"),
        ("t.parquet", b"file,label\n", "needs a name that ends in .csv"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"\xef\xbb\xbf<!DOCTYPE html>\n<html><p>Please log in", "an HTML page"),
        ("t.csv", packed("xl/workbook.xml"), "an Excel workbook, not a table"),
        ("t.csv", packed("mimetype", "content.xml"), "an OpenDocument file"),
        ("t.csv", packed("t.csv"), "a zip archive, not a table"),
        ("t.csv", packed("t.csv")[:900], "damaged or cut off"),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an Excel workbook"),
        ("t.csv", photo(), "a PNG, not a table"),
        ("t.csv", b"%PDF-1.7 text", "a PDF, not a table"),
        ("t.csv", json.dumps([{"file": "a.jpg"}]).encode(), "JSON, not a table"),
        ("t.csv", b'{"file": 1}\n{"file": 2}\n', "ends in .jsonl"),
        ("t.csv", b'{"a.jpg": "hat"}', "a JSON object, not a table"),
        ("t.json", b'{"images": [], "annotations": []}', "such as file_name,category,bbox_x,"),
        (
            "t.csv.gz",
            gzip.compress(b"file,label\n" * 99, mtime=0)[:-20],
            "gzip file is damaged or cut off",
        ),
        ("t.jsonl", b'{"file": 1}\n{"file": ', "line 2 is not JSON"),
        ("t.jsonl", b'{"file": ' + b"[" * 100_000, "line 1 is not JSON"),
        ("t.jsonl", b'{"file": ' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 16 levels"),
        ("t.jsonl", b'{"file": 1}\n[2]\n', "line 2 is not a JSON object"),
        ("t.jsonl", b'{"file": 1}\n{"file": {"a": [1]}}\n', "not of the same kind"),
        ("t.csv", b"file,label\n\0\0\n", "zero bytes in line 2"),
    ],
)
def test_what_lies_under_the_name_of_a_table(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TableError) as caught:
        read_table(str(tmp_path / name))
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    "header", [b"ID3,file", b"{id},file", b"[id],file", b"P1 name,file", b"img_wide,file"]
)
def test_headers_that_begin_like_other_files(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(header + b"\n1,a.jpg\n")
    assert read_table(str(tmp_path / "t.csv"))[0].columns[1] == "file"


def test_blanks_around_names_of_parquet_columns(tmp_path: Path) -> None:
    ROWS.rename({"label": " label "}).write_parquet(tmp_path / "t.parquet")
    assert read_table(str(tmp_path / "t.parquet"))[0].columns == ["file", "label"]
    ROWS.with_columns(ROWS["label"].alias("label ")).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="two columns are named 'label'"):
        read_table(str(tmp_path / "t.parquet"))


def test_flags_reach_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("file,label\na,été\nb\n".encode("cp850"))
    read = ReadOptions(encoding="cp850", on_bad_row="skip")
    assert read_table(str(path), read)[0]["label"].to_list() == ["été"]
    (tmp_path / "t.parquet").write_bytes(parquet())
    with pytest.raises(TableError, match="--encoding is for text tables"):
        read_table(str(tmp_path / "t.parquet"), read)


def test_names() -> None:
    assert not is_table("a.txt")
    assert not is_table("a.parquet.gz")
    assert may_be_list("train.TXT")
    assert not may_be_list("train.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_of_json_ends_at_line_ends_alone(tmp_path: Path, end: str) -> None:
    texts = ["a\u2028b", "c\x85d", "e\u2029f"]
    rows = [json.dumps({"t": text}, ensure_ascii=False) for text in texts]
    path = tmp_path / "t.jsonl"
    path.write_bytes(end.join(rows).encode())
    assert read_table(str(path))[0]["t"].to_list() == texts


def test_an_array_of_json_under_the_name_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps([{"t": 1}, {"t": 2}]), encoding="utf-8")
    with pytest.raises(TableError, match="line 1 is not a JSON object") as caught:
        read_table(str(path))
    assert "pl.read_json" in str(caught.value)


def test_json_lines_that_are_nested_too_deeply(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"image": "a.jpg"}\n' + '{"a":' * 100_000, encoding="utf-8")
    with pytest.raises(TableError, match="line 2 is not JSON: nested too deeply"):
        read_table(str(path))


def test_more_columns_than_may_be(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image" + ",x" * 50_000 + "\n", encoding="utf-8")
    with pytest.raises(TableError, match="50,001 columns; 50,000 may be"):
        read_table(str(path))


def test_a_table_that_does_not_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"file,label\n" + b"a.jpg,x\n" * 20_000))
    needed = 2 * (11 + 8 * 20_000) + 32 * 2 * 20_001
    monkeypatch.setattr(table_room, "SMALL_BYTES", 0)
    with use_memory_budget(needed / 1e9):
        assert len(read_table(str(path))[0]) == 20_000
    with use_memory_budget((needed - 1) / 1e9), pytest.raises(TableError) as caught:
        read_table(str(path))
    assert caught.value.what == "its table takes 1.6 MB of memory; 1.6 MB may be taken"
    assert caught.value.where == str(path)
    # Six addresses for each byte.
    monkeypatch.setattr(table_room, "address_space_left_bytes", lambda: 6 * needed - 1)
    with pytest.raises(TableError) as caught:
        read_table(str(path))
    assert "a higher `ulimit -v`" in str(caught.value.fix)
    monkeypatch.setattr(table_room, "address_space_left_bytes", lambda: 6 * needed)
    assert len(read_table(str(path))[0]) == 20_000
    monkeypatch.setattr(table_room, "SMALL_BYTES", needed)
    monkeypatch.setattr(table_room, "address_space_left_bytes", lambda: 0)
    assert len(read_table(str(path))[0]) == 20_000
