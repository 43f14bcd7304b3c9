"""What a column holds, as a hash."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

_CELLS_AT_ONCE = 100_000


def hash_column(digest: hashlib._Hash, column: pl.Series) -> None:
    """Add the values of a column, in their order, to a hash."""
    if isinstance(column.dtype, pl.List):
        digest.update(column.list.len().fill_null(0).cast(pl.Int64).to_numpy().tobytes())
        column = column.explode()
    text = column.cast(pl.String)
    # Lengths keep "ab","c" apart from "a","bc"; -1 keeps a null apart from an empty string.
    lengths = text.str.len_bytes().cast(pl.Int64).fill_null(-1)
    digest.update(np.ascontiguousarray(lengths.to_numpy()).tobytes())
    for some in text.drop_nulls().to_frame().iter_slices(_CELLS_AT_ONCE):
        digest.update("".join(some.to_series()).encode())
