"""Rows that columns link, as families."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.metrics.families import Families


def linked_rows(num_rows: int, columns: Sequence[pl.Series]) -> Families:
    """Join rows that have an equal value in one of the columns, such as a group.

    Args:
        num_rows: of each column; without columns each row is a family of its own.
        columns: a missing value links nothing.
    """
    return Families.linked(num_rows, [codes_of(column) for column in columns])


def codes_of(column: pl.Series) -> Int64[np.ndarray, "n"]:
    """A number for each value, the same for equal ones; -1 where there is none."""
    codes = (column.rank("dense").cast(pl.Int64) - 1).fill_null(-1)
    return codes.to_numpy().astype(np.int64)
