"""How well a given label goes with what others say of the image: the lower, the more suspicious.

Of an image with the label y, the out-of-fold probabilities p, and the labels of its nearest images
of other families, of which a fraction n_k has the label k:

    self-confidence    p_y
    margin             p_y - max of the other p_k
    relative margin    log (p_y / t_y) - max of the other log (p_k / t_k)
    neighbors          n_y
    neighbors' margin  n_y - max of the other n_k

t_k is the mean self-confidence of the images that are labeled k: some classes are always named with
little confidence, and a high p_k says more there. The sum of the ranks of the three margins is the
order. Which score finds most depends on the mistakes: self-confidence where labels were mixed up at
random, the margins where they went to look-alikes. The three margins together are near the best one
in both cases (docs/benchmarks.md).

Source: Northcutt et al. 2021, "Confident Learning", sections 3 and 4, for p_y, the margin and t_k;
Zhu et al. 2022, "Detecting Corrupted Labels Without Training a Model to Predict", for neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from shopsight.metrics.nearest import NOBODY

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The scores of n labels, as above.

    Attributes:
        self_confidence: 0 to 1.
        margin: -1 to 1.
        relative_margin: any number.
        neighbors: 0 to 1; a half without any.
        neighbor_margin: -1 to 1; 0 without any.
        suggested: the most probable label.
    """

    self_confidence: Float64[np.ndarray, "n"]
    margin: Float64[np.ndarray, "n"]
    relative_margin: Float64[np.ndarray, "n"]
    neighbors: Float64[np.ndarray, "n"]
    neighbor_margin: Float64[np.ndarray, "n"]
    suggested: Int64[np.ndarray, "n"]

    def rank_sums(self, apart: Shaped[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """The mean of the ranks of the three margins, 0 to 1; low is suspicious.

        Args:
            apart: images with equal values are ranked among one another: whoever has learned from
                some labels and not from others answers both on scales of their own.
        """
        sums = np.zeros(len(self.margin))
        margins = (self.margin, self.relative_margin, self.neighbor_margin)
        for value in np.unique(apart):
            rows = np.flatnonzero(apart == value)
            sums[rows] = sum(rank_fractions(one[rows]) for one in margins) / len(margins)
        return sums


def label_scores(
    probabilities: Float[np.ndarray, "n c"],
    given: Int64[np.ndarray, "n"],
    neighbors: Int64[np.ndarray, "n k"],
) -> LabelScores:
    """The scores of given labels.

    Args:
        probabilities: of whoever did not learn from the image.
        given: labels.
        neighbors: rows, see `shopsight.metrics.nearest`.
    """
    rows = np.arange(len(given))
    exact = np.asarray(probabilities, np.float64)
    own = exact[rows, given]
    counts = np.bincount(given, minlength=exact.shape[1])
    usual = np.bincount(given, own, minlength=exact.shape[1]) / np.maximum(counts, 1)
    usual[counts == 0] = 1.0
    relative = np.log(exact + _TINY) - np.log(usual + _TINY)
    same, margin = _of_neighbors(given, neighbors)
    return LabelScores(
        self_confidence=own,
        margin=own - _largest_other(exact, given),
        relative_margin=relative[rows, given] - _largest_other(relative, given),
        neighbors=same,
        neighbor_margin=margin,
        suggested=exact.argmax(axis=1).astype(np.int64),
    )


def rank_fractions(values: Float[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """Ranks from 0 to 1, the lowest value first; equal values share the mean of their ranks."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts + 1) / 2
    fractions: Float64[np.ndarray, "n"] = middle[index] / max(len(values) - 1, 1)
    return fractions


def _largest_other(
    values: Float64[np.ndarray, "n c"], given: Int64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n"]:
    others = values.copy()
    others[np.arange(len(given)), given] = -np.inf
    largest: Float64[np.ndarray, "n"] = others.max(axis=1)
    return largest


def _of_neighbors(
    given: Int64[np.ndarray, "n"], neighbors: Int64[np.ndarray, "n k"]
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The fraction of neighbors of the own label, and that less the most frequent other one."""
    there = neighbors != NOBODY
    labels = np.where(there, given[np.where(there, neighbors, 0)], NOBODY)
    counts = np.maximum(there.sum(axis=1), 1)
    same = ((labels == given[:, None]) & there).sum(axis=1) / counts
    other = np.zeros(len(given))
    # Neighbors are few: how often each one's label occurs among them is counted in place.
    for place in range(labels.shape[1]):
        mine = labels[:, place : place + 1]
        often = ((labels == mine) & there).sum(axis=1) / counts
        is_other = there[:, place] & (labels[:, place] != given)
        other = np.where(is_other, np.maximum(other, often), other)
    nobody = ~there.any(axis=1)
    return np.where(nobody, 0.5, same), np.where(nobody, 0.0, same - other)
