"""How well several labels per image were predicted. Targets are 0/1, one column per class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from shopsight.errors import MetricError
from shopsight.metrics.classification import ratio


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


def multilabel_scores(targets: csr_array, predicted: csr_array) -> MultilabelScores:
    """Return precision, recall and F1 of yes/no decisions.

    Args:
        targets: Sparse 0/1 "n c".
        predicted: Likewise.

    Raises:
        MetricError: No images, shapes that differ, targets other than 0 and 1.
    """
    if targets.shape != predicted.shape:
        raise MetricError(f"targets of shape {targets.shape} do not go with {predicted.shape}")
    if 0 in targets.shape:
        raise MetricError("there are no images to measure on")
    if not np.isin(targets.data, (0, 1)).all():
        raise MetricError("targets with several labels must be 0 or 1")
    hits, support, assigned = (
        np.asarray(table.sum(axis=0, dtype=np.int64))
        for table in (targets.multiply(predicted), targets, predicted)
    )
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
