"""What a new head on kept embeddings changes: shares of right answers before and after."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from shopsight.metrics.estimates import Estimate, difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.training.adapt_search import Change
from shopsight.unit_vectors import unit_vectors

BLOCK_NUMBERS = 1 << 25
"""Scores that are held at once."""


def nearest_classes(
    queries: Float32[np.ndarray, "q d"],
    known: Float32[np.ndarray, "n d"],
    classes: Int64[np.ndarray, "n"],
) -> Int64[np.ndarray, "q"]:
    """The class of the most similar known photo: what a model answers without a head."""
    queries, known = unit_vectors(queries), unit_vectors(known)
    rows = max(1, BLOCK_NUMBERS // max(1, len(known)))
    nearest = [
        (queries[first : first + rows] @ known.T).argmax(axis=1)
        for first in range(0, len(queries), rows)
    ]
    found: Int64[np.ndarray, "q"] = classes[np.concatenate(nearest)]
    return found


def accuracy_change(
    before: Int64[np.ndarray, "q"],
    after: Int64[np.ndarray, "q"],
    target: Int64[np.ndarray, "q"],
    families: Families,
) -> Change:
    """The accuracy of two sets of answers on the same images.

    Args:
        before: classes that the model gives as it is.
        after: classes that the new head gives.
        target: right ones.
        families: of the images.
    """
    old, new = Estimate.share(before == target), Estimate.share(after == target)
    return Change(
        interval_of(old, families),
        interval_of(new, families),
        difference_of(new, old, families),
        len(target),
        len(np.unique(target)),
    )
