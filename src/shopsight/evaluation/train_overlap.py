"""Whether a model was trained on the images that it is scored on.

A run keeps the content hash of each file that it used, and its thumbnail. Equal files are found,
and copies that were encoded anew, resized or slightly changed, as the audit finds them; another
image of the same product is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.audit.file_info import Inspection
from shopsight.audit.near_duplicates import has_near_duplicate
from shopsight.catalog.items import products
from shopsight.images.thumbnails import read_thumbs
from shopsight.runs.run_folder import RunFolder

FITTED_ON = ("train", "val")


@dataclass(frozen=True)
class TrainOverlap:
    """How many of the images that were predicted the model's run has used.

    Attributes:
        images: how many images were predicted.
        seen: those of them that were in the training or validation part of the model's run.
        copies: those of the seen whose file differs: encoded anew, or of another size.
        score_on_all: the headline metric over all of them; the evaluation's own is over the
            unseen images, where there are any.
    """

    images: int
    seen: int
    copies: int
    score_on_all: float

    @property
    def unseen(self) -> int:
        """How many images are new to the model."""
        return self.images - self.seen

    @property
    def note(self) -> str:
        """What a reader of the score must know; empty when the model saw none of the images."""
        if not self.seen:
            return ""
        if not self.unseen:
            all_ = "the one image was" if self.images == 1 else f"all {self.images:,} images were"
            return (
                f"{all_} among those the model was trained on"
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
        """The attributes and the note."""
        return {
            "images": self.images,
            "seen": self.seen,
            "copies": self.copies,
            "score_on_all": self.score_on_all,
            "note": self.note,
        }


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Which images a run was trained on.

    Attributes:
        files: images whose file was trained on.
        copies: images whose file was not, but one that looks like it.
    """

    files: Bool[np.ndarray, "n"]
    copies: Bool[np.ndarray, "n"]

    @property
    def either(self) -> Bool[np.ndarray, "n"]:
        """Images that were trained on, as the same file or as a copy."""
        return np.asarray(self.files | self.copies, bool)


def seen_in_training(inspected: Inspection, run: RunFolder) -> SeenImages:
    """Which of the images were in the training or validation part of the run.

    Every image of a K-fold run was trained on by some of its networks.

    Args:
        inspected: what is known of the images' files.
        run: the model's own.

    Raises:
        TrainingError: the run was written by another version.
    """
    audited = run.audited_catalog()
    table = audited.catalog.table
    sha256 = audited.sha256
    if "split" in table.columns:
        sha256 = sha256.filter(table["split"].is_in(FITTED_ON))
    files = inspected.files["sha256"].is_in(sha256.implode()).fill_null(False).to_numpy()
    copies = np.zeros(len(files), bool)
    # A fold has no audit of its own: only the K-fold run that it belongs to.
    if run.thumbs_file.is_file():
        thumbs = read_thumbs(run.thumbs_file, sha256)
        copies[~files] = has_near_duplicate(inspected.thumbs[~files], thumbs)
    return SeenImages(files, copies)


def products_trained_on(names: pl.Series, run: RunFolder) -> int:
    """How many of these products have the name of one in the training or validation part.

    Args:
        names: of products, null where one has none.
        run: the model's own.
    """
    catalog = run.catalog()
    known = products(catalog)
    if known is None:
        return 0
    if "split" in catalog.table.columns:
        known = known.filter(catalog.table["split"].is_in(FITTED_ON))
    return int(names.drop_nulls().is_in(known.drop_nulls().implode()).sum())
