"""Worlds whose true scores are known, and samples of them, for `bench/coverage.py`.

A world draws families of images, with answers that go together within a family, and says what the
score would be on endlessly many families of its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.sparse import csr_array
from scipy.special import expit, ndtr, ndtri

from shopsight.metrics import influence, shares
from shopsight.metrics.classification import ratio
from shopsight.metrics.estimates import Estimate, difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval, mean_interval
from shopsight.metrics.label_ranking import rank_labels

CLASSES = 20
FOLDS = 5
TRAINING_SPREAD = 0.01
"""Standard deviation of the accuracy from one training to the next, at .9."""
SECOND_MODEL = 0.02
"""By how much the second of two models is worse."""
ALIKE = 0.7
"""The chance that two models share what decides an image."""


@dataclass(frozen=True)
class Cell:
    """A world.

    Attributes:
        metric: One of `WORLDS`.
        images: n, about.
        accuracy: Of the model; of label scores their distance from those of other images.
        families: How many; 0: each image is one.
        sizes: "equal", "big" (one holds 40 %), "geometric" (largest 100 times the smallest),
            "sixes" (30 % of the images are copies in sixes, the others lone).
        correlation: Of right and wrong within a family; copies agree in full.
        classes: "equal", "zipf", "lone" (one class has one image).
        positives: Share of the images that has a label, where there are several.
    """

    metric: str
    images: int
    accuracy: float
    families: int = 0
    sizes: str = "equal"
    correlation: float = 0.3
    classes: str = "equal"
    positives: float = 0.03

    @property
    def words(self) -> dict[str, Any]:
        """The settings."""
        return asdict(self)


def family_sizes(cell: Cell) -> Int64[np.ndarray, "g"]:
    """Images of each family."""
    n, count = cell.images, cell.families or cell.images
    if cell.sizes == "sixes":
        sixes = round(0.3 * n / 6)
        return np.array([6] * sixes + [1] * (n - 6 * sixes))
    if cell.sizes == "big":
        return np.array([int(0.4 * n)] + [max(1, int(0.6 * n / (count - 1)))] * (count - 1))
    if cell.sizes == "geometric":
        shares_of = 0.01 ** (np.arange(count) / max(count - 1, 1))
        return np.maximum(1, (shares_of / shares_of.sum() * n).astype(np.int64))
    return np.full(count, n // count)


@dataclass(frozen=True)
class Sample:
    """Families of images and a uniform number for each image, alike within a family."""

    families: Families
    rng: np.random.Generator
    chance: Float64[np.ndarray, "n"]


def draw(cell: Cell, rng: np.random.Generator) -> Sample:
    """Families in a shuffled order, and their images' chances, by a Gaussian copula.

    chance = Phi(sqrt(r) family + sqrt(1 - r) own) is uniform: an image is right where its chance
    is below the accuracy. r is `correlation`; copies share their chance.
    """
    sizes = family_sizes(cell)
    of_image = np.repeat(np.arange(len(sizes)), sizes)
    shared = rng.standard_normal(len(sizes))[of_image]
    alike = 1.0 if cell.sizes == "sixes" else cell.correlation if cell.families else 0.0
    own = rng.standard_normal(len(of_image))
    return Sample(Families(of_image), rng, ndtr(np.sqrt(alike) * shared + np.sqrt(1 - alike) * own))


def beta_hits(cell: Cell, sample: Sample) -> Bool[np.ndarray, "n"]:
    """Right or wrong: each family has an accuracy of its own, by a beta distribution.

    Of `correlation` r and mean p, Beta(p (1 / r - 1), (1 - p) (1 / r - 1)) gives pairs of images of
    a family the correlation r: at .99 and .7, families are right or wrong nearly as a whole.
    """
    if not cell.families:
        return sample.chance < cell.accuracy
    rest = 1 / cell.correlation - 1
    own = sample.rng.beta(cell.accuracy * rest, (1 - cell.accuracy) * rest, sample.families.count)[
        sample.families.of_image
    ]
    return sample.rng.random(len(own)) < own


def accuracy(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Accuracy."""
    sample = draw(cell, rng)
    return interval_of(Estimate.share(beta_hits(cell, sample)), sample.families), cell.accuracy


