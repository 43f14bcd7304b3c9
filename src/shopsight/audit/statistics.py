"""The numbers of an audit: files in each state, sizes, formats, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.catalog import SPLITS, Catalog


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Smallest, median and largest width or height of the decoded images, in pixels."""

    smallest_px: int
    median_px: int
    largest_px: int


@dataclass(frozen=True, slots=True)
class AuditStatistics:
    """Counts, of which `num_ok + num_damaged + num_unreadable + num_missing == num_rows`.

    Attributes:
        num_rows: rows of the catalog.
        num_ok: rows whose file decodes without fault.
        num_damaged: rows whose file decodes, but to corrupted content.
        num_unreadable: rows whose file does not decode.
        num_missing: rows without a file.
        num_unlabeled: rows without a label; 0 when the catalog has no labels at all. An image to
            which no label applies is labeled.
        num_unlisted: files without a row.
        num_groups: distinct values of the column `group`.
        num_duplicate_groups: groups of at least two rows with equal files or near duplicates.
        total_bytes: size of all distinct files.
        images_per_class: usable images (ok or damaged) of each label, largest first.
        rows_per_split: rows of each given split; "" counts rows without one. Empty when the catalog
            has no split.
        rows_per_format: rows of each format that the content has, whatever the file name says.
        width: None when no image could be decoded.
        height: likewise.
    """

    num_rows: int
    num_ok: int
    num_damaged: int
    num_unreadable: int
    num_missing: int
    num_unlabeled: int
    num_unlisted: int
    num_groups: int
    num_duplicate_groups: int
    total_bytes: int
    images_per_class: Mapping[str, int]
    rows_per_split: Mapping[str, int]
    rows_per_format: Mapping[str, int]
    width: SizeRange | None
    height: SizeRange | None

    def __post_init__(self) -> None:
        states = (self.num_ok, self.num_damaged, self.num_unreadable, self.num_missing)
        assert sum(states) == self.num_rows


def audit_statistics(
    catalog: Catalog,
    files: pl.DataFrame,
    *,
    images_per_class: Mapping[str, int],
    duplicate_group: Int64[np.ndarray, "n"],
) -> AuditStatistics:
    """Count what an audit found out.

    Args:
        catalog: the images.
        files: see `AuditReport.files`.
        images_per_class: see `check_labels.label_counts`.
        duplicate_group: an id for each row, equal within a duplicate group.
    """
    statuses = Counter(files["status"].to_list())
    distinct = files.filter(pl.col("sha256").is_not_null()).unique("sha256")
    formats = files["format"].drop_nulls().value_counts(sort=True)
    return AuditStatistics(
        num_rows=len(catalog),
        num_ok=statuses["ok"],
        num_damaged=statuses["damaged"],
        num_unreadable=statuses["unreadable"],
        num_missing=statuses["missing"],
        num_unlabeled=catalog.table["label"].null_count() if catalog.labels else 0,
        num_unlisted=len(catalog.unlisted),
        num_groups=catalog.table["group"].drop_nulls().n_unique() if catalog.has("group") else 0,
        num_duplicate_groups=int((np.bincount(duplicate_group, minlength=1) > 1).sum()),
        total_bytes=int(distinct["bytes"].sum()),
        images_per_class=dict(images_per_class),
        rows_per_split=_rows_per_split(catalog),
        rows_per_format=dict(formats.iter_rows()),
        width=_size_range(files["width"]),
        height=_size_range(files["height"]),
    )


def _rows_per_split(catalog: Catalog) -> dict[str, int]:
    if not catalog.has("split"):
        return {}
    found = Counter(catalog.table["split"].fill_null("").to_list())
    return {name: found[name] for name in (*SPLITS, "") if found[name]}


def _size_range(sizes: pl.Series) -> SizeRange | None:
    known = sizes.drop_nulls().to_numpy()
    if not len(known):
        return None
    return SizeRange(int(known.min()), round(float(np.median(known))), int(known.max()))
