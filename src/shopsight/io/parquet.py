"""Parquet files of others: what they say that they hold is counted before anything is read.

A million rows of one value have a few bytes, and polars makes room for as many rows as a file says,
for each page as its header says; where there is no room, the process ends. So the footer and the
headers of the pages are read here first, and the memory that the table takes is compared with the
budget and with the size of the file. What else is wrong with a file polars finds: as errors of
several kinds, and as panics, which are no `Exception`.

Source: "Apache Parquet", apache/parquet-format, src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.errors import LocationError, first_line
from shopsight.io.local_files import open_file
from shopsight.io.thrift import Fields, ThriftReader
from shopsight.memory import memory_budget_bytes
from shopsight.text import human_bytes

PARQUET_MARK = b"PAR1"
"""What a file begins and ends with."""

Source = bytes | Path
"""A file, or its bytes."""

MOST_TIMES, FREE_BYTES = 1000, 256 << 20
"""A table may take `FREE_BYTES`, and beyond them so many times the bytes of its file.

Names of images differ, so that a row has a byte or two in the file; with twenty columns of one
value each it takes 400 bytes of memory. Rows that are all alike reach 9,000 times.
"""

_GROUPS_AT_ONCE = 4
# Of a footer's byte, when it is read.
_BYTES_OF_FOOTER = 40
# Of a row in memory, by the number of a column's type: booleans, integers, floats, views of texts.
_ROW_BYTES = {0: 1, 1: 4, 2: 8, 3: 8, 4: 4, 5: 8, 6: 16}
_FIXED_LENGTH = 7
_NUMBER_BYTES = 8
# Of a row in a list or a struct: where it begins, and whether it is there.
_LEVEL_BYTES = 8
# The numbers of fields in parquet.thrift.
_SCHEMA, _ROW_GROUPS = 2, 4
_TYPE, _TYPE_LENGTH, _CHILDREN = 1, 2, 5
_GROUP_COLUMNS, _GROUP_ROWS = 1, 3
_CHUNK = 3
_CHUNK_PATH, _VALUES, _PACKED_BYTES, _DATA_PLACE, _DICTIONARY_PLACE = 3, 5, 7, 9, 11
_PAGE_BYTES, _PACKED_PAGE_BYTES, _PAGE_HEADERS, _PAGE_VALUES = 2, 3, (5, 8), 1


def read_parquet(source: Source, *, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a table.

    Args:
        source: the file.
        columns: to read; None reads all.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no Parquet file, or a damaged one.
        LocationError: "too large": the table does not fit in the memory budget.
    """
    check_parquet(source)
    with _errors_named():
        return pl.read_parquet(_opened(source), columns=columns, glob=False)


def read_rows(path: Path, wanted: pl.Expr) -> pl.DataFrame:
    """Read the rows for which an expression is true; of the others, some row groups at a time.

    Raises:
        OSError, ValueError: as `read_parquet`.
        LocationError: "too large": some row groups do not fit in the memory budget.
    """
    check_parquet(path, groups_at_once=_GROUPS_AT_ONCE)
    with _errors_named():
        return pl.scan_parquet(path, glob=False).filter(wanted).collect()


def parquet_schema(source: Source) -> pl.Schema:
    """Names and types of the columns.

    Raises:
        OSError, ValueError: as `read_parquet`.
    """
    with _errors_named():
        return pl.Schema(pl.read_parquet_schema(_opened(source)))


def parquet_metadata(source: Source) -> dict[str, str]:
    """What programs noted in the file, by key.

    Raises:
        OSError, ValueError: as `read_parquet`.
    """
    with _errors_named():
        return pl.read_parquet_metadata(_opened(source))


def check_parquet(source: Source, *, groups_at_once: int | None = None) -> None:
    """Refuse a file whose table takes more than the memory budget, or far more than the file.

    Args:
        source: the file.
        groups_at_once: how many of its row groups are held together; None: all of them.

    Raises:
        OSError, ValueError, LocationError: as `read_parquet`.
    """
    where = None if isinstance(source, bytes) else str(source)
    with _mapped(source) as data:
        groups, num_bytes = _groups(data), len(data)
    # A cell of arrays has all their room, also where it is empty and the file holds nothing.
    kinds = parquet_schema(source).values()
    sizes = sorted(
        one.num_bytes
        + sum(_NUMBER_BYTES * _numbers_in_arrays(kind, one.rows, one.values) for kind in kinds)
        for one in groups
    )
    needed = sum(sizes if groups_at_once is None else sizes[-groups_at_once:])
    most = min(memory_budget_bytes(), max(FREE_BYTES, MOST_TIMES * num_bytes))
    if needed > most:
        what = f"its table takes {human_bytes(needed)} of memory; {human_bytes(most)} may be taken"
        if most < memory_budget_bytes():
            what += f", for a file of {human_bytes(num_bytes)}"
        raise LocationError("too large", what, where=where)


