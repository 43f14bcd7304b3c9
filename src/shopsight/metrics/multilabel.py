"""How well several labels per image were predicted. Targets are 0/1, one column per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from sklearn import metrics as sk

from shopsight.errors import MetricError
from shopsight.metrics.classification import negative_log, ratio

Targets = Shaped[np.ndarray, "n c"]

# Fewer positives than that move a fitted threshold by chance: rare classes are overfitted.
FEWEST_POSITIVES = 10


@dataclass(frozen=True)
class MultilabelScores:
    """Precision, recall and F1 of each class, micro (all decisions pooled) and macro F1.

    Macro means are over the classes that occur among the targets or the predictions.
    """

    precision: Float64[np.ndarray, "c"]
    recall: Float64[np.ndarray, "c"]
    f1: Float64[np.ndarray, "c"]
    support: Int64[np.ndarray, "c"]
    predicted: Int64[np.ndarray, "c"]
    micro_precision: float
    micro_recall: float
    micro_f1: float
    macro_f1: float


def average_precision(
    targets: Targets, scores: Float[np.ndarray, "n c"]
) -> Float64[np.ndarray, "c"]:
    """Area under each class's precision-recall steps; NaN for a class without images.

    Raises:
        MetricError: no images, shapes that differ, targets other than 0 and 1, scores that are NaN.
    Source: scikit-learn's average_precision_score (no interpolation; equal scores form one step).
    """
    wanted = _checked(targets, scores)
    return np.array(
        [
            sk.average_precision_score(wanted[:, c], scores[:, c]) if wanted[:, c].any() else np.nan
            for c in range(wanted.shape[1])
        ]
    )


def mean_average_precision(targets: Targets, scores: Float[np.ndarray, "n c"]) -> float:
    """Mean of `average_precision` over the classes that have images.

    Raises:
        MetricError: as `average_precision`, or no class has an image.
    """
    per_class = average_precision(targets, scores)
    if np.isnan(per_class).all():
        raise MetricError("no image carries a label, so there is no mean average precision")
    return float(np.nanmean(per_class))


def multilabel_scores(targets: Targets, predicted: Bool[np.ndarray, "n c"]) -> MultilabelScores:
    """Precision, recall and F1 of yes/no decisions; 0 where nothing was to be or was found.

    Raises:
        MetricError: no images, shapes that differ, targets other than 0 and 1.
    """
    wanted = _checked(targets, predicted.astype(np.float64))
    hits = (wanted & predicted).sum(axis=0)
    support, given = wanted.sum(axis=0), predicted.sum(axis=0)
    occurs = (support > 0) | (given > 0)
    f1 = ratio(2 * hits, support + given)
    return MultilabelScores(
        precision=ratio(hits, given),
        recall=ratio(hits, support),
        f1=f1,
        support=support,
        predicted=given,
        micro_precision=float(ratio(hits.sum(), given.sum())),
        micro_recall=float(ratio(hits.sum(), support.sum())),
        micro_f1=float(ratio(2 * hits.sum(), (support + given).sum())),
        macro_f1=float(f1[occurs].mean()) if occurs.any() else 0.0,
    )


def best_thresholds(
    targets: Targets,
    probabilities: Float[np.ndarray, "n c"],
    *,
    otherwise: float = 0.5,
    fewest: int = FEWEST_POSITIVES,
) -> Float64[np.ndarray, "c"]:
    """Per class, the threshold at which "probability >= threshold" has the highest F1.

    It lies halfway between two neighboring probabilities; of equally good cuts the one nearest to
    `otherwise` is taken. Classes with fewer than `fewest` positives keep `otherwise`.

    Raises:
        MetricError: no images, shapes that differ, targets other than 0 and 1, NaN.
    Source: Yang 2001, "A study of thresholding strategies for text categorization" (SCut).
    """
    wanted = _checked(targets, probabilities)
    found = np.full(wanted.shape[1], otherwise)
    for c in np.flatnonzero(wanted.sum(axis=0) >= fewest):
        found[c] = _best_threshold(wanted[:, c], probabilities[:, c].astype(np.float64), otherwise)
    return found


def _best_threshold(
    wanted: Bool[np.ndarray, "n"], probabilities: Float64[np.ndarray, "n"], otherwise: float
) -> float:
    order = np.argsort(-probabilities)
    ranked = probabilities[order]
    # A cut after rank k is possible only where the probability falls: equals stay together.
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    f1 = 2 * np.cumsum(wanted[order])[last] / (last + 1 + wanted.sum())
    below = np.append(ranked[last[:-1] + 1], 0.0)
    cuts = (ranked[last] + below) / 2
    # `otherwise` itself may lie in the gap of the best cut, and is then as good.
    cuts = np.where((below < otherwise) & (otherwise <= ranked[last]), otherwise, cuts)
    best = np.flatnonzero(f1 == f1.max())
    return float(cuts[best[np.abs(cuts[best] - otherwise).argmin()]])


def subset_accuracy(targets: Targets, predicted: Bool[np.ndarray, "n c"]) -> float:
    """Share of images whose set of labels was found exactly.

    Raises:
        MetricError: no images, shapes that differ, targets other than 0 and 1.
    """
    wanted = _checked(targets, predicted.astype(np.float64))
    return float(np.mean((wanted == predicted).all(axis=1)))


def binary_log_loss(targets: Targets, probabilities: Float[np.ndarray, "n c"]) -> float:
    """Mean over images and classes of -ln(probability given to the true yes or no), nats.

    Raises:
        MetricError: no images, shapes that differ, targets other than 0 and 1, NaN.
    """
    wanted = _checked(targets, probabilities)
    exact = probabilities.astype(np.float64)
    return float(np.mean(negative_log(np.where(wanted, exact, 1.0 - exact))))


def _checked(targets: Targets, scores: Float[np.ndarray, "n c"]) -> Bool[np.ndarray, "n c"]:
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise MetricError(f"targets of shape {targets.shape} do not go with {scores.shape}")
    if targets.size == 0:
        raise MetricError("there are no images to measure on")
    if not np.isin(targets, (0, 1)).all():
        raise MetricError("targets with several labels must be 0 or 1")
    if np.isnan(scores).any():
        bad = int(np.isnan(scores).any(axis=1).sum())
        raise MetricError(f"the scores of {bad} of {len(scores)} images are not numbers (NaN)")
    return np.asarray(targets, dtype=bool)
