"""How well one label per image was predicted. Labels are class indices 0..c-1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Shaped

from shopsight.errors import MetricError


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of each class, and their means.

    A class without predictions has precision 0, one without images recall 0. Macro means are over
    the classes that have images: one that is trained and not measured, for want of images, counts
    by its wrong predictions, which the recall of the true classes lacks. scikit-learn's default
    takes its 0 into the mean; the same numbers there come with `labels=` of the classes that have
    images. Weighted means are over the images.

    Attributes:
        precision: Correct predictions of the class / predictions of the class.
        recall: Correct predictions of the class / images of the class.
        f1: Harmonic mean of the two.
        support: Images of the class.
        predicted: Images that were assigned the class.
        macro_precision: Unweighted mean over classes.
        macro_recall: Unweighted mean over classes.
        macro_f1: Unweighted mean over classes.
        weighted_precision: Mean over classes, weighted by their support.
        weighted_recall: Mean over classes, weighted by their support.
        weighted_f1: Mean over classes, weighted by their support.
    """

    precision: Float64[np.ndarray, "c"]
    recall: Float64[np.ndarray, "c"]
    f1: Float64[np.ndarray, "c"]
    support: Int64[np.ndarray, "c"]
    predicted: Int64[np.ndarray, "c"]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float


def accuracy(targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]) -> float:
    """Return the fraction of images whose predicted class is the true one.

    Raises:
        MetricError: No images, or arrays of different lengths.
    """
    _check_pair(targets, predicted)
    return float(np.mean(targets == predicted))


def truth_rank(
    targets: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n c"]
) -> Int64[np.ndarray, "n"]:
    """Return the rank of each image's class when classes are sorted by score, from 1.

    Of equal scores the lower class index comes first, as in `argmax`, so that a rank of 1 and a
    correct prediction are the same thing.

    Raises:
        MetricError: No images, lengths that differ, a class out of range, scores that are NaN.
    """
    check_scores(targets, scores)
    rows = np.arange(len(targets))
    truth = scores[rows, targets][:, None]
    before = np.arange(scores.shape[1])[None, :] < np.asarray(targets)[:, None]
    ranks: Int64[np.ndarray, "n"] = 1 + np.sum((scores > truth) | ((scores == truth) & before), 1)
    return ranks


def precision_recall_f1(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, num_classes: int
) -> ClassScores:
    """Return precision, recall and F1 per class, macro and weighted.

    Raises:
        MetricError: No images, lengths that differ, or an index outside 0..num_classes-1.
    """
    _check_pair(targets, predicted)
    _check_classes(targets, num_classes, "target")
    _check_classes(predicted, num_classes, "predicted")
    hits = np.bincount(targets[targets == predicted], minlength=num_classes)
    support = np.bincount(targets, minlength=num_classes)
    assigned = np.bincount(predicted, minlength=num_classes)
    precision, recall = ratio(hits, assigned), ratio(hits, support)
    # 2 P R / (P + R) with P = hits / assigned and R = hits / support, without its 0 / 0.
    f1 = ratio(2 * hits, support + assigned)
    occurs = support > 0
    weight = support / support.sum()
    return ClassScores(
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        predicted=assigned,
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        weighted_precision=float(precision @ weight),
        weighted_recall=float(recall @ weight),
        weighted_f1=float(f1 @ weight),
    )


def negative_log(probabilities: Float[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Return -ln(p) as float64, in nats.

    p is kept above 2.2e-16 (the float64 epsilon), so that one certain mistake costs 36.04 nats
    and not infinitely many.
    """
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip(probabilities.astype(np.float64), smallest, 1.0))


def ratio(
    numerator: Shaped[np.ndarray, "*s"] | np.number,
    denominator: Shaped[np.ndarray, "*s"] | np.number,
) -> Float64[np.ndarray, "*s"]:
    """Return numerator / denominator as float64, and 0 where the denominator is 0."""
    quotient = np.zeros(np.shape(numerator))
    np.divide(numerator, denominator, out=quotient, where=np.asarray(denominator) > 0)
    return quotient


def check_scores(targets: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n c"]) -> None:
    """Check that targets and scores belong together.

    Raises:
        MetricError: No images, lengths that differ, a class out of range, scores that are NaN.
    """
    if len(targets) == 0:
        raise MetricError("there are no images to measure on")
    if scores.ndim != 2 or len(scores) != len(targets):
        raise MetricError(f"{len(targets)} targets do not go with scores of shape {scores.shape}")
    _check_classes(targets, scores.shape[1], "target")
    check_numbers(scores)


def check_numbers(scores: Float[np.ndarray, "n c"]) -> None:
    """Check that no score is NaN.

    Raises:
        MetricError: Some are, with the number of their images.
    """
    bad = int(np.isnan(scores).any(axis=1).sum())
    if bad:
        raise MetricError(f"the scores of {bad} of {len(scores)} images are not numbers (NaN)")


def _check_pair(targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]) -> None:
    if len(targets) == 0:
        raise MetricError("there are no images to measure on")
    if len(targets) != len(predicted):
        raise MetricError(f"{len(targets)} targets do not go with {len(predicted)} predictions")


def _check_classes(indices: Int[np.ndarray, "n"], num_classes: int, name: str) -> None:
    low, high = int(np.min(indices)), int(np.max(indices))
    if low < 0 or high >= num_classes:
        value = low if low < 0 else high
        raise MetricError(f"{name} class {value} is not between 0 and {num_classes - 1}")
