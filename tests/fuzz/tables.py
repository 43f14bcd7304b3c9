"""Tables of any kind: those of text, and Parquet files with columns of every type."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.fuzz.cells import grids
from tests.fuzz.delimited import Table, cut, delimited
from tests.fuzz.file_bytes import photo


def _column(kind: str, cells: list[Any], dtype: str) -> pl.Series:
    texts = [None if cell is None else str(cell).replace("\ud83d", "?") for cell in cells]
    numbers = range(len(cells))
    makers: dict[str, Callable[[], pl.Series]] = {
        "text": lambda: pl.Series(texts, dtype=pl.String),
        "category": lambda: pl.Series(texts, dtype=pl.String).cast(pl.Categorical),
        "binary": lambda: pl.Series([photo(number % 8) for number in numbers], dtype=pl.Binary),
        "list": lambda: pl.Series([[text] for text in texts], dtype=pl.List(pl.String)),
        "lists": lambda: pl.Series(
            [[[text], []] for text in texts], dtype=pl.List(pl.List(pl.String))
        ),
        "struct": lambda: pl.Series(
            [{"bytes": photo(number % 8), "path": text} for number, text in enumerate(texts)],
            dtype=pl.Struct({"bytes": pl.Binary, "path": pl.String}),
        ),
        "other struct": lambda: pl.Series(
            [{"a": text} for text in texts], dtype=pl.Struct({"a": pl.String})
        ),
        "whole": lambda: pl.Series([number - 1 for number in numbers], dtype=pl.Int64),
        "small": lambda: pl.Series([number % 3 for number in numbers], dtype=pl.UInt8),
        "float": lambda: pl.Series(
            [float("nan"), *map(float, numbers)][: len(cells)], dtype=pl.Float64
        ),
        "bool": lambda: pl.Series([number % 2 == 0 for number in numbers], dtype=pl.Boolean),
        "null": lambda: pl.Series([None for _ in numbers], dtype=pl.Null),
        "date": lambda: pl.Series([datetime.date(2026, 1, 1) for _ in numbers], dtype=pl.Date),
        "time": lambda: pl.Series([datetime.timedelta(1) for _ in numbers], dtype=pl.Duration),
        "decimal": lambda: pl.Series([Decimal("1.50") for _ in numbers], dtype=pl.Decimal(10, 2)),
        "vector": lambda: pl.Series(
            [[float(number == place % 3) for number in range(3)] for place in numbers],
            dtype=pl.List(pl.Float32),
        ),
        "array": lambda: pl.Series([[1, 0] for _ in numbers], dtype=pl.Array(pl.Int64, 2)),
    }
    return makers[dtype]()


_DTYPES = (
    *("text",) * 8,
    *("category", "binary", "list", "lists", "struct", "other struct", "whole", "small", "float"),
    *("bool", "null", "date", "time", "decimal", "vector", "array"),
)


@st.composite
def parquets(draw: st.DrawFn, *, least: int = 0, broken: bool = True) -> Table:
    """A Parquet file with columns of every type, sometimes cut off."""
    header, rows = draw(grids(least=least))
    columns: dict[str, pl.Series] = {}
    for place, name in enumerate(header):
        dtype = draw(st.sampled_from(_DTYPES))
        cells = [row[place] for row in rows]
        columns[name.replace("\0", "")] = _column(name, cells, dtype)
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    data = buffer.getvalue()
    name = draw(st.sampled_from(["t.parquet", "t.parquet", "t.pq", "t.csv", "T.PARQUET"]))
    return Table(name, draw(cut(data)) if broken else data)


def tables(*, least: int = 0, broken: bool = True) -> st.SearchStrategy[Table]:
    """A table of any kind."""
    text = delimited(least=least, broken=broken)
    return st.one_of(text, text, text, parquets(least=least, broken=broken))
