"""Classes of similar size: of large ones a sample, of small ones none, or their images repeated.

All of it is about training images: those with the split train, or all where there is no split. A
test set is left as it is, so that its scores stay those of everybody else. Which images are taken
depends on the seed and on each image's id alone: other rows of the catalog change nothing.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
from jaxtyping import Bool, UInt64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.merge_parts import ID, REPEAT

_KEY, _NUMBER, _COUNT = "key", "number", "count"


def beyond_most(catalog: Catalog, most: int, *, seed: int) -> Bool[np.ndarray, "n"]:
    """Which training images go so that each class has at most so many.

    Args:
        catalog: with a column `id` and one label for each image.
        most: training images of a class.
        seed: another one leaves other images.
    """
    rows = _training_rows(catalog).with_columns(pl.Series(_KEY, _keys(catalog, seed)))
    number = pl.col(_KEY).rank("ordinal").over("label", "is_train")
    gone = rows.select((pl.col("is_train") & (number > most)).alias("gone"))["gone"]
    return np.asarray(gone.to_numpy(), bool)


def of_small_classes(catalog: Catalog, fewest: int) -> Bool[np.ndarray, "n"]:
    """Which images are of classes that have fewer, in all parts of a split together."""
    small = catalog.table.select(pl.len().over("label") < fewest).to_series()
    return np.asarray(small.to_numpy(), bool)


def with_repeats(catalog: Catalog, up_to: int, *, seed: int) -> Catalog:
    """Repeat training images of small classes until each has so many.

    Repeats stand behind all other rows, in turn: no image of a class is repeated once more than
    another needs to be. The column `repeat` counts those of an image from 1, and is 0 for the
    image itself. A repeat has the split and the group of its image.

    Args:
        catalog: see `beyond_most`.
        up_to: training images of a class that has any.
        seed: another one repeats other images first.
    """
    rows = _training_rows(catalog).with_columns(pl.Series(_KEY, _keys(catalog, seed)))
    rows = rows.with_row_index(_NUMBER).filter("is_train")
    rows = rows.with_columns(
        place=pl.col(_KEY).rank("ordinal").over("label").cast(pl.Int64) - 1,
        count=pl.len().over("label").cast(pl.Int64),
    )
    # Rows count, count + 1, ... up_to - 1 of a class are images 0, 1, ... of it again.
    lacking = (up_to - pl.col(_COUNT)).clip(lower_bound=0)
    times = (lacking - pl.col("place") + pl.col(_COUNT) - 1) // pl.col(_COUNT)
    repeats = (
        rows.with_columns(pl.int_ranges(1, times.clip(lower_bound=0) + 1).alias(REPEAT))
        .explode(REPEAT)
        .drop_nulls(REPEAT)
        .sort("label", REPEAT, "place")
    )
    originals = catalog.table.with_columns(pl.lit(0, dtype=pl.Int64).alias(REPEAT))
    again = catalog.table[repeats[_NUMBER].to_numpy()].with_columns(
        repeats[REPEAT].cast(pl.Int64),
        (
            catalog.table[ID][repeats[_NUMBER].to_numpy()]
            + "#repeat"
            + repeats[REPEAT].cast(pl.String)
        ).alias(ID),
    )
    return catalog.with_table(pl.concat([originals, again]))


def _training_rows(catalog: Catalog) -> pl.DataFrame:
    split = pl.col("split") == "train" if catalog.has("split") else pl.lit(value=True)
    return catalog.table.select("label", split.fill_null(value=False).alias("is_train"))


def _keys(catalog: Catalog, seed: int) -> UInt64[np.ndarray, "n"]:
    """A number for each image that its id and the seed decide."""
    start = hashlib.blake2b(f"class sizes {seed} ".encode(), digest_size=8)
    keys = np.empty(len(catalog), np.uint64)
    for row, name in enumerate(catalog.table[ID].to_list()):
        digest = start.copy()
        digest.update(name.encode())
        keys[row] = int.from_bytes(digest.digest(), "big")
    return keys
