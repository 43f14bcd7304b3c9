"""How much each image moves each metric: the estimates behind 95 % intervals.

Every metric here is a function of sums over images, so that its derivative by how often image i
counts is the chain rule over the terms of i: one pass over the images, O(n).

**Classes of few images.** A macro average gives a class of one image as much weight as one of
thousands. From c's images in f families (f effective: images squared / sum of squares) the spread
of its score is seen too small: the expected square of what deviates from an estimated mean of f
values is (1 - 1/f) of the variance, and nothing at all is seen of one. The variance of a mean of f
values between 0 and 1 is at most p (1 - p) / f, so that

    extra = 1/C^2  sum over classes of  p (1 - p) / f^2

makes up for what is missing, whatever f is. p is the class's score, moved to the metric's value by
the weight of one family: (f p + v) / (f + 1), since one of two images that are right is not certain
to be right.

Source: Efron 1982, "The jackknife, the bootstrap and other resampling plans", chapter 6; Särndal,
Swensson & Wretman 1992, "Model assisted survey sampling", section 5.5, for ratios of sums.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int, Int64
from scipy.sparse import csr_array

from shopsight.errors import MetricError
from shopsight.metrics.classification import precision_recall_f1, ratio
from shopsight.metrics.estimates import Estimate
from shopsight.metrics.families import Families
from shopsight.metrics.label_ranking import LabelRanking
from shopsight.metrics.multilabel import multilabel_scores
from shopsight.text import counted

FEW_IMAGES = 5
"""Below, a class makes the intervals of macro averages rough."""

BIAS_CORRECTION = 1.5
"""Of what an average precision loses where no image counts in its own precision: in simulations of
weak models and 3 to 60 own images the loss comes short of the bias by a quarter to a half."""


def balanced_accuracy(
    targets: Int[np.ndarray, "n"],
    predicted: Int[np.ndarray, "n"],
    families: Families,
    *,
    num_classes: int,
) -> Estimate:
    """Mean recall of the classes that have images.

    The recall r of a class of s images changes by (hit_i - r) / s with image i of it.

    Raises:
        MetricError: As `classification.precision_recall_f1`.

    Source: Brodersen et al. 2010, "The balanced accuracy and its posterior distribution".
    """
    scores = precision_recall_f1(targets, predicted, num_classes=num_classes)
    hits, classes = targets == predicted, int((scores.support > 0).sum())
    weights = 1 / (classes * scores.support[targets])
    value = scores.macro_recall
    counts = _effective_counts(targets, families, num_classes)
    recall = scores.recall[scores.support > 0]
    return Estimate(
        value,
        weights * (hits - scores.recall[targets]),
        hits=hits,
        weights=weights,
        extra_variance=_unseen(recall, counts[scores.support > 0], value),
        note=_few_images_note(scores.support),
    )


def macro_f1(
    targets: Int[np.ndarray, "n"],
    predicted: Int[np.ndarray, "n"],
    families: Families,
    *,
    num_classes: int,
) -> Estimate:
    """Mean F1 of the classes that have images.

    F = 2 h / (s + a), with h hits of s images and a predictions of the class, changes by
    (2 hit_i - F) / (s + a) with an image i that is a hit, by -F / (s + a) with one of the class or
    assigned to it that is not.

    Raises:
        MetricError: As `classification.precision_recall_f1`.
    """
    scores = precision_recall_f1(targets, predicted, num_classes=num_classes)
    hits, occurs = targets == predicted, scores.support > 0
    classes = int(occurs.sum())
    both = np.maximum(scores.support + scores.predicted, 1)
    rise = np.where(occurs, 1 / both, 0.0) / classes
    pull = rise * scores.f1
    counts = _effective_counts(targets, families, num_classes)[occurs]
    return Estimate(
        scores.macro_f1,
        2 * hits * rise[targets] - pull[targets] - pull[predicted],
        hits=hits,
        weights=1 / (classes * scores.support[targets]),
        extra_variance=_unseen_f1(scores.f1[occurs], counts, scores.macro_f1),
        note=_few_images_note(scores.support),
    )


def multilabel_macro_f1(targets: csr_array, predicted: csr_array, families: Families) -> Estimate:
    """As `macro_f1` where an image can have several labels.

    Args:
        targets: 0/1, "n c".
        predicted: Likewise.
        families: Of the images.

    Raises:
        MetricError: As `multilabel.multilabel_scores`.
    """
    scores = multilabel_scores(targets, predicted)
    occurs = scores.support > 0
    classes = max(int(occurs.sum()), 1)
    both = np.maximum(scores.support + scores.predicted, 1)
    rise = np.where(occurs, 1 / both, 0.0) / classes
    hits = targets.multiply(predicted).tocsr()
    influence = 2 * (hits @ rise) - targets @ (rise * scores.f1) - predicted @ (rise * scores.f1)
    counts = _effective_label_counts(targets, families)[occurs]
    return Estimate(
        scores.macro_f1,
        influence,
        extra_variance=_unseen_f1(scores.f1[occurs], counts, scores.macro_f1),
        note=_few_images_note(scores.support),
    )


def multilabel_micro_f1(targets: csr_array, predicted: csr_array) -> Estimate:
    """2 h / b over all pairs: h that are rightly yes, b yes in truth and yes in answers.

    Raises:
        MetricError: As `multilabel.multilabel_scores`.
    """
    value = multilabel_scores(targets, predicted).micro_f1
    hits, both = _per_image(targets, predicted)
    total = max(float(both.sum()), 1.0)
    influence = (2 * hits - value * both) / total
    return Estimate(value, influence, hits=2 * hits == both, weights=both / total)


def samples_f1(targets: csr_array, predicted: csr_array) -> Estimate:
    """Mean over the images of the F1 of each image's own set of labels, 2 h_i / b_i.

    An image without labels that is given none is answered right: it counts 1, as with
    scikit-learn's `f1_score(average="samples", zero_division=1)`.

    Raises:
        MetricError: No images, or shapes that differ.
    """
    if targets.shape != predicted.shape or not targets.shape[0]:
        raise MetricError(f"targets of shape {targets.shape} do not go with {predicted.shape}")
    hits, both = _per_image(targets, predicted)
    values = np.where(both > 0, ratio(2 * hits, both), 1.0)
    value = float(values.mean())
    return Estimate(value, (values - value) / len(values), hits=values == 1)


def mean_average_precision(
    ranking: LabelRanking, targets: csr_array, families: Families
) -> Estimate:
    """Mean over the labels that have images of their average precision.

    Args:
        ranking: Of the scores.
        targets: 0/1, "n c".
        families: Of the images.
    """
    value, known = ranking.mean_average_precision, ~np.isnan(ranking.average_precision)
    if not known.any():
        return Estimate(value, ranking.influence, reason="no image has a label")
    counts = _effective_label_counts(targets, families)[known]
    support = np.asarray(targets.sum(axis=0, dtype=np.int64)).ravel()
    bias = value - float(ranking.without_itself[known].mean())
    return Estimate(
        value,
        ranking.influence,
        extra_variance=_unseen(ranking.average_precision[known], counts, value),
        unbiased=max(0.0, value - BIAS_CORRECTION * bias),
        note=_few_images_note(support),
    )


def _per_image(
    targets: csr_array, predicted: csr_array
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Of each image its labels that are predicted, and its labels plus its predicted ones."""
    true, given = targets.astype(np.float64), predicted.astype(np.float64)
    hits = np.asarray(true.multiply(given).sum(axis=1)).ravel()
    return hits, np.asarray((true + given).sum(axis=1)).ravel()


