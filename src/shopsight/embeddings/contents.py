"""What the files of a catalog hold, as hashes: which images are equal, and which changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight import progress
from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.errors import ImageError
from shopsight.files import sha256_bytes
from shopsight.images.decode import read_bytes
from shopsight.prefetch import default_threads, prefetch


@dataclass(frozen=True, eq=False)
class Contents:
    """What the files of n rows hold.

    Attributes:
        sha256: of each file, hex; null where it could not be read.
        errors: why not, by row.
    """

    sha256: pl.Series
    errors: dict[int, ImageError]

    @property
    def readable(self) -> Bool[np.ndarray, "n"]:
        """Which rows have a file that could be read."""
        return self.sha256.is_not_null().to_numpy()


def hash_contents(catalog: Catalog) -> Contents:
    """Read every file of a catalog once; what cannot be read is an error of its row."""

    def read(ref: str) -> str | ImageError:
        try:
            return sha256_bytes(read_bytes(ref, catalog.access))
        except ImageError as error:
            return error

    found: list[str | None] = []
    errors: dict[int, ImageError] = {}
    hashed = prefetch(read, catalog.refs(), threads=default_threads(), window=256)
    with progress.task("Reading files", len(catalog)) as advance:
        for row, one in enumerate(hashed):
            if isinstance(one, ImageError):
                errors[row] = one
            found.append(one if isinstance(one, str) else None)
            advance(1)
    return Contents(pl.Series("sha256", found, pl.String), errors)


def content_keys(catalog: Catalog, sha256: pl.Series) -> pl.Series:
    """What an embedding depends on beside the model: the file's content and the box in it."""
    if catalog.boxes() is None:
        return sha256.alias("content")
    corners = catalog.table.select(BOX_COLUMNS).select(pl.all().fill_null(float("nan")))
    box = corners.select(pl.concat_str(pl.all(), separator=",")).to_series()
    return (sha256 + "#" + box).alias("content")


def first_rows(keys: pl.Series) -> tuple[Sequence[int], dict[str, list[int]]]:
    """The first row of each distinct key, and all rows of each; nulls are left out."""
    table = keys.to_frame("key").with_row_index("row").drop_nulls()
    groups = table.group_by("key", maintain_order=True).agg("row")
    rows: dict[str, list[int]] = dict(groups.iter_rows())
    return [some[0] for some in rows.values()], rows