@contextmanager
def _errors_named() -> Iterator[None]:
    try:
        yield
    # A panic of polars' Rust is a BaseException.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(first_line(error)) from error


def _opened(source: Source) -> io.BytesIO | Path:
    return io.BytesIO(source) if isinstance(source, bytes) else source


@contextmanager
def _mapped(source: Source) -> Iterator[bytes | mmap.mmap]:
    if isinstance(source, bytes):
        yield source
        return
    with open_file(source) as file:
        # An empty file cannot be mapped.
        if not file.read(1):
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _numbers_in_arrays(kind: Any, cells: int, values: int) -> int:
    """The numbers for which polars makes room in arrays of a fixed length, over all cells."""
    if isinstance(kind, pl.Array):
        cells *= kind.size
        return max(cells, _numbers_in_arrays(kind.inner, cells, values))
    if isinstance(kind, pl.List):
        # How many items lists have is not said: at most all values of the file.
        return _numbers_in_arrays(kind.inner, values, values)
    if isinstance(kind, pl.Struct):
        fields: list[Any] = [one.dtype for one in kind.fields]
        return sum(_numbers_in_arrays(one, cells, values) for one in fields)
    return 0


@dataclass(frozen=True)
class _RowGroup:
    """What a row group holds: its bytes in memory, its rows, and the values of all its columns."""

    num_bytes: int
    rows: int
    values: int


def _groups(data: bytes | mmap.mmap) -> list[_RowGroup]:
    """The row groups, by the footer and the headers of the pages.

    Raises:
        ValueError: there is no footer, or it says more than the file has.
        LocationError: "too large": the footer alone.
    """
    end = len(data) - 8
    length = int.from_bytes(data[end : end + 4], "little")
    if data[:4] != PARQUET_MARK or data[-4:] != PARQUET_MARK or not 0 < length <= end - 4:
        raise ValueError("it has no footer")
    if length * _BYTES_OF_FOOTER > memory_budget_bytes():
        raise LocationError("too large", f"its list of columns has {human_bytes(length)}")
    try:
        footer = ThriftReader(data, end - length, end).struct()
        leaves = [one for one in footer[_SCHEMA] if not one.get(_CHILDREN)]
        return [_group(data, group, leaves, end - length) for group in footer[_ROW_GROUPS]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its footer lacks what it must have ({first_line(error)})") from error


def _group(data: bytes | mmap.mmap, group: Fields, leaves: Sequence[Fields], end: int) -> _RowGroup:
    chunks = [chunk[_CHUNK] for chunk in group[_GROUP_COLUMNS]]
    num_bytes = sum(
        _chunk_bytes(data, chunk, leaf, end) for chunk, leaf in zip(chunks, leaves, strict=True)
    )
    return _RowGroup(num_bytes, group[_GROUP_ROWS], sum(chunk[_VALUES] for chunk in chunks))


def _chunk_bytes(data: bytes | mmap.mmap, chunk: Fields, leaf: Fields, end: int) -> int:
    """Memory that the rows of a column take in a row group."""
    begin = chunk.get(_DICTIONARY_PLACE) or chunk[_DATA_PLACE]
    begin, size = min(begin, chunk[_DATA_PLACE]), chunk[_PACKED_BYTES]
    if not len(PARQUET_MARK) <= begin <= begin + size <= end:
        raise ValueError(f"the bytes {begin:,} to {begin + size:,} of a column are not in the file")
    row_bytes = _row_bytes(leaf)
    if len(chunk[_CHUNK_PATH]) > 1:
        row_bytes += _LEVEL_BYTES
    needed, values, place = 0, int(chunk[_VALUES]), begin
    if values < 0:
        raise ValueError(f"{values:,} rows in a column")
    in_pages = 0
    while place < begin + size and in_pages < values:
        reader = ThriftReader(data, place, begin + size)
        page = reader.struct()
        unpacked, packed = page[_PAGE_BYTES], page[_PACKED_PAGE_BYTES]
        place = reader.place + packed
        if unpacked < 0 or packed < 0 or place > begin + size:
            raise ValueError(f"a page of {packed:,} bytes is longer than its column")
        needed += unpacked
        headers = (page[number] for number in _PAGE_HEADERS if number in page)
        rows = sum(header[_PAGE_VALUES] for header in headers)
        if rows < 0:
            raise ValueError(f"{rows:,} rows in a page")
        in_pages += rows
    return needed + row_bytes * max(values, in_pages)


def _row_bytes(leaf: Fields) -> int:
    kind = leaf[_TYPE]
    if kind == _FIXED_LENGTH:
        return max(1, int(leaf[_TYPE_LENGTH]))
    return _ROW_BYTES[kind]
