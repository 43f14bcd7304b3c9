"""The numbers of an audit: how many files are in which state, sizes, formats, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import SPLITS, Catalog


@dataclass(frozen=True, slots=True)
class Spread:
    """Of a size in pixels over all decoded images."""

    smallest: int
    median: int
    largest: int


@dataclass(frozen=True, slots=True)
class AuditStatistics:
    """Counts. `ok + damaged + unreadable + missing == rows`, always.

    Attributes:
        unlisted: files without a row.
        classes: usable images (ok or damaged) of each label, largest first.
        splits: rows of each given split; "" counts rows without one. Empty when none is given.
        groups: distinct values of the group column.
        formats: rows of each format, by content, of what could be decoded.
        width, height: None when nothing could be decoded.
        bytes: of all distinct files.
        families: of equal files or near duplicates, with at least two rows.
    """

    rows: int
    ok: int
    damaged: int
    unreadable: int
    missing: int
    unlisted: int
    classes: Mapping[str, int]
    splits: Mapping[str, int]
    groups: int
    formats: Mapping[str, int]
    width: Spread | None
    height: Spread | None
    bytes: int
    duplicate_groups: int

    def __post_init__(self) -> None:
        assert self.ok + self.damaged + self.unreadable + self.missing == self.rows


def audit_statistics(
    catalog: Catalog,
    files: pl.DataFrame,
    *,
    classes: Mapping[str, int],
    duplicate_group: Int64[np.ndarray, "n"],
) -> AuditStatistics:
    statuses = Counter(files["status"].to_list())
    files = files.filter(pl.col("sha256").is_not_null()).unique("sha256")
    formats = files["format"].drop_nulls().value_counts(sort=True)
    return AuditStatistics(
        rows=len(catalog),
        ok=statuses["ok"],
        damaged=statuses["damaged"],
        unreadable=statuses["unreadable"],
        missing=statuses["missing"],
        unlisted=len(catalog.unlisted),
        classes=dict(classes),
        splits=_splits(catalog),
        groups=catalog.table["group"].drop_nulls().n_unique() if catalog.has("group") else 0,
        formats=dict(formats.iter_rows()),
        width=_spread(files["width"]),
        height=_spread(files["height"]),
        bytes=int(files["bytes"].sum()),
        duplicate_groups=int((np.bincount(duplicate_group) > 1).sum())
        if len(duplicate_group)
        else 0,
    )


def _splits(catalog: Catalog) -> dict[str, int]:
    if not catalog.has("split"):
        return {}
    found = Counter(catalog.table["split"].fill_null("").to_list())
    return {name: found[name] for name in (*SPLITS, "") if found[name]}


def _spread(sizes: pl.Series) -> Spread | None:
    known = sizes.drop_nulls().to_numpy()
    if not len(known):
        return None
    return Spread(int(known.min()), round(float(np.median(known))), int(known.max()))
