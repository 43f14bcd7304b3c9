"""Images without a label: rows of a catalog that training and scoring leave out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.text import counted


class Labeled(NamedTuple):
    """The images with a label, and the others.

    Attributes:
        catalog: the rows that have a label, in order; with several labels per image an empty list
            is an answer (no label applies), and its row stays.
        rows: their indices in the whole catalog.
        left_out: names of the other images.
    """

    catalog: Catalog
    rows: Int64[np.ndarray, "m"]
    left_out: tuple[str, ...]


def only_labeled(catalog: Catalog, read: ReadOptions | None = None) -> Labeled:
    """Leave out the images without a label, and say how many.

    Args:
        catalog: the images. Where none has a label, all stay: there is nothing to leave out.
        read: `on_unlabeled` = "error" refuses them; None leaves them out.

    Raises:
        CatalogError: images without a label are refused.
    """
    every = np.arange(len(catalog), dtype=np.int64)
    if not catalog.labels:
        return Labeled(catalog, every, ())
    bare = catalog.table.filter(pl.col("label").is_null())["image"].to_list()
    if not bare:
        return Labeled(catalog, every, ())
    what = f"{len(bare):,} of {counted(len(catalog), 'image')} without a label"
    if (read or ReadOptions()).choice("on_unlabeled") == "error":
        raise CatalogError(
            what,
            where=catalog.name,
            details=bare,
            fix="1. label them\n2. --on-unlabeled skip   (leaves them out)",
        )
    notify(f"left out {what}, e.g. {bare[0]}")
    rows = every[catalog.table["label"].is_not_null().to_numpy()]
    return Labeled(catalog.take(rows), rows, tuple(bare))
