"""How well one label per image was predicted. Labels are class indices 0..c-1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Shaped
from sklearn import metrics as sk

from shopsight.errors import MetricError


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of each class, and their means.

    A class without predictions has precision 0, one without images recall 0. Macro means are over
    the classes that occur among the targets or the predictions, weighted means over the images.

    Attributes:
        support: images of the class.
        predicted: images that were given the class.
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
    """Share of images whose predicted class is theirs.

    Raises:
        MetricError: no images, or arrays of different lengths.
    """
    _check_pair(targets, predicted)
    return float(sk.accuracy_score(targets, predicted))


def top_k_accuracy(
    targets: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n c"], *, k: int
) -> float:
    """Share of images whose class is among the k with the highest scores; see `truth_rank`.

    Raises:
        MetricError: as `truth_rank`, or k is not in 1..c.
    """
    ranks = truth_rank(targets, scores)
    if not 1 <= k <= scores.shape[1]:
        raise MetricError(f"k = {k} is not between 1 and the number of classes, {scores.shape[1]}")
    return float(np.mean(ranks <= k))


def truth_rank(
    targets: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n c"]
) -> Int64[np.ndarray, "n"]:
    """Place of each image's class when classes are sorted by score, from 1.

    Of equal scores the lower class index comes first, as in `argmax`, so that a rank of 1 and a
    correct prediction are the same thing.

    Raises:
        MetricError: no images, lengths that differ, a class out of range, scores that are NaN.
    """
    check_scores(targets, scores)
    rows = np.arange(len(targets))
    truth = scores[rows, targets][:, None]
    before = np.arange(scores.shape[1])[None, :] < np.asarray(targets)[:, None]
    ranks: Int64[np.ndarray, "n"] = 1 + np.sum((scores > truth) | ((scores == truth) & before), 1)
    return ranks


def balanced_accuracy(targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]) -> float:
    """Mean recall of the classes that occur among the targets.

    Raises:
        MetricError: no images, or arrays of different lengths.
    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """
    _check_pair(targets, predicted)
    recalls = sk.recall_score(
        targets, predicted, labels=np.unique(targets), average=None, zero_division=0
    )
    return float(np.mean(recalls))


def precision_recall_f1(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, classes: int
) -> ClassScores:
    """Precision, recall and F1 per class, macro and weighted.

    Raises:
        MetricError: no images, lengths that differ, or an index outside 0..classes-1.
    """
    _check_pair(targets, predicted)
    _check_classes(targets, classes, "target")
    _check_classes(predicted, classes, "predicted")
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        targets, predicted, labels=np.arange(classes), average=None, zero_division=0
    )
    given = np.bincount(predicted, minlength=classes)
    occurs = (support > 0) | (given > 0)
    share = support / support.sum()
    return ClassScores(
        precision=precision,
        recall=recall,
        f1=f1,
        support=support.astype(np.int64),
        predicted=given,
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        weighted_precision=float(precision @ share),
        weighted_recall=float(recall @ share),
        weighted_f1=float(f1 @ share),
    )


def log_loss(targets: Int[np.ndarray, "n"], probabilities: Float[np.ndarray, "n c"]) -> float:
    """Mean of -ln(probability given to the image's class), nats; at most 36.04 per image.

    Probabilities are kept above 2.2e-16, so that one certain mistake does not make it infinite.

    Raises:
        MetricError: no images, lengths that differ, a class out of range, no sum of 1.
    """
    check_scores(targets, probabilities)
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if not np.allclose(sums, 1.0, atol=1e-3):
        raise MetricError(f"probabilities sum to {sums[np.abs(sums - 1).argmax()]:.4f}, not to 1")
    truth = probabilities[np.arange(len(targets)), targets]
    return float(np.mean(negative_log(truth)))


def negative_log(probabilities: Float[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """-ln(p) with p kept within 2.2e-16..1, as float64."""
    smallest = np.finfo(np.float64).eps
    return -np.log(np.clip(probabilities.astype(np.float64), smallest, 1.0))


def ratio(
    part: Shaped[np.ndarray, "*s"] | np.number, whole: Shaped[np.ndarray, "*s"] | np.number
) -> Float64[np.ndarray, "*s"]:
    """Part / whole as float64, and 0 where whole is 0."""
    shares = np.zeros(np.shape(part))
    np.divide(part, whole, out=shares, where=np.asarray(whole) > 0)
    return shares


def confusion_matrix(
    targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, classes: int
) -> Int64[np.ndarray, "c c"]:
    """Count of images of class [row] that were given class [column].

    Raises:
        MetricError: no images, lengths that differ, or an index outside 0..classes-1.
    """
    _check_pair(targets, predicted)
    for name, indices in (("target", targets), ("predicted", predicted)):
        _check_classes(indices, classes, name)
    flat = np.asarray(targets, np.int64) * classes + predicted
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def check_scores(targets: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n c"]) -> None:
    """Targets and scores belong together.

    Raises:
        MetricError: no images, lengths that differ, a class out of range, scores that are NaN.
    """
    if len(targets) == 0:
        raise MetricError("there are no images to measure on")
    if scores.ndim != 2 or len(scores) != len(targets):
        raise MetricError(f"{len(targets)} targets do not go with scores of shape {scores.shape}")
    _check_classes(targets, scores.shape[1], "target")
    if np.isnan(scores).any():
        bad = int(np.isnan(scores).any(axis=1).sum())
        raise MetricError(f"the scores of {bad} of {len(scores)} images are not numbers (NaN)")


def _check_pair(targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]) -> None:
    if len(targets) == 0:
        raise MetricError("there are no images to measure on")
    if len(targets) != len(predicted):
        raise MetricError(f"{len(targets)} targets do not go with {len(predicted)} predictions")


def _check_classes(indices: Int[np.ndarray, "n"], classes: int, name: str) -> None:
    low, high = int(np.min(indices)), int(np.max(indices))
    if low < 0 or high >= classes:
        value = low if low < 0 else high
        raise MetricError(f"{name} class {value} is not between 0 and {classes - 1}")
