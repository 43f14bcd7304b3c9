"""How well several labels per image were predicted. Targets are 0/1, one column per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Shaped

from shopsight.errors import MetricError
from shopsight.metrics.classification import check_numbers, ratio

Targets = Shaped[np.ndarray, "n c"]


@dataclass(frozen=True)
class MultilabelScores:
    """Precision, recall and F1 of each class, micro (all decisions pooled) and macro F1.

    Attributes:
        precision: Correct yes decisions / yes decisions, 0 where there is none.
        recall: Correct yes decisions / images with the label, 0 where there is none.
        f1: Harmonic mean of the two.
        support: Images with the label.
        predicted: Images that were assigned the label.
        micro_precision: Over all pairs of an image and a class.
        micro_recall: Over all pairs of an image and a class.
        micro_f1: Over all pairs of an image and a class.
        macro_f1: Mean over the classes that have images.
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
    """Return the average precision of each class; NaN for a class without images.

    With images ranked by score, AP = sum over steps s of (R_s - R_{s-1}) P_s: precision P_s and
    recall R_s of the images down to step s. Images of equal score form one step, since no
    threshold parts them; there is no interpolation between steps.

    Raises:
        MetricError: No images, shapes that differ, targets other than 0 and 1, scores that are NaN.

    Source: the definition of scikit-learn's `average_precision_score`; Manning, Raghavan &
    Schuetze 2008, "Introduction to information retrieval", section 8.4.
    """
    wanted = _checked(targets, scores)
    return np.array([_average_precision(wanted[:, c], scores[:, c]) for c in range(len(wanted.T))])


def multilabel_scores(targets: Targets, predicted: Bool[np.ndarray, "n c"]) -> MultilabelScores:
    """Return precision, recall and F1 of yes/no decisions.

    Raises:
        MetricError: No images, shapes that differ, targets other than 0 and 1.
    """
    wanted = _checked(targets, predicted.astype(np.float64))
    hits = (wanted & predicted).sum(axis=0)
    support, assigned = wanted.sum(axis=0), predicted.sum(axis=0)
    occurs = support > 0
    f1 = ratio(2 * hits, support + assigned)
    return MultilabelScores(
        precision=ratio(hits, assigned),
        recall=ratio(hits, support),
        f1=f1,
        support=support,
        predicted=assigned,
        micro_precision=float(ratio(hits.sum(), assigned.sum())),
        micro_recall=float(ratio(hits.sum(), support.sum())),
        micro_f1=float(ratio(2 * hits.sum(), (support + assigned).sum())),
        macro_f1=float(f1[occurs].mean()) if occurs.any() else 0.0,
    )


def _average_precision(wanted: Bool[np.ndarray, "n"], scores: Float[np.ndarray, "n"]) -> float:
    if not wanted.any():
        return float("nan")
    order, last = _steps(scores)
    hits = np.cumsum(wanted[order])[last]
    return float(np.diff(hits, prepend=0) @ (hits / (last + 1)) / hits[-1])


def _steps(
    scores: Float[np.ndarray, "n"],
) -> tuple[Int64[np.ndarray, "n"], Int64[np.ndarray, "s"]]:
    """Return the order from the highest score down, and the last rank of each distinct score.

    A cut after rank k is possible only where the score falls: equals stay together.
    """
    order = np.argsort(-scores)
    return order, np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)


def _checked(targets: Targets, scores: Float[np.ndarray, "n c"]) -> Bool[np.ndarray, "n c"]:
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise MetricError(f"targets of shape {targets.shape} do not go with {scores.shape}")
    if targets.size == 0:
        raise MetricError("there are no images to measure on")
    if not np.isin(targets, (0, 1)).all():
        raise MetricError("targets with several labels must be 0 or 1")
    check_numbers(scores)
    return np.asarray(targets, dtype=bool)
