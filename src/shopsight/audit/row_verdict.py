"""What the file of a row allows, and its box: rows whose box lies beside the image are unusable."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Float64

from shopsight.images.model_input import Box, why_outside


def with_box_verdicts(
    files: pl.DataFrame, boxes: Float64[np.ndarray, "n 4"] | None
) -> pl.DataFrame:
    """Call rows unreadable whose box lies outside the image.

    Args:
        files: one line per row, see `Inspection.files`.
        boxes: x, y, width and height of each row, NaN for the whole image; None without boxes.

    Returns:
        `files` with status, reason and problem of such rows.
    """
    if boxes is None:
        return files
    rows, problems = list[int](), list[str]()
    sizes = files.select("width", "height").iter_rows()
    for row, (box, (width, height)) in enumerate(zip(boxes, sizes, strict=True)):
        if width is None or np.isnan(box).any():
            continue
        why = why_outside(Box(*box.tolist()), width, height)
        if why:
            rows.append(row)
            problems.append(why)
    if not rows:
        return files
    changed = {
        "status": ["unreadable"] * len(rows),
        "reason": ["bad box"] * len(rows),
        "problem": problems,
    }
    return files.with_columns(
        files[name].scatter(rows, values).alias(name) for name, values in changed.items()
    )
