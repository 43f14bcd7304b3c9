"""Which files are smaller copies that were asked for, not what the shop's host has.

`fetch --width` says so in `fetch.parquet`, beside the folder of the images; a table may say it in
a column of its own.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import LocationError
from shopsight.io.parquet import read_parquet
from shopsight.paths import is_url

WIDTH_COLUMN = "fetched_width"
"""Column of a table: the width that was asked for; empty for an original."""
RECORDS_FILE = "fetch.parquet"
"""What a fetch knows of its images, beside their folder."""

_ASKED = "asked_width"
_HASH = "sha256"


def fetched_smaller(catalog: Catalog, files: pl.DataFrame) -> pl.Series:
    """Whether the file of each row is a smaller copy.

    A file that is narrower than what was asked for is the original: hosts do not enlarge.

    Args:
        catalog: the images.
        files: what is known of each file, see `AuditReport.files`.
    """
    table = files.select(_HASH, "width", asked=_asked(catalog, files))
    smaller = (pl.col("width") >= pl.col("asked")).fill_null(pl.col("asked").is_not_null())
    return table.select(smaller.alias("fetched_smaller")).to_series()


def _asked(catalog: Catalog, files: pl.DataFrame) -> pl.Series:
    """The width that was asked for, null for originals and where nobody says."""
    if WIDTH_COLUMN in catalog.table.columns:
        return read_column(catalog, WIDTH_COLUMN, pl.Int64())
    asked = _records(catalog)
    return files.join(asked, on=_HASH, how="left", maintain_order="left")[_ASKED]


def read_column(catalog: Catalog, name: str, kind: pl.String | pl.Int64 | pl.Float64) -> pl.Series:
    """A column of a user's table as one kind of value; null where it is none, or there is none."""
    column = catalog.table[name] if name in catalog.table.columns else None
    if column is None or column.dtype.is_nested():
        return pl.Series(name, [None] * len(catalog), dtype=kind)
    return column.cast(kind, strict=False)


def _records(catalog: Catalog) -> pl.DataFrame:
    """Hash and asked width of the files that were fetched into the folder of the images."""
    if catalog.root and not is_url(catalog.root):
        root = Path(catalog.root)
        for path in (root / RECORDS_FILE, root.parent / RECORDS_FILE):
            # A file of that name that is none of a fetch says nothing.
            with suppress(OSError, ValueError, LocationError, pl.exceptions.PolarsError):
                return _read(path)
    return pl.DataFrame(schema={_HASH: pl.String, _ASKED: pl.Int64})


def _read(path: Path) -> pl.DataFrame:
    """The records of a fetch, one of each content.

    Raises:
        OSError, ValueError, LocationError, PolarsError: there are none.
    """
    records = read_parquet(path).select(
        pl.col(_HASH).cast(pl.String), pl.col(_ASKED).cast(pl.Int64)
    )
    # What was fetched as an original too is one.
    asked = pl.when(pl.col(_ASKED).null_count() == 0).then(pl.col(_ASKED).min())
    return records.drop_nulls(_HASH).group_by(_HASH).agg(asked)
