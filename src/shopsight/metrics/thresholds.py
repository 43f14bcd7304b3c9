"""The probability from which each of several labels is assigned, from logits that are not kept.

A cut after the k best of a label's images, of which h are among its P, has

    F1 = 2 h / (k + P) <= 2 P / (k + P),

so that the best cut lies near the top: where it reaches F1 = 2 / (1 + r), no cut beyond k = r P is
better. Of each label the r P highest logits are therefore enough, and a million images of 10,000
labels need the memory of some of their labels, not of 10^10 cells.

Source: Yang 2001, "A study of thresholding strategies for text categorization" (SCut).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from scipy.sparse import csr_array

from shopsight.errors import MetricError
from shopsight.metrics.classification import check_numbers

FEWEST_POSITIVES = 10
"""With fewer, chance moves a fitted threshold: rare labels would be overfitted."""
RANKS_PER_POSITIVE = 9
"""r above: exact where a label's best F1 is at least .2."""
LEAST_RANKS_PER_POSITIVE = 2
"""r where there are so many labels that more would not be kept: exact from F1 = .67.

Above 10 million labels of the images, what is kept grows with them: by 18 bytes for each, and more
while it is sorted.
"""
MOST_KEPT = 20_000_000
"""Logits of all labels together, of 9 bytes, as long as `LEAST_RANKS_PER_POSITIVE` are fewer."""
FEWEST_WAITING = 4_000_000
"""Logits that are sorted in at once, at least."""

Ranked = tuple[Int64[np.ndarray, "_"], Float32[np.ndarray, "_"], Bool[np.ndarray, "_"]]


class ThresholdSearch:
    """Finds the thresholds of all labels while the logits pass by.

    Args:
        positives: images with each label, among those that will be added.
        num_images: images that will be added.
        fewest: positives that a label needs for a threshold of its own.
    """

    def __init__(
        self,
        positives: Int64[np.ndarray, "c"],
        num_images: int,
        *,
        fewest: int = FEWEST_POSITIVES,
    ) -> None:
        self._positives, self._num_images = positives, num_images
        self._fitted = positives >= fewest
        total = max(1, int(positives[self._fitted].sum()))
        per_positive = min(max(MOST_KEPT // total, LEAST_RANKS_PER_POSITIVE), RANKS_PER_POSITIVE)
        # One more: a cut lies between two neighbors.
        self._most = np.minimum(per_positive * positives + 1, num_images) * self._fitted
        self._floor = np.where(self._fitted, -np.inf, np.inf).astype(np.float32)
        self._kept: list[Ranked] = []
        self._waiting = 0

    def add(self, targets: csr_array, logits: Float32[np.ndarray, "b c"]) -> None:
        """Take in the logits of some images.

        Raises:
            MetricError: shapes that differ, logits that are NaN.
        """
        if targets.shape != logits.shape:
            raise MetricError(f"targets of shape {targets.shape} do not go with {logits.shape}")
        check_numbers(logits)
        rows, labels = np.nonzero(logits > self._floor)
        wanted = targets.toarray()[rows, labels] > 0
        self._kept.append((labels, logits[rows, labels], wanted))
        self._waiting += len(labels)
        if self._waiting > max(FEWEST_WAITING, int(self._most.sum())):
            self._sort_in()

    def best(
        self,
        probability: Callable[[Float32[np.ndarray, "k"]], Float64[np.ndarray, "k"]],
        *,
        otherwise: float = 0.5,
    ) -> Float64[np.ndarray, "c"]:
        """The threshold of each label at which "probability >= threshold" has the highest F1.

        It lies halfway between two neighboring probabilities; of equally good cuts the one nearest
        to `otherwise` is taken.

        Args:
            probability: of a logit; it never falls as the logit grows.
            otherwise: the threshold of labels with too few positives, and the preferred one.

        Raises:
            MetricError: there are no images.
        """
        if not self._num_images:
            raise MetricError("there are no images to measure on")
        self._sort_in()
        found = np.full(len(self._positives), otherwise)
        if not self._kept:
            return found
        labels, logits, wanted = self._kept[0]
        ends = np.searchsorted(labels, np.arange(len(found) + 1))
        for label in np.flatnonzero(self._fitted):
            own = slice(ends[label], ends[label + 1])
            found[label] = _best_threshold(
                wanted[own],
                probability(logits[own]),
                positives=int(self._positives[label]),
                all_kept=bool(self._most[label] == self._num_images),
                otherwise=otherwise,
            )
        return found

    def _sort_in(self) -> None:
        """Keep of each label the highest logits that are wanted, ordered, and raise its floor."""
        if not self._kept:
            return
        labels, logits, wanted = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        order = np.lexsort((-logits, labels))
        labels, logits, wanted = labels[order], logits[order], wanted[order]
        begins = np.searchsorted(labels, np.arange(len(self._most)))
        rank = np.arange(len(labels)) - begins[labels]
        last = (rank == self._most[labels] - 1) & (self._most[labels] < self._num_images)
        self._floor[labels[last]] = logits[last]
        inside = rank < self._most[labels]
        self._kept = [(labels[inside], logits[inside], wanted[inside])]
        self._waiting = 0


def _best_threshold(
    wanted: Bool[np.ndarray, "k"],
    probabilities: Float64[np.ndarray, "k"],
    *,
    positives: int,
    all_kept: bool,
    otherwise: float,
) -> float:
    """The best cut of one label's images, highest probability first."""
    last = _last_of_equals(probabilities)
    if not all_kept and len(last) > 1:
        # What comes after the lowest ones is not known.
        last = last[:-1]
    f1 = 2 * np.cumsum(wanted)[last] / (last + 1 + positives)
    ends = np.append(probabilities[1:], 0.0)
    below, above = ends[last], probabilities[last]
    cuts = (above + below) / 2
    # `otherwise` itself may lie in the gap of the best cut, and is then as good.
    cuts = np.where((below < otherwise) & (otherwise <= above), otherwise, cuts)
    best = np.flatnonzero(f1 == f1.max())
    return float(cuts[best[np.abs(cuts[best] - otherwise).argmin()]])


def _last_of_equals(ranked: Float[np.ndarray, "k"]) -> Int64[np.ndarray, "s"]:
    """The last rank of each distinct score: a cut is possible only where the score falls."""
    return np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
