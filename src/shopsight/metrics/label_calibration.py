"""Whether the probabilities of labels that may hold together are what they say.

Every pair of an image and a label counts: of pairs with a probability of 30 %, three in ten should
hold. The pairs are not independent, neither the labels of an image nor the images of a family. So
per image and bin it is kept by how much the labels exceed their probabilities, in one pass over
the scores, and whole families are what varies by chance.

**Labels.** Of one label, the images that have it are compared with the sum of its probabilities
over all images, whose variance is sum p (1 - p) for independent images; families multiply it by
the ratio of their own sums' variance to that, where it is above 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32
from scipy.sparse import csr_array

from shopsight.metrics.calibration import ReliabilityBins, bin_index, reliability_of_sums
from shopsight.metrics.calibration_chance import Chance, normal_chance
from shopsight.metrics.calibration_check import CalibrationCheck, checked
from shopsight.metrics.class_calibration import FEWEST_IMAGES, ClassCalibration, two_sided
from shopsight.metrics.families import Families
from shopsight.metrics.label_ranking import (
    LabelScores,
    label_columns,
    label_pieces,
    own_images,
)
from shopsight.metrics.shares import FEWEST_FAMILIES


@dataclass(frozen=True, eq=False)
class _Sums:
    """What a pass over the scores adds up.

    Attributes:
        residual: Labels less probabilities, of each image in each bin of probability.
        cells: How many labels.
        confidence: Of each bin, the sum of its probabilities.
        hits: Of each bin, the labels that hold.
        variance: Of each bin, the sum of p (1 - p).
        label_mean: Of each label, the sum of its probabilities.
        label_hits: Of each label, its images.
        label_variance: Of each label, the sum of p (1 - p).
        label_observed: The variance of its sum of residuals over families.
    """

    residual: Float64[np.ndarray, "n bins"]
    cells: Int32[np.ndarray, "n bins"]
    confidence: Float64[np.ndarray, "bins"]
    hits: Float64[np.ndarray, "bins"]
    variance: Float64[np.ndarray, "bins"]
    label_mean: Float64[np.ndarray, "c"]
    label_hits: Float64[np.ndarray, "c"]
    label_variance: Float64[np.ndarray, "c"]
    label_observed: Float64[np.ndarray, "c"]

    @classmethod
    def empty(cls, num_images: int, num_labels: int, bins: int) -> _Sums:
        # By columns: a label's scores mostly lie in the first bin, whose images are then a row.
        return cls(
            np.zeros((num_images, bins), order="F"),
            np.zeros((num_images, bins), np.int32, order="F"),
            *(np.zeros(bins) for _ in range(3)),
            *(np.zeros(num_labels) for _ in range(4)),
        )

    @property
    def bins(self) -> ReliabilityBins:
        """All pairs together."""
        return reliability_of_sums(
            self.cells.sum(axis=0, dtype=np.int64), self.confidence, self.hits
        )

    def add_pairs(
        self,
        given: Float32[np.ndarray, "n"],
        low: Bool[np.ndarray, "n"],
        own: Int[np.ndarray, "p"],
    ) -> None:
        """Count one label's probabilities into their bins.

        Args:
            given: Of all images.
            low: Those that are surely in the first bin: nearly all, of many labels.
            own: Images that have the label.
        """
        bins = len(self.confidence)
        rows = np.flatnonzero(~low)
        inside = bin_index(given[rows], bins=bins) if len(rows) else rows
        others = given[rows].astype(np.float64)
        self.residual[rows, inside] -= others
        self.cells[rows, inside] += 1
        self.confidence[:] += np.bincount(inside, others, minlength=bins)
        self.variance[:] += np.bincount(inside, others * (1.0 - others), minlength=bins)
        self.residual[:, 0] -= np.where(low, given, 0.0)
        self.cells[:, 0] += low
        first = float(given.sum(where=low, dtype=np.float64))
        self.confidence[0] += first
        self.variance[0] += first - float(np.square(given, dtype=np.float64).sum(where=low))
        if len(own):
            held = bin_index(given[own], bins=bins)
            self.residual[own, held] += 1.0
            self.hits[:] += np.bincount(held, minlength=bins)

    def add_label(
        self,
        label: int,
        given: Float32[np.ndarray, "n"],
        own: Int[np.ndarray, "p"],
        families: Families,
    ) -> None:
        """Sum one label over all images."""
        residual = -given.astype(np.float64)
        residual[own] += 1.0
        total = float(given.sum(dtype=np.float64))
        self.label_mean[label], self.label_hits[label] = total, len(own)
        self.label_variance[label] = total - float(np.square(given, dtype=np.float64).sum())
        mean, count = float(residual.mean()), families.count
        of_family = residual if families.are_images else families.sums(residual)
        spread = of_family - mean * (1 if families.are_images else families.sizes)
        self.label_observed[label] = float(spread @ spread) * count / max(count - 1, 1)


def label_reliability(targets: csr_array, scores: LabelScores, *, bins: int) -> ReliabilityBins:
    """As `calibration.reliability_bins` over all pairs of an image and a label.

    Args:
        targets: 0/1, "n c".
        scores: Of the same images and labels.
        bins: How many.

    Raises:
        MetricError: No images, shapes that differ, or a score outside 0..1.
    """
    return _summed(targets, scores, Families.alone(scores.num_images), bins=bins).bins


def label_calibration_check(
    targets: csr_array, scores: LabelScores, families: Families, *, bins: int = 15
) -> CalibrationCheck:
    """As `calibration_check.calibration_check`, over all pairs of an image and a label.

    Args:
        targets: 0/1, "n c".
        scores: Of the same images and labels.
        families: Of the images.
        bins: How many, of equal width.

    Raises:
        MetricError: No images, shapes that differ, or a score outside 0..1.
    """
    sums = _summed(targets, scores, families, bins=bins)
    residual = -sums.residual.sum(axis=1) / scores.num_labels
    return checked(sums.bins, _chance(sums, families), residual, families, _labels(sums, families))


def _summed(targets: csr_array, scores: LabelScores, families: Families, *, bins: int) -> _Sums:
    columns = label_columns(targets, scores)
    sums = _Sums.empty(scores.num_images, scores.num_labels, bins)
    first_edge = np.nextafter(np.float32(1 / bins), np.float32(0))
    for first, piece in label_pieces(scores):
        for label, given in enumerate(piece, start=first):
            own = own_images(columns, label)
            sums.add_pairs(given, (given >= 0) & (given < first_edge), own)
            sums.add_label(label, given, own, families)
    return sums


def _chance(sums: _Sums, families: Families) -> Chance:
    residual, cells = sums.residual, sums.cells.astype(np.float64)
    if not families.are_images:
        columns = range(residual.shape[1])
        residual = np.stack([families.sums(residual[:, b]) for b in columns], axis=1)
        cells = np.stack([families.sums(cells[:, b]) for b in columns], axis=1)
    return normal_chance(residual, cells, sums.variance)


def _labels(sums: _Sums, families: Families) -> ClassCalibration:
    count = families.num_images
    p = two_sided(
        sums.label_hits,
        np.full(len(sums.label_hits), float(count)),
        mean=sums.label_mean,
        variance=sums.label_variance,
        observed_variance=sums.label_observed,
    )
    images = np.maximum(sums.label_hits, sums.label_mean)
    p[images < FEWEST_IMAGES] = np.nan
    if families.count < FEWEST_FAMILIES:
        p[:] = np.nan
    return ClassCalibration(
        np.rint(images).astype(np.int64), sums.label_mean / count, sums.label_hits / count, p
    )
