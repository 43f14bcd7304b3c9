"""What the trainings of a race gave, image by image, kept in the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64

from shopsight.files import atomic_file
from shopsight.io.local_files import read_file
from shopsight.io.parquet import read_parquet
from shopsight.memory import memory_budget_bytes

SCHEMA = pl.Schema(
    [
        ("key", pl.String()),
        ("contestant", pl.String()),
        ("steps", pl.Int64()),
        ("losses", pl.List(pl.Float64())),
    ]
)


class RaceLosses:
    """A row for each training: what it depends on, whose it is, its steps, the image losses.

    Args:
        path: the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = _read(path)

    def of(self, key: str) -> Float64[np.ndarray, "m"] | None:
        """The losses of a training; None: it was not finished."""
        found = self._table.filter(pl.col("key") == key)["losses"]
        return np.asarray(found[0].to_numpy(), np.float64) if len(found) else None

    def add(self, key: str, name: str, steps: int, losses: Float64[np.ndarray, "m"]) -> None:
        """Keep the losses of a training."""
        values = {"key": [key], "contestant": [name], "steps": [steps], "losses": [losses.tolist()]}
        row = pl.DataFrame(values, schema=SCHEMA)
        self._table = pl.concat([self._table, row])
        with atomic_file(self._path) as part:
            self._table.write_parquet(part)


def _read(path: Path) -> pl.DataFrame:
    """The table; an empty one where there is none, or none that can be used: it is made anew."""
    empty = pl.DataFrame(schema=SCHEMA)
    try:
        table = read_parquet(read_file(path, most_bytes=memory_budget_bytes()))
    except (OSError, ValueError):
        return empty
    return table if table.schema == empty.schema else empty
