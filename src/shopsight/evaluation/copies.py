"""Which images of other data than a run's are copies of one another."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.audit.check_duplicates import copy_rows, duplicate_group_ids, near_edges
from shopsight.audit.file_info import inspect_catalog
from shopsight.catalog.catalog import Catalog
from shopsight.evaluation.predictions import ALL_ROWS


def duplicate_groups(catalog: Catalog, *, split: str) -> Int64[np.ndarray, "n"]:
    """A number per row of the catalog, equal for equal files and near duplicates of one part.

    As the audit finds them, with what an earlier look at the files has kept.

    Args:
        catalog: the images.
        split: the part that is searched, or "all"; rows of others are copies of none.
    """
    rows = np.arange(len(catalog)) if split == ALL_ROWS else catalog.rows_of(split)
    part = catalog.take(rows)
    inspected = inspect_catalog(part)
    files = inspected.files.insert_column(0, part.table["image"])
    copies = copy_rows(part, files)
    compared = files["status"].is_in(["ok", "damaged"]) & pl.Series(inspected.has_thumb)
    found = duplicate_group_ids(copies, near_edges(copies, inspected.thumbs, compared))
    groups = len(catalog) + np.arange(len(catalog))
    groups[rows] = found
    return groups
