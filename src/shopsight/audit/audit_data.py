"""What the checks of an audit look at, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt8

from shopsight.audit.findings import Finding
from shopsight.catalog.catalog import Catalog


@dataclass(frozen=True, eq=False)
class AuditData:
    """A catalog with all that was learned of its files by reading each once.

    Attributes:
        catalog: the images.
        files: one line per row of the catalog, in order, see `AuditReport.files`.
        thumbs: thumbnail of each row, see `shopsight.images.thumbnails`; zeros where there is none.
        has_thumb: where there is one: the image decodes and is large enough to be compared.
        images_per_class: usable images of each label, see `check_labels.label_counts`.
        classes: images of each class, in all and in each part, see `class_counts.class_table`.
        copies: what decides whether rows are copies, see `check_duplicates.copy_rows`.
        near_duplicates: pairs (earlier row, later row) of near duplicates, sorted.
    """

    catalog: Catalog
    files: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    has_thumb: Bool[np.ndarray, "n"]
    images_per_class: Mapping[str, int]
    classes: pl.DataFrame
    copies: pl.DataFrame
    near_duplicates: Int64[np.ndarray, "_ 2"]


Check = Callable[[AuditData], Iterable[Finding]]
"""A check: gives its findings, of kinds that `findings.KINDS` describes."""