def class_recall(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Recall of a class of `images`, as in the table of classes."""
    sample = draw(cell, rng)
    hits, row = beta_hits(cell, sample), np.zeros(sample.families.num_images, np.int64)
    low, high = shares.share_intervals(row, hits, sample.families.of_image, num_rows=1)
    return Interval(float(hits.mean()), float(low[0]), float(high[0])), cell.accuracy


def difference(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Of the accuracies of two models, one better by `SECOND_MODEL`."""
    sample = draw(cell, rng)
    other = np.where(rng.random(len(sample.chance)) < ALIKE, sample.chance, draw(cell, rng).chance)
    first = Estimate.share(sample.chance < cell.accuracy)
    second = Estimate.share(other < cell.accuracy - SECOND_MODEL)
    return difference_of(first, second, sample.families), SECOND_MODEL


def equal_models(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """As `difference`, of two models that are equally good."""
    sample = draw(cell, rng)
    other = np.where(rng.random(len(sample.chance)) < ALIKE, sample.chance, draw(cell, rng).chance)
    first = Estimate.share(sample.chance < cell.accuracy)
    return difference_of(first, Estimate.share(other < cell.accuracy), sample.families), 0.0


def class_shares(cell: Cell) -> Float64[np.ndarray, "c"]:
    """Share of the images of each class."""
    zipf = cell.classes == "zipf"
    shares_of = 1 / np.arange(1, CLASSES + 1) if zipf else np.ones(CLASSES // 2)
    return shares_of / shares_of.sum()


def class_accuracies(cell: Cell, count: int) -> Float64[np.ndarray, "c"]:
    """Of each class: spread by half of the mistakes around `accuracy`, the rarest in the middle."""
    turned = np.cos(np.pi * np.arange(count) * 0.618)
    return 1 - (1 - cell.accuracy) * (1 + 0.5 * (turned - turned.mean()))


def _classified(
    cell: Cell, rng: np.random.Generator
) -> tuple[Sample, Int64[np.ndarray, "n"], Int64[np.ndarray, "n"]]:
    """Families of one class each, and what is predicted of their images."""
    sample, of_class = draw(cell, rng), class_shares(cell)
    count = len(of_class)
    label = rng.choice(count, sample.families.count, p=of_class)
    if cell.classes == "lone":
        label = np.where(label == count - 1, 0, label)
        label[np.argmin(sample.families.sizes)] = count - 1
    targets = label[sample.families.of_image]
    right = sample.chance < class_accuracies(cell, count)[targets]
    other = (targets + rng.integers(1, count, len(targets))) % count
    return sample, targets, np.where(right, targets, other)


def balanced_accuracy(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Balanced accuracy."""
    sample, targets, predicted = _classified(cell, rng)
    count = len(class_shares(cell))
    found = influence.balanced_accuracy(targets, predicted, sample.families, num_classes=count)
    occurs = np.bincount(targets, minlength=count) > 0
    truth = float(class_accuracies(cell, count)[occurs].mean())
    return interval_of(found, sample.families), truth


def macro_f1(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Macro F1; true F1 = 2 h / (s + a) of the shares of hits, images and predictions."""
    sample, targets, predicted = _classified(cell, rng)
    of_class = class_shares(cell)
    count = len(of_class)
    found = influence.macro_f1(targets, predicted, sample.families, num_classes=count)
    if cell.classes == "lone":
        of_class = of_class * (1 - 1 / cell.images)
        of_class[0] += of_class[-1]
        of_class[-1] = 1 / cell.images
    right = of_class * class_accuracies(cell, count)
    wrong = of_class - right
    assigned = right + (wrong.sum() - wrong) / (count - 1)
    occurs = np.bincount(targets, minlength=count) > 0
    truth = float((2 * right / (of_class + assigned))[occurs].mean())
    return interval_of(found, sample.families), truth


def log_loss(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Log loss of a calibrated model: right with the probability that it gives."""
    sample = draw(cell, rng)
    alike = cell.correlation if cell.families else 0.0
    shared = rng.standard_normal(sample.families.count)[sample.families.of_image]
    own = rng.standard_normal(len(shared))
    if cell.sizes == "sixes":
        alike = 1.0
    margin = _margin(cell.accuracy) + 3 * (np.sqrt(alike) * shared + np.sqrt(1 - alike) * own)
    confidence = expit(margin)
    hits = sample.chance < confidence
    losses = -np.log(np.where(hits, confidence, 1 - confidence))
    return interval_of(Estimate.loss(losses, hits), sample.families), _true_loss(cell.accuracy)


@cache
def _grid() -> Float64[np.ndarray, "m"]:
    return ndtri((np.arange(20_000) + 0.5) / 20_000)


@cache
def _margin(accuracy: float) -> float:
    """The mean margin at which a spread of 3 gives this accuracy."""
    low, high = -20.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if expit(middle + 3 * _grid()).mean() < accuracy else (low, middle)
        )
    return low


@cache
def _true_loss(accuracy: float) -> float:
    p = expit(_margin(accuracy) + 3 * _grid())
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean())


class _Scores:
    """Scores in memory, as `rank_labels` reads them."""

    def __init__(self, table: Float32[np.ndarray, "c n"]) -> None:
        self._table = table
        self.num_labels, self.num_images = table.shape

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        return self._table[first:last]


LABELS = 10
DISTANCE = {0.6: 1.2, 0.9: 2.2, 0.99: 3.2}
"""Of the scores of images with a label from the others', in standard deviations, by accuracy."""


def mean_average_precision(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """Mean average precision of `LABELS` labels; own images' scores are `DISTANCE` higher."""
    sample = draw(cell, rng)
    families = sample.families
    shape = (LABELS, families.num_images)
    own = (rng.random((LABELS, families.count)) < cell.positives)[:, families.of_image]
    alike = cell.correlation if cell.families else 0.0
    shared = rng.standard_normal((LABELS, families.count))[:, families.of_image]
    noise = np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.standard_normal(shape)
    scores = expit(DISTANCE[cell.accuracy] * own + noise).astype(np.float32)
    targets = csr_array(own.T.astype(np.int8))
    ranking = rank_labels(targets, _Scores(scores))
    found = influence.mean_average_precision(ranking, targets, families)
    truth = _true_precision(DISTANCE[cell.accuracy], cell.positives)
    return interval_of(found, families), truth


@cache
def _true_precision(distance: float, positives: float) -> float:
    """Mean over own images of the precision down to their score."""
    above = (np.arange(20_000) + 0.5) / 20_000
    others = ndtr(ndtri(above) - distance)
    return float(ratio(positives * above, positives * above + (1 - positives) * others).mean())


def _folded(
    cell: Cell, rng: np.random.Generator
) -> tuple[Sample, Bool[np.ndarray, "n"], Int64[np.ndarray, "n"], Float64[np.ndarray, "k"]]:
    """Out-of-fold answers of `FOLDS` trainings that are not equally good."""
    sample = draw(cell, rng)
    spread = TRAINING_SPREAD * (1 - cell.accuracy) / 0.1
    trained = np.clip(cell.accuracy + spread * rng.standard_normal(FOLDS), 0, 1)
    fold = (rng.permutation(sample.families.count) % FOLDS)[sample.families.of_image]
    return sample, sample.chance < trained[fold], fold, trained


def pooled_folds(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """The out-of-fold accuracy, as a score of these trainings."""
    sample, hits, _, trained = _folded(cell, rng)
    return interval_of(Estimate.share(hits), sample.families), float(trained.mean())


def pooled_retrained(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """The same interval, taken for the score of trainings to come, which it does not cover."""
    sample, hits, _, _ = _folded(cell, rng)
    return interval_of(Estimate.share(hits), sample.families), cell.accuracy


def mean_of_folds(cell: Cell, rng: np.random.Generator) -> tuple[Interval, float]:
    """The mean over folds, as a score of trainings to come."""
    _, hits, fold, _ = _folded(cell, rng)
    values = [float(hits[fold == k].mean()) for k in range(FOLDS)]
    return mean_interval(values) or Interval.unknown(values[0], "all equal"), cell.accuracy


WORLDS: dict[str, Callable[[Cell, np.random.Generator], tuple[Interval, float]]] = {
    one.__name__: one
    for one in (
        accuracy,
        balanced_accuracy,
        macro_f1,
        log_loss,
        mean_average_precision,
        class_recall,
        difference,
        equal_models,
        pooled_folds,
        pooled_retrained,
        mean_of_folds,
    )
}
