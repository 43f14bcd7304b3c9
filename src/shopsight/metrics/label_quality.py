"""How well a given label goes with what others say of the image: the lower, the more suspicious.

Three scores of an image with the label y and the out-of-fold probabilities p:

    self-confidence   p_y
    margin            p_y - max of the other p
    neighbors         the fraction of its nearest images of other families that are labeled y

Which of them finds most depends on the mistakes. Of labels that were mixed up at random the first
one does, of look-alikes the margin. The sum of the three ranks is close to the best one of each.

Source: the first two: Northcutt et al. 2021, "Confident Learning", section 3; the last one in the
manner of Zhu et al. 2022, "Detecting Corrupted Labels Without Training a Model to Predict".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The scores of n labels.

    Attributes:
        self_confidence: 0 to 1.
        margin: -1 to 1.
        neighbors: 0 to 1.
        suggested: the most probable label.
    """

    self_confidence: Float64[np.ndarray, "n"]
    margin: Float64[np.ndarray, "n"]
    neighbors: Float[np.ndarray, "n"]
    suggested: Int64[np.ndarray, "n"]

    def rank_sums(self, apart: Shaped[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """The mean of the three ranks, 0 to 1; low is suspicious.

        Args:
            apart: images with equal values are ranked among one another: whoever has learned from
                some labels and not from others answers both on scales of their own.
        """
        sums = np.zeros(len(self.margin))
        for value in np.unique(apart):
            rows = np.flatnonzero(apart == value)
            scores = (self.self_confidence, self.margin, self.neighbors)
            sums[rows] = sum(rank_fractions(score[rows]) for score in scores) / len(scores)
        return sums


def label_scores(
    probabilities: Float[np.ndarray, "n c"],
    given: Int64[np.ndarray, "n"],
    neighbors: Float[np.ndarray, "n"],
) -> LabelScores:
    """The scores of given labels.

    Args:
        probabilities: of whoever did not learn from the image.
        given: labels.
        neighbors: see `shopsight.metrics.nearest.agreement_with_neighbors`.
    """
    rows = np.arange(len(given))
    exact = np.asarray(probabilities, np.float64)
    own = exact[rows, given]
    others = exact.copy()
    others[rows, given] = -np.inf
    suggested = exact.argmax(axis=1).astype(np.int64)
    return LabelScores(own, own - others.max(axis=1), neighbors, suggested)


def rank_fractions(values: Float[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Ranks from 0 to 1, the lowest value first; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts + 1) / 2
    fractions: Float64[np.ndarray, "n"] = middle[index] / max(len(values) - 1, 1)
    return fractions
