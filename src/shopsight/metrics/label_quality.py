"""How well a given label goes with what others say of the image: the lower, the more suspicious.

Of an image with the label y, the out-of-fold probabilities p, and the labels of its nearest images
of other families, of which a fraction n_k has the label k:

    self-confidence    p_y
    margin             p_y - max of the other p_k
    relative margin    log (p_y / t_y) - max of the other log (p_k / t_k)
    neighbors          n_y
    neighbors' margin  n_y - max of the other n_k
    relative one       log ((n_y + e) / u_y) - max of the other log ((n_k + e) / u_k)

t_k is the mean self-confidence of the images that are labeled k: some classes are always named with
little confidence, and a high p_k says more there. u_k is the mean of n_k + e over these images,
e = .05, less than one neighbor of 15. The sum of the ranks of the four margins is the order. Which
score finds most depends on the mistakes: self-confidence where labels were mixed up at random, the
relative margins where they went to look-alikes. The four together are good in both cases
(docs/benchmarks.md).

Source: Northcutt et al. 2021, "Confident Learning", sections 3 and 4, for p_y, the margin and t_k;
Zhu et al. 2022, "Detecting Corrupted Labels Without Training a Model to Predict", for neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from shopsight.metrics.nearest import NOBODY

_TINY = 1e-12
_NEIGHBOR_FLOOR = 0.05


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The scores of n labels, as above.

    Attributes:
        self_confidence: 0 to 1.
        margin: -1 to 1.
        relative_margin: any number.
        neighbors: 0 to 1; a half without any.
        neighbor_margin: -1 to 1; 0 without any.
        relative_neighbor_margin: any number; 0 without any.
        suggested: the most probable label.
    """

    self_confidence: Float64[np.ndarray, "n"]
    margin: Float64[np.ndarray, "n"]
    relative_margin: Float64[np.ndarray, "n"]
    neighbors: Float64[np.ndarray, "n"]
    neighbor_margin: Float64[np.ndarray, "n"]
    relative_neighbor_margin: Float64[np.ndarray, "n"]
    suggested: Int64[np.ndarray, "n"]

    def rank_sums(self, apart: Shaped[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """The mean of the ranks of the four margins, 0 to 1; low is suspicious.

        Args:
            apart: images with equal values are ranked among one another: whoever has learned from
                some labels and not from others answers both on scales of their own.
        """
        sums = np.zeros(len(self.margin))
        margins = (
            self.margin,
            self.relative_margin,
            self.neighbor_margin,
            self.relative_neighbor_margin,
        )
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
    usual = _usual(own, given, counts)
    relative = np.log(exact + _TINY) - np.log(usual + _TINY)
    same, margin, relative_one = _of_neighbors(given, neighbors, counts)
    return LabelScores(
        self_confidence=own,
        margin=own - _largest_other(exact, given),
        relative_margin=relative[rows, given] - _largest_other(relative, given),
        neighbors=same,
        neighbor_margin=margin,
        relative_neighbor_margin=relative_one,
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


def _usual(
    own: Float64[np.ndarray, "n"], given: Int64[np.ndarray, "n"], counts: Int64[np.ndarray, "c"]
) -> Float64[np.ndarray, "c"]:
    """The mean of a class's own value over its images; 1 of a class without any."""
    means = np.bincount(given, own, minlength=len(counts)) / np.maximum(counts, 1)
    return np.where(counts == 0, 1.0, means)


def _of_neighbors(
    given: Int64[np.ndarray, "n"],
    neighbors: Int64[np.ndarray, "n k"],
    counts: Int64[np.ndarray, "c"],
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The fraction of neighbors of the own label, its margin, and its relative margin."""
    there = neighbors != NOBODY
    labels = np.where(there, given[np.where(there, neighbors, 0)], NOBODY)
    near = np.maximum(there.sum(axis=1), 1)
    same = ((labels == given[:, None]) & there).sum(axis=1) / near
    usual = np.log(_usual(same + _NEIGHBOR_FLOOR, given, counts) + _TINY)
    other = np.zeros(len(given))
    # Of all classes that no neighbor has, the one that is least usual counts.
    relative = np.full(len(given), np.log(_NEIGHBOR_FLOOR) - usual.min())
    # Neighbors are few: how often each one's label occurs among them is counted in place.
    for place in range(labels.shape[1]):
        mine = labels[:, place : place + 1]
        often = ((labels == mine) & there).sum(axis=1) / near
        is_other = there[:, place] & (labels[:, place] != given)
        other = np.where(is_other, np.maximum(other, often), other)
        ratio = np.log(often + _NEIGHBOR_FLOOR) - usual[labels[:, place]]
        relative = np.where(is_other, np.maximum(relative, ratio), relative)
    nobody = ~there.any(axis=1)
    own = np.log(same + _NEIGHBOR_FLOOR) - usual[given]
    return (
        np.where(nobody, 0.5, same),
        np.where(nobody, 0.0, same - other),
        np.where(nobody, 0.0, own - relative),
    )
