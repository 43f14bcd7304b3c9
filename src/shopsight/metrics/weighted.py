"""The metrics as functions of how often each image counts, for `shopsight.metrics.intervals`.

A bootstrap resample takes n of n images with replacement. All that a metric sees of it is how
often each image was taken: weights w_1..w_n, whole numbers with sum n. The metrics here are
functions of sums over images, f(sum_i a_i, sum_i b_i, ...), e.g. accuracy with a_i = 1 where
image i is correct and b_i = 1. Of a resample the same metric is f(sum_i w_i a_i, sum_i w_i b_i).

With the weights of r resamples as the rows of W "r n", and the terms of the images as the columns
of A "n k", all sums of all resamples are one product, W A. That takes r n k multiplications at the
speed of matrix products, where repeating the images and counting anew would gather r n rows. Sums
per class or per bin have one term per image, so that A is sparse and costs r n.

Each function gives a `Statistic`: weights "r n" to values "r". With all weights 1 it is the metric
itself; with whole numbers it is the metric of the images repeated so often.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Shaped
from scipy.sparse import csr_array

from shopsight.metrics.calibration import bin_index
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
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, num_classes: int
) -> Statistic:
    """Mean recall of the classes that occur among the targets (of a resample: in it).

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """
    truth = _columns(targets, np.ones(len(targets)), num_classes)
    hits = _columns(targets, targets == predicted, num_classes)

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        support = weights @ truth
        recall = ratio(weights @ hits, support)
        return ratio(recall.sum(axis=1), (support > 0).sum(axis=1))

    return statistic


def macro_f1(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, num_classes: int
) -> Statistic:
    """As `classification.precision_recall_f1(...).macro_f1`.

    F1 = 2 P R / (P + R) with P = hits / predicted and R = hits / support is
    2 hits / (support + predicted): two sums per class.
    """
    every = np.ones(len(targets))
    truth = _columns(targets, every, num_classes)
    assigned = _columns(predicted, every, num_classes)
    hits = _columns(targets, targets == predicted, num_classes)
    return lambda weights: _mean_of_f1(weights @ hits, weights @ truth, weights @ assigned)


def multilabel_macro_f1(targets: csr_array, predicted: csr_array) -> Statistic:
    """As `multilabel.multilabel_scores(...).macro_f1`; see `macro_f1`."""
    truth, assigned = targets.astype(np.float64), predicted.astype(np.float64)
    hits = truth.multiply(assigned).tocsr()
    return lambda weights: _mean_of_f1(weights @ hits, weights @ truth, weights @ assigned)


def multilabel_micro_f1(targets: csr_array, predicted: csr_array) -> Statistic:
    """As `multilabel.multilabel_scores(...).micro_f1`; see `macro_f1`."""
    both = (targets.astype(np.float64) + predicted).sum(axis=1)
    hits = targets.astype(np.float64).multiply(predicted).sum(axis=1)
    return lambda weights: ratio(2 * (weights @ hits), weights @ both)


def calibration_error(
    confidence: Float[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], *, bins: int
) -> Statistic:
    """As `calibration.expected_calibration_error`: an image keeps its bin in every resample.

    (n_b / n) |confidence_b - accuracy_b| is |sum over the bin of (confidence - correct)| / n: the
    number of a bin's images cancels, and one sum per bin is left.
    """
    index = bin_index(confidence, bins=bins)
    gaps = _columns(index, confidence - correct.astype(np.float64), bins)

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        errors: Float64[np.ndarray, "r"] = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
        return errors

    return statistic


def mean_average_precision(
    targets: Shaped[np.ndarray, "n c"], scores: Float[np.ndarray, "n c"]
) -> Statistic:
    """Mean of `label_ranking.rank_labels(...).average_precision` over the classes with images.

    A class that a resample lacks does not count there; without any class the value is NaN.
    """
    classes = [_RankedClass(targets[:, c], scores[:, c]) for c in range(targets.shape[1])]

    def statistic(weights: Weights) -> Float64[np.ndarray, "r"]:
        total, present = np.zeros(len(weights)), np.zeros(len(weights))
        for ranked in classes:
            value, occurs = ranked.average_precision(weights)
            total += value
            present += occurs
        means = np.full(len(weights), np.nan)
        np.divide(total, present, out=means, where=present > 0)
        return means

    return statistic


class _RankedClass:
    """One class's images, best score first, equal scores as one step.

    With h_s the weight of the class's own images at step s, and P_s the precision down to it,

        AP = sum_s (R_s - R_{s-1}) P_s = sum_s h_s P_s / sum_s h_s,

    since recall rises by h_s / sum h at step s. A score that no own image has adds nothing
    (h_s = 0), so that one step per distinct score of an own image is enough; other images enter
    P_s by their weight at or above that score. The sums run over these steps and not over the
    whole ranking, and rare classes are nearly free. Equal scores must be one step: an order within
    them would be the table's, not the model's.
    """

    def __init__(self, wanted: Shaped[np.ndarray, "n"], scores: Float[np.ndarray, "n"]) -> None:
        wanted = np.asarray(wanted, dtype=bool)
        levels = np.unique(scores[wanted])[::-1]
        # An image lies in step s when its score is at least levels[s] and below levels[s - 1];
        # one below all levels is in no step.
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
        """Return the average precision (0 where the class is absent), and 1 where it occurs."""
        hits = weights @ self._hits
        precision = ratio(np.cumsum(hits, axis=1), np.cumsum(weights @ self._all, axis=1))
        support = hits.sum(axis=1)
        return ratio((precision * hits).sum(axis=1), support), (support > 0).astype(np.float64)


def _columns(index: Int[np.ndarray, "n"], values: Shaped[np.ndarray, "n"], width: int) -> csr_array:
    """Return the matrix "n width" with each image's value in its column, and zeros elsewhere."""
    rows = np.arange(len(index))
    return csr_array(
        (np.asarray(values, dtype=np.float64), (rows, index)), shape=(len(index), width)
    )


def _mean_of_f1(
    hits: Float64[np.ndarray, "r c"],
    support: Float64[np.ndarray, "r c"],
    assigned: Float64[np.ndarray, "r c"],
) -> Float64[np.ndarray, "r"]:
    """Mean over the classes that have images; without any the value is 0."""
    return ratio(ratio(2 * hits, support + assigned).sum(axis=1), (support > 0).sum(axis=1))
