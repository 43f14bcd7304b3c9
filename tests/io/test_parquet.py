"""Parquet files take no more memory than may be, whatever they say."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from shopsight.errors import LocationError, TableError
from shopsight.io.parquet import (
    check_parquet,
    parquet_metadata,
    parquet_schema,
    read_parquet,
    read_rows,
)
from shopsight.memory import use_memory_budget
from shopsight.tables.table_files import read_table
from tests.fuzz.table_bytes import parquet_files


def written(table: pl.DataFrame, **options: object) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("name", parquet_files())
def test_whole_files_are_what_polars_reads(name: str, tmp_path: Path) -> None:
    data = parquet_files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert read_parquet(path).equals(pl.read_parquet(data))
    assert read_parquet(data, columns=["label"]).columns == ["label"]
    assert parquet_schema(path) == pl.read_parquet_schema(path)
    assert parquet_metadata(data) == pl.read_parquet_metadata(path)
    assert len(read_rows(path, pl.col("split") == "test")) == 13


def test_rows_that_hardly_take_room_in_the_file(tmp_path: Path) -> None:
    data = written(pl.DataFrame({"image": ["a.jpg"] * 1_000_000}))
    assert len(data) < 10_000
    (tmp_path / "a.parquet").write_bytes(data)
    with use_memory_budget(0.01):
        with pytest.raises(LocationError, match=r"its table takes 1\d\.\d MB of memory") as caught:
            check_parquet(data)
        assert caught.value.reason == "too large"
        with pytest.raises(TableError, match="its table takes"):
            read_table(str(tmp_path / "a.parquet"))
    # Where they pass by, what is held at once counts.
    (tmp_path / "b.parquet").write_bytes(
        written(pl.DataFrame({"image": ["a.jpg"] * 1_000_000}), row_group_size=10_000)
    )
    with use_memory_budget(0.01):
        assert read_rows(tmp_path / "b.parquet", pl.col("image") == "b.jpg").is_empty()


def test_rows_that_are_all_alike_are_refused_by_the_size_of_their_file() -> None:
    row = pl.DataFrame({"image": ["a.jpg"], "label": ["hat"]})
    data = written(pl.DataFrame([one.new_from_index(0, 10_000_000) for one in row]))
    assert len(data) < 100_000
    with (
        use_memory_budget(64),
        pytest.raises(
            LocationError, match=r"takes 320\.\d MB of memory; 268\.4 MB .* a file of \d+"
        ),
    ):
        check_parquet(data)


def test_columns_of_one_value_beside_names_that_differ_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shopsight.io.parquet.FREE_BYTES", 0)
    names = pl.select(image=pl.format("{}.jpg", pl.int_range(100_000)))
    wide = names.with_columns(pl.lit("shop").alias(f"c{i}") for i in range(20))
    assert read_parquet(written(wide)).equals(wide)


@pytest.mark.parametrize(
    "kind", [pl.Array(pl.Int8, 10**6), pl.Array(pl.Array(pl.Int8, 1000), 1000)]
)
def test_empty_arrays_take_room_too(kind: pl.DataType) -> None:
    few = written(pl.DataFrame({"a": pl.Series([None] * 2, dtype=kind)}))
    with use_memory_budget(0.005), pytest.raises(LocationError, match="its table takes"):
        check_parquet(few)


def test_sizes_of_pages_are_compared_with_the_file() -> None:
    data = written(pl.DataFrame({"a": [1, 2, 3]}), compression="uncompressed")
    # The header of the first page: its kind, and its size of 24 bytes unpacked and packed.
    header = b"PAR1\x15\x04\x15\x30\x15\x30"
    assert data.startswith(header)
    longer = data.replace(header, header[:-1] + b"\xfe\x7f", 1)
    with pytest.raises(ValueError, match=r"a page of 8,191 bytes is longer than its column"):
        check_parquet(longer)
    bomb = data.replace(header, header[:7] + b"\xfe\xff\xff\xff\x0f" + header[8:], 1)
    # Its places have moved by four bytes, and the page ends within its column all the same.
    with use_memory_budget(1.0), pytest.raises((LocationError, ValueError)):
        check_parquet(bomb)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\xffPAR1"])
def test_files_without_a_footer(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ValueError, match="no footer"):
            read_parquet(source)


def test_a_footer_of_lists_within_lists() -> None:
    footer = b"\x19" * 5000
    with pytest.raises(ValueError, match="nested too deeply"):
        check_parquet(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
