"""How well the network of an epoch finds images of the same class, among images of its own.

Each image asks for the others of its class ("leave one out"). Copies of it, as the audit finds
them, are neither right nor wrong. The images are those of classes that training holds out
(`data.val_classes`), or else those that validate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from shopsight.errors import SplitError
from shopsight.loading.cache import PixelSource
from shopsight.metrics.retrieval import exact_rankings, score_rankings
from shopsight.text import counted
from shopsight.unit_vectors import have_direction, unit_vectors

MOST_IMAGES = 5000
"""Larger sets are cut to whole classes: every epoch compares each image with each."""
FIGURES = {"val_map": "mean_average_precision", "val_recall_at_1": "recall_at_1"}
"""Names in the history, and the metrics that they are."""


@dataclass(frozen=True)
class RetrievalSet:
    """Images that ask for each other.

    Attributes:
        source: square images, of these and maybe others.
        rows: which of the source's.
        classes: of each of the rows.
        copies: images of one number are copies of each other.
    """

    source: PixelSource
    rows: Int64[np.ndarray, "n"]
    classes: Int64[np.ndarray, "n"]
    copies: Int64[np.ndarray, "n"]

    def cut(self, seed: int) -> RetrievalSet:
        """Whole classes of these, in an order of the seed, as long as they are few enough."""
        if len(self.rows) <= MOST_IMAGES:
            return self
        counts = np.bincount(self.classes)
        order = np.random.default_rng(seed).permutation(len(counts))
        kept = order[: max(1, int((np.cumsum(counts[order]) <= MOST_IMAGES).sum()))]
        chosen = np.flatnonzero(np.isin(self.classes, kept))[:MOST_IMAGES]
        return RetrievalSet(
            self.source, self.rows[chosen], self.classes[chosen], self.copies[chosen]
        )


def check_retrieval(
    classes: Int64[np.ndarray, "n"], copies: Int64[np.ndarray, "n"], *, where: str
) -> None:
    """Refuse images of which none has another to find, or which are all of one class.

    Args:
        classes: of each image.
        copies: images of one number are copies of each other.
        where: the name of the data.

    Raises:
        SplitError: so it is.
    """
    kinds = np.unique(np.stack([classes, copies]), axis=1)
    count = len(np.unique(classes))
    if count < 2 or np.bincount(kinds[0]).max() < 2:
        raise SplitError(
            "no class has two images to score retrieval with"
            if count > 1
            else f"{counted(count, 'class')} to score retrieval with: whatever is found is right",
            where=where,
            fix="1. --set data.val_classes=0.2   (a fraction of several whole classes)\n"
            "2. --set training.checkpoint=best   (by accuracy)",
        )


def retrieval_figures(
    vectors: Float32[np.ndarray, "n d"], images: RetrievalSet
) -> dict[str, float]:
    """The figures of an epoch, by name; zeros where no image has another to find.

    Args:
        vectors: embeddings of the images, of any length.
        images: what they show.
    """
    # A network that has only begun may give zeros, which are like nothing.
    unit = np.zeros(vectors.shape, np.float32)
    usable = have_direction(vectors)
    unit[usable] = unit_vectors(vectors[usable])
    copies = _members(images.copies)
    rankings = exact_rankings(
        unit,
        unit,
        query_groups=images.classes,
        gallery_groups=images.classes,
        junk=lambda query: copies(int(images.copies[query])),
    )
    scored = score_rankings(rankings, len(unit))
    return {
        name: float(scored.values[metric].mean()) if len(scored.queries) else 0.0
        for name, metric in FIGURES.items()
    }


def _members(numbers: Int64[np.ndarray, "n"]) -> Callable[[int], Int64[np.ndarray, "_"]]:
    """A function that gives the places of a number."""
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]

    def members(number: int) -> Int64[np.ndarray, "_"]:
        low, high = np.searchsorted(ascending, [number, number + 1])
        found: Int64[np.ndarray, "_"] = order[low:high]
        return found

    return members
