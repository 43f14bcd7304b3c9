"""Average precision of thousands of labels on a million images, a piece of labels at a time.

A dense table of scores has n c numbers: 40 GB for a million images and 10,000 labels. Here the
scores of some labels lie in memory at a time, and the labels that images really have are sparse.

With images ranked by score, average precision looks only at the scores of the label's own images,
its *steps*. Let h_s be the own images at step s, A_s all images at or above it, C_s the own ones
among them, and H = sum_s h_s. Then

    AP = sum_s (h_s / H) C_s / A_s.

Images below the last own image change nothing, and no ranking is sorted but that of the own images:
the others are counted into their steps.

**Influence.** Let image i count w_i times; h, A and C are then sums of weights. The derivative of
AP by w_i at w = 1 says what one more image like i would do. An image at step s_i that lacks the
label only adds to A_s for s >= s_i:

    -T(s_i),                                       T(s) = sum_{t >= s} (h_t / H) C_t / A_t^2;

an own one adds to C_s and h_s too:

    (P(s_i) - AP) / H + U(s_i) - T(s_i),           U(s) = sum_{t >= s} (h_t / H) / A_t,

with P(s) = C_s / A_s. The sum over all images is 0: counting every image twice changes nothing.
`shopsight.metrics.influence` makes an interval of it.

**Bias.** Each own image counts in its own precision, C_s >= 1, so that the average precision of few
is too high: .27 of 3 own images among 100, where endlessly many images have .16. Without itself,
and with the others scaled to stand for H,

    P'(s) = C'_s / (A_s - C_s + C'_s),                              C'_s = (C_s - 1) H / (H - 1),

whose mean over own images is .185 there. A label of one image has no others: P' is 1 where no image
lies above it, else 0.

Source: Efron 1982, "The jackknife, the bootstrap and other resampling plans", chapter 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int, Int64
from scipy.sparse import csc_array, csr_array

from shopsight.errors import MetricError
from shopsight.memory import memory_budget_bytes
from shopsight.prefetch import default_threads, prefetch

PIECE_SHARE = 1 / 8
"""Of the memory budget: the scores that lie in memory at a time."""
MOST_PIECE_BYTES = 2 << 30


@runtime_checkable
class LabelScores(Protocol):
    """The probability of every label on every image, read some labels at a time.

    Attributes:
        num_images: n.
        num_labels: c.
    """

    @property
    def num_images(self) -> int:
        """How many images there are."""
        ...

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        ...

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        """Probabilities of the labels first..last-1, a row each."""
        ...


@dataclass(frozen=True, eq=False)
class LabelRanking:
    """How well the scores of each label rank the images.

    Attributes:
        average_precision: Of each label; NaN for one without images.
        influence: Derivative of the mean average precision by how often each image counts.
        without_itself: Average precision where no image counts in its own precision.
    """

    average_precision: Float64[np.ndarray, "c"]
    influence: Float64[np.ndarray, "n"]
    without_itself: Float64[np.ndarray, "c"]

    @property
    def mean_average_precision(self) -> float:
        """Mean over the labels that have images; NaN without any."""
        known = self.average_precision[~np.isnan(self.average_precision)]
        return float(known.mean()) if len(known) else float("nan")


def rank_labels(targets: csr_array, scores: LabelScores) -> LabelRanking:
    """Average precision of every label, and the influence of every image on its mean.

    Args:
        targets: 0/1, "n c".
        scores: Of the same images and labels.

    Raises:
        MetricError: No images, shapes that differ, or scores that are NaN.
    """
    columns = label_columns(targets, scores)
    precision, others = np.full((2, scores.num_labels), np.nan)
    influence = np.zeros(scores.num_images)
    for first, piece in label_pieces(scores):

        def ranked(
            label: int, first: int = first, piece: Float32[np.ndarray, "k n"] = piece
        ) -> tuple[int, _RankedLabel]:
            return label, _rank(piece[label - first], own_images(columns, label))

        labels = range(first, first + len(piece))
        for label, found in prefetch(ranked, labels, threads=default_threads()):
            precision[label] = found.average_precision
            others[label] = found.without_itself
            influence[found.rows] += found.influence
    known = int((~np.isnan(precision)).sum())
    return LabelRanking(precision, influence / max(known, 1), others)


@dataclass(frozen=True, eq=False)
class _RankedLabel:
    average_precision: float
    without_itself: float
    rows: Int64[np.ndarray, "m"]
    influence: Float64[np.ndarray, "m"]


def _rank(scores: Float32[np.ndarray, "n"], own: Int[np.ndarray, "p"]) -> _RankedLabel:
    """One label: its average precision, and the influence of the images that have any."""
    if not len(own):
        return _RankedLabel(float("nan"), float("nan"), np.empty(0, np.int64), np.empty(0))
    levels = np.unique(scores[own])
    rows = np.flatnonzero(scores >= levels[0])
    # Steps are counted from the highest score; an image lies in that of the next own one below.
    step = len(levels) - np.searchsorted(levels, scores[rows], side="right")
    own_step = len(levels) - np.searchsorted(levels, scores[own], side="right")
    own_here = np.bincount(own_step, minlength=len(levels))
    above = np.cumsum(np.bincount(step, minlength=len(levels))).astype(np.float64)
    own_above = np.cumsum(own_here)
    share, precision = own_here / len(own), own_above / above
    average_precision = float(share @ precision)
    pushed_down = _sum_from(share * precision / above)
    influence = -pushed_down[step]
    rise = (precision - average_precision) / len(own) + _sum_from(share / above)
    influence[np.searchsorted(rows, own)] += rise[own_step]
    others = (own_above - 1) * len(own) / max(len(own) - 1, 1)
    without = np.ones(len(levels))
    np.divide(others, above - own_above + others, out=without, where=above > 1)
    return _RankedLabel(average_precision, float(share @ without), rows, influence)


def _sum_from(values: Float64[np.ndarray, "s"]) -> Float64[np.ndarray, "s"]:
    """The sum of each value and all that follow."""
    sums: Float64[np.ndarray, "s"] = np.cumsum(values[::-1])[::-1]
    return sums


def label_columns(targets: csr_array, scores: LabelScores) -> csc_array:
    """The targets by label.

    Raises:
        MetricError: No images, or shapes that differ.
    """
    shape = (scores.num_images, scores.num_labels)
    if targets.shape != shape:
        raise MetricError(f"targets of shape {targets.shape} do not go with {shape}")
    if not scores.num_images or not scores.num_labels:
        raise MetricError("there are no images to measure on")
    return targets.tocsc()


def own_images(columns: csc_array, label: int) -> Int[np.ndarray, "p"]:
    """Images that have the label."""
    inside = slice(columns.indptr[label], columns.indptr[label + 1])
    own: Int[np.ndarray, "p"] = columns.indices[inside][columns.data[inside] != 0]
    return own


def label_pieces(scores: LabelScores) -> Iterator[tuple[int, Float32[np.ndarray, "k n"]]]:
    """Labels by labels, as many at a time as the memory budget takes."""
    room = min(MOST_PIECE_BYTES, int(PIECE_SHARE * memory_budget_bytes()))
    at_once = max(1, room // (4 * scores.num_images))
    for first in range(0, scores.num_labels, at_once):
        piece = scores.of_labels(first, min(first + at_once, scores.num_labels))
        if np.isnan(piece.sum()):
            bad = int(np.isnan(piece).any(axis=0).sum())
            raise MetricError(
                f"the scores of {bad} of {scores.num_images} images are not numbers (NaN)"
            )
        yield first, piece
