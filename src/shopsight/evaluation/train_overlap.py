"""Whether a model was trained on the images that it is scored on.

A run keeps the content hash of each file that it used, and its thumbnail. Equal files are found,
and copies that were encoded anew, resized or slightly changed, as the audit finds them; another
image of the same product is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.audit.file_info import inspect_all
from shopsight.audit.near_duplicates import has_near_duplicate
from shopsight.bundle.read import bundle_folder
from shopsight.images.thumbnails import read_thumbs

FITTED_ON = ("train", "val")


@dataclass(frozen=True)
class Seen:
    """Attributes:
    images: how many were predicted.
    seen: those of them that were in the training or validation part of the model's run.
    copies: those of the seen whose file is another: encoded anew, or of another size.
    score_on_all: the headline metric over all of them; the evaluation's own is over the unseen
        ones, where there are any.
    """

    images: int
    seen: int
    copies: int
    score_on_all: float

    @property
    def unseen(self) -> int:
        return self.images - self.seen

    @property
    def note(self) -> str:
        """What a reader of the score must know; empty when the model saw none of them."""
        if not self.seen:
            return ""
        if not self.unseen:
            return (
                f"all {self.images:,} images were among those the model was trained on"
                f"{self._as_copies}: the score says nothing about new ones"
            )
        return (
            f"{self.seen:,} of {self.images:,} images were among those the model was trained on"
            f"{self._as_copies}: the score is that of the other {self.unseen:,} "
            f"(on all it would be {100 * self.score_on_all:.1f} %)"
        )

    @property
    def _as_copies(self) -> str:
        return f" ({self.copies:,} as copies: encoded anew or resized)" if self.copies else ""

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "seen": self.seen,
            "copies": self.copies,
            "score_on_all": self.score_on_all,
            "note": self.note,
        }


def run_of(model: Path | str) -> Path | None:
    """The run that a model belongs to: the folder itself, or the one that its bundle lies in."""
    bundle = bundle_folder(model)
    folder = bundle.absolute().parent
    known = bundle.name == "model" and (folder / "catalog.parquet").is_file()
    return folder if known else None


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Attributes:
    files: images whose file was trained on.
    copies: images whose file was not, but one that looks like it.
    """

    files: Bool[np.ndarray, "n"]
    copies: Bool[np.ndarray, "n"]

    @property
    def either(self) -> Bool[np.ndarray, "n"]:
        return np.asarray(self.files | self.copies, bool)


def seen_in_training(refs: Sequence[str], run: Path) -> SeenImages | None:
    """Which of the images were in the training or validation part of the run.

    Every image of a K-fold run was trained on by some of its networks. None where the run does
    not say what was in its files.
    """
    catalog = pl.read_parquet(run / "catalog.parquet")
    if "sha256" not in catalog.columns:
        return None
    if "split" in catalog.columns:
        catalog = catalog.filter(pl.col("split").is_in(FITTED_ON))
    inspected = inspect_all(refs)
    files = inspected.files["sha256"].is_in(catalog["sha256"].implode()).fill_null(False).to_numpy()
    copies = np.zeros(len(refs), bool)
    kept = run / "audit" / "thumbs.parquet"
    if kept.is_file():
        thumbs = read_thumbs(kept, catalog["sha256"])
        copies[~files] = has_near_duplicate(inspected.thumbs[~files], thumbs)
    return SeenImages(files, copies)