def _unseen(
    values: Float64[np.ndarray, "c"], counts: Float64[np.ndarray, "c"], value: float
) -> float:
    """The variance of a mean of class scores that the classes' own images do not show."""
    smooth = (counts * values + value) / (counts + 1)
    return float((smooth * (1 - smooth) / counts**2).sum()) / len(values) ** 2


def _unseen_f1(
    values: Float64[np.ndarray, "c"], counts: Float64[np.ndarray, "c"], value: float
) -> float:
    """As `_unseen` of F1.

    With recall r and as many wrong predictions as none, F = 2 r / (1 + r), dF/dr = (2 - F)^2 / 2
    and r (1 - r) = 2 F (1 - F) / (2 - F)^2: the variance of F is F (1 - F) (2 - F)^2 / 2 a count.
    """
    if not len(values):
        return 0.0
    smooth = (counts * values + value) / (counts + 1)
    spread = smooth * (1 - smooth) * (2 - smooth) ** 2 / 2
    return float((spread / counts**2).sum()) / len(values) ** 2


def _effective_counts(
    targets: Int[np.ndarray, "n"], families: Families, num_classes: int
) -> Float64[np.ndarray, "c"]:
    """Of each class its images squared / sum of squares of its images by family."""
    pairs = targets.astype(np.int64) * families.count + families.of_image
    pair, sizes = np.unique(pairs, return_counts=True)
    label = pair // families.count
    exact = sizes.astype(np.float64)
    total = np.bincount(label, exact, minlength=num_classes)
    return ratio(total**2, np.bincount(label, exact**2, minlength=num_classes))


def _effective_label_counts(targets: csr_array, families: Families) -> Float64[np.ndarray, "c"]:
    """As `_effective_counts` where an image can have several labels."""
    rows = np.arange(families.num_images)
    shape = (families.count, families.num_images)
    member = csr_array((np.ones(len(rows)), (families.of_image, rows)), shape=shape)
    by_family = (member @ targets.astype(np.float64)).tocsr()
    total = np.asarray(by_family.sum(axis=0)).ravel()
    return ratio(total**2, np.asarray(by_family.multiply(by_family).sum(axis=0)).ravel())


def _few_images_note(support: Int64[np.ndarray, "c"]) -> str:
    few = int(((support > 0) & (support < FEW_IMAGES)).sum())
    if not few:
        return ""
    return f"{counted(few, 'class')} of fewer than {FEW_IMAGES} images: rough"
