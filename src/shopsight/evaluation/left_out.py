"""Files of DATA that cannot be scored: the audit's verdict, left out by name as training does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from shopsight.audit.check_files import MISSING_FRACTION
from shopsight.audit.file_info import Inspection, inspect_catalog
from shopsight.audit.row_verdict import with_box_verdicts
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.evaluation.predictions import part_rows
from shopsight.progress import notify
from shopsight.text import counted, listed

DAMAGED = "damaged"
"""What `--accept` calls files that decode to other pixels than they once held."""


@dataclass(frozen=True)
class LeftOut:
    """Images of DATA that are not in the score.

    Attributes:
        images: how many there were to score, with these.
        reasons: how many are left out as "damaged", "unreadable" and "missing".
        examples: one image of each reason, with what is wrong.
        classes: labels of which no image is left.
    """

    images: int
    reasons: dict[str, int]
    examples: dict[str, str]
    classes: tuple[str, ...]

    @property
    def note(self) -> str:
        """What a reader of the score must know; empty when nothing is left out."""
        if not self.reasons:
            return ""
        why = "; ".join(
            f"{count:,} {reason}, e.g. {self.examples[reason]}"
            for reason, count in self.reasons.items()
        )
        number = sum(self.reasons.values())
        lost = f"; nothing is left of {listed(self.classes)}" if self.classes else ""
        return f"left out of the score {number:,} of {counted(self.images, 'image')}: {why}{lost}"

    def to_json(self) -> dict[str, Any]:
        """The attributes and the note."""
        return {
            "images": self.images,
            "reasons": self.reasons,
            "classes": list(self.classes),
            "note": self.note,
        }


def without_bad_files(
    catalog: Catalog, *, split: str, accept: Collection[str] = ()
) -> tuple[Catalog, LeftOut, Inspection]:
    """Leave the files out of one part that training would leave out, and say so.

    Args:
        catalog: the images.
        split: the part that is scored, or "all".
        accept: "damaged" keeps damaged files.

    Returns:
        The catalog without them, what is left out, and what is known of the part's other files.

    Raises:
        CatalogError: most of the files are missing, or none can be scored.
    """
    rows = part_rows(catalog, split)
    part = catalog.take(rows)
    inspected = inspect_catalog(part)
    files = with_box_verdicts(inspected.files, part.boxes())
    fine = ["ok", DAMAGED] if DAMAGED in accept else ["ok"]
    bad = files.with_columns(part.table["image"]).filter(~pl.col("status").is_in(fine))
    reasons = dict(Counter(bad["status"].to_list()))
    if not reasons:
        return catalog, LeftOut(len(part), {}, {}, ()), inspected
    if reasons.get("missing", 0) > MISSING_FRACTION * len(part) or len(bad) == len(part):
        raise CatalogError(
            f"{len(bad):,} of {counted(len(part), 'image')} cannot be scored",
            where=catalog.name,
            details=[
                f"{image}: {why}" for image, why in bad.select("image", "problem").iter_rows()
            ],
            fix="--images-root FOLDER names the folder of the images"
            if "missing" in reasons
            else "shopsight audit DATA   (says what is wrong with each)",
        )
    examples = {
        status: f"{image} ({problem})"
        for status, image, problem in bad.reverse().select("status", "image", "problem").iter_rows()
    }
    is_fine = files["status"].is_in(fine).to_numpy()
    rest = catalog.take(np.setdiff1d(np.arange(len(catalog)), rows[~is_fine]))
    kept = np.flatnonzero(is_fine)
    scored = part.take(kept)
    lost = tuple(label for label in part.labels if label not in set(scored.labels))
    found = LeftOut(len(part), reasons, examples, lost)
    notify(found.note)
    return rest, found, inspected.take(kept)
