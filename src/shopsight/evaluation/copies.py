"""Which images of other data than a run's are copies of one another."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.audit.check_duplicates import copy_rows, duplicate_group_ids, near_edges
from shopsight.audit.file_info import Inspection
from shopsight.catalog.catalog import Catalog


def duplicate_groups(part: Catalog, inspected: Inspection) -> Int64[np.ndarray, "n"]:
    """A number per row, equal for equal files and near duplicates, as the audit finds them.

    Args:
        part: the images.
        inspected: what is known of their files.
    """
    files = inspected.files.insert_column(0, part.table["image"])
    copies = copy_rows(part, files)
    compared = files["status"].is_in(["ok", "damaged"]) & pl.Series(inspected.has_thumb)
    return duplicate_group_ids(copies, near_edges(copies, inspected.thumbs, compared))
