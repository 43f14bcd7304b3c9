"""The metrics as functions of how often each image counts, for `shopsight.metrics.intervals`.

Each function gives a `Statistic`: weights "r n" to values "r". With all weights 1 it is the metric
itself; with whole numbers it is the metric of the images repeated so often.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy.sparse import csr_array

from shopsight.metrics.calibration import bin_of
from shopsight.metrics.classification import ratio
from shopsight.metrics.intervals import Statistic, Weights


def mean(values: Shaped[np.ndarray, "n"]) -> Statistic:
    """Mean of a value per image: accuracy, top-k accuracy and log loss are such means."""
    exact = np.asarray(values, dtype=np.float64)

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        means: Float64[np.ndarray, "r"] = (weights @ exact) / weights.sum(axis=1)
        return means

    return statistic


def balanced_accuracy(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, classes: int
) -> Statistic:
    """As `classification.balanced_accuracy`: classes not drawn in a resample do not count there."""
    truth = _sums(targets, np.ones(len(targets)), classes)
    hits = _sums(targets, targets == predicted, classes)

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        support = weights @ truth
        recall = ratio(weights @ hits, support)
        return ratio(recall.sum(axis=1), (support > 0).sum(axis=1))

    return statistic


def macro_f1(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, classes: int
) -> Statistic:
    """As `classification.precision_recall_f1(...).macro_f1`."""
    every = np.ones(len(targets))
    both = _sums(targets, every, classes) + _sums(predicted, every, classes)
    hits = _sums(targets, targets == predicted, classes)
    return lambda weights: _mean_of_f1(weights @ hits, weights @ both)


def multilabel_macro_f1(
    targets: Shaped[np.ndarray, "n c"], predicted: Bool[np.ndarray, "n c"]
) -> Statistic:
    """As `multilabel.multilabel_scores(...).macro_f1`."""
    both = csr_array(targets.astype(np.float64) + predicted)
    hits = csr_array((targets.astype(bool) & predicted).astype(np.float64))
    return lambda weights: _mean_of_f1(weights @ hits, weights @ both)


def multilabel_micro_f1(
    targets: Shaped[np.ndarray, "n c"], predicted: Bool[np.ndarray, "n c"]
) -> Statistic:
    """As `multilabel.multilabel_scores(...).micro_f1`."""
    both = (targets.astype(np.float64) + predicted).sum(axis=1)
    hits = (targets.astype(bool) & predicted).sum(axis=1).astype(np.float64)
    return lambda weights: ratio(2 * (weights @ hits), weights @ both)


def calibration_error(
    confidence: Float[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], *, bins: int
) -> Statistic:
    """As `calibration.expected_calibration_error`: an image keeps its bin in every resample."""
    gaps = _sums(bin_of(confidence, bins=bins), confidence - correct.astype(np.float64), bins)

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        errors: Float64[np.ndarray, "r"] = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
        return errors

    return statistic


def mean_average_precision(
    targets: Shaped[np.ndarray, "n c"], scores: Float[np.ndarray, "n c"]
) -> Statistic:
    """As `multilabel.mean_average_precision`: classes not drawn do not count in that resample."""
    classes = [_RankedClass(targets[:, c], scores[:, c]) for c in range(targets.shape[1])]

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        total, known = np.zeros(len(weights)), np.zeros(len(weights))
        for ranked in classes:
            value, synthetic = ranked.average_precision(weights)
            total += value
            known += synthetic
        means = np.full(len(weights), np.nan)
        np.divide(total, known, out=means, where=known > 0)
        return means

    return statistic


class _RankedClass:
    """One class's images, best score first, equal scores as one step.

    Average precision is a sum over the class's own images of the precision at their step, so the
    images of other classes enter only by their number between two such steps: sums over stretches
    of the ranking, not over the ranking itself, and rare classes are nearly free.
    """

    def __init__(self, wanted: Shaped[np.ndarray, "n"], scores: Float[np.ndarray, "n"]) -> None:
        wanted = np.asarray(wanted, dtype=bool)
        levels = np.unique(scores[wanted])[::-1]
        # An image lies in step s when its score is at least levels[s] and below levels[s - 1].
        step = len(levels) - np.searchsorted(levels[::-1], scores, side="right")
        inside = step < len(levels)
        rows = np.flatnonzero(inside)
        shape = (len(scores), max(len(levels), 1))
        self._all = csr_array((np.ones(len(rows)), (rows, step[inside])), shape=shape)
        hits = np.flatnonzero(inside & wanted)
        self._hits = csr_array((np.ones(len(hits)), (hits, step[hits])), shape=shape)

    def average_precision(
        self, weights: Weights
    ) -> tuple[Float64[np.ndarray, "r"], Float64[np.ndarray, "r"]]:
        """Average precision (0 where the class was not drawn), and 1 where it was drawn."""
        hits = weights @ self._hits
        precision = ratio(np.cumsum(hits, axis=1), np.cumsum(weights @ self._all, axis=1))
        support = hits.sum(axis=1)
        return ratio((precision * hits).sum(axis=1), support), (support > 0).astype(np.float64)


def _sums(columns: Int[np.ndarray, "n"], values: Shaped[np.ndarray, "n"], width: int) -> csr_array:
    """Matrix "n width" with each image's value in its column: weights @ it sums per column."""
    rows = np.arange(len(columns))
    return csr_array(
        (np.asarray(values, dtype=np.float64), (rows, columns)), shape=(len(columns), width)
    )


def _mean_of_f1(
    hits: Float64[np.ndarray, "r c"], both: Float64[np.ndarray, "r c"]
) -> Float64[np.ndarray, "r"]:
    return ratio(ratio(2 * hits, both).sum(axis=1), (both > 0).sum(axis=1))
