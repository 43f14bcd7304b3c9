"""Whether a model was trained on the pictures that it is scored on.

A run keeps the content hash of each file that it used. Only equal files are found: a copy that was
encoded anew, or another picture of the same product, is not (the audit finds such copies).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.data.ahead import ahead, core_count
from shopsight.data.images import read_bytes
from shopsight.files import sha256_bytes
from shopsight.models.bundle_files import bundle_folder
from shopsight.progress import task

FITTED_ON = ("train", "val")
_PIECE_FILES = 128


@dataclass(frozen=True)
class Seen:
    """Attributes:
    images: how many were predicted.
    seen: those of them whose file was in the training or validation part of the model's run.
    score_on_all: the headline metric over all of them; the evaluation's own is over the unseen
        ones, where there are any.
    """

    images: int
    seen: int
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
                f"all {self.images:,} images were among those the model was trained on: "
                "the score says nothing about new ones"
            )
        return (
            f"{self.seen:,} of {self.images:,} images were among those the model was trained on: "
            f"the score is that of the other {self.unseen:,} "
            f"(on all it would be {100 * self.score_on_all:.1f} %)"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "seen": self.seen,
            "score_on_all": self.score_on_all,
            "note": self.note,
        }


def run_of(model: Path | str) -> Path | None:
    """The run that a model belongs to: the folder itself, or the one that its bundle lies in."""
    bundle = bundle_folder(model)
    folder = bundle.absolute().parent
    known = bundle.name == "model" and (folder / "catalog.parquet").is_file()
    return folder if known else None


def seen_in_training(refs: Sequence[str], run: Path) -> Bool[np.ndarray, "n"] | None:
    """Which of the files were in the training or validation part of the run, by their content.

    Every image of a K-fold run was trained on by some of its networks. None where the run does
    not say what was in its files.
    """
    catalog = pl.read_parquet(run / "catalog.parquet")
    if "sha256" not in catalog.columns:
        return None
    if "split" in catalog.columns:
        catalog = catalog.filter(pl.col("split").is_in(FITTED_ON))
    files = list(dict.fromkeys(refs))
    fitted = set(catalog["sha256"])
    seen = dict(zip(files, (sha256 in fitted for sha256 in _hashes(files)), strict=True))
    return np.array([seen[ref] for ref in refs], dtype=bool)


def _hashes(files: Sequence[str]) -> list[str]:
    # Not by the audit's facts: those need every picture decoded, a hash only its bytes.
    starts = range(0, len(files), _PIECE_FILES)

    def piece(number: int) -> list[str]:
        start = starts[number]
        return [sha256_bytes(read_bytes(ref)) for ref in files[start : start + _PIECE_FILES]]

    found: list[str] = []
    with task("Comparing with the training images", total=len(files)) as advance:
        for hashes in ahead(piece, len(starts), threads=core_count()):
            found += hashes
            advance(len(hashes))
    return found
