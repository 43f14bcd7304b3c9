"""Whether a stated probability is what it says, and how far it is from that.

Confidence p is calibrated when, of all images with confidence p, the fraction p is correct. The
*expected calibration error* measures the distance from that: images are sorted into bins of
confidence, and

    ECE = sum over bins b of (n_b / n) |accuracy_b - confidence_b|.

*Temperature scaling* corrects it with one number: softmax(z / T) in place of softmax(z). T divides
all logits of an image alike, so that their order, and with it accuracy, stays; it is fitted by
`shopsight.metrics.temperature`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from shopsight import activations
from shopsight.errors import MetricError


@dataclass(frozen=True)
class ReliabilityBins:
    """Confidences sorted into equal bins of 0..1; bins without images hold NaN.

    Attributes:
        edges: Edges of the bins, one more than there are bins; a bin includes its right edge.
        count: Images in the bin.
        confidence: Their mean confidence.
        accuracy: The fraction of them that is correct.
    """

    edges: Float64[np.ndarray, "edges"]
    count: Int64[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]
    accuracy: Float64[np.ndarray, "bins"]

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean gap, weighted by images."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(gaps * self.count) / self.count.sum())

    def merged(self, starts: Int64[np.ndarray, "fewer"]) -> ReliabilityBins:
        """Wider bins, each from a bin of these up to the next."""
        count = np.add.reduceat(self.count, starts)

        def mean(values: Float64[np.ndarray, "bins"]) -> Float64[np.ndarray, "fewer"]:
            sums = np.add.reduceat(np.where(self.count > 0, values, 0.0) * self.count, starts)
            return sums / np.where(count > 0, count, np.nan)

        edges = np.append(self.edges[starts], self.edges[-1])
        return ReliabilityBins(edges, count, mean(self.confidence), mean(self.accuracy))


def softmax(
    logits: Float[np.ndarray, "n c"], *, temperature: float = 1.0
) -> Float64[np.ndarray, "n c"]:
    """Return probabilities of exclusive classes: exp(logit / T), rows scaled to sum 1."""
    return activations.softmax(logits.astype(np.float64) / temperature)


def sigmoid(
    logits: Float[np.ndarray, "n c"], *, temperature: float = 1.0
) -> Float64[np.ndarray, "n c"]:
    """Return probabilities of classes that may hold together: 1 / (1 + exp(-logit / T))."""
    return activations.sigmoid(logits.astype(np.float64) / temperature)


def bin_index(confidence: Float[np.ndarray, "n"], *, bins: int) -> Int64[np.ndarray, "n"]:
    """Return the bin of each confidence: (0, 1/bins], (1/bins, 2/bins] ...; 0 is in the first.

    Raises:
        MetricError: No images, or a confidence outside 0..1 (by more than float32 rounds).
    """
    if len(confidence) == 0:
        raise MetricError("there are no images to measure on")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        raise MetricError("a confidence is not between 0 and 1")
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.searchsorted(edges, confidence, side="left") - 1
    inside: Int64[np.ndarray, "n"] = np.clip(index, 0, bins - 1)
    return inside


def reliability_bins(
    confidence: Float[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], *, bins: int = 15
) -> ReliabilityBins:
    """Return mean confidence and accuracy per bin of confidence.

    Raises:
        MetricError: No images, or a confidence outside 0..1.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 2.
    """
    index = bin_index(confidence, bins=bins)
    return reliability_of_sums(
        np.bincount(index, minlength=bins),
        np.bincount(index, confidence, minlength=bins),
        np.bincount(index, correct, minlength=bins),
    )


def reliability_of_sums(
    count: Int64[np.ndarray, "bins"],
    confidence: Float64[np.ndarray, "bins"],
    correct: Float64[np.ndarray, "bins"],
) -> ReliabilityBins:
    """Return the bins of which the images, their confidences and the correct ones were summed."""
    divisor = np.where(count > 0, count, np.nan)
    edges = np.linspace(0.0, 1.0, len(count) + 1)
    return ReliabilityBins(edges, count, confidence / divisor, correct / divisor)


def expected_calibration_error(
    confidence: Float[np.ndarray, "n"], correct: Bool[np.ndarray, "n"], *, bins: int = 15
) -> float:
    """Return the mean distance between confidence and accuracy over bins, weighted by images.

    Raises:
        MetricError: No images, or a confidence outside 0..1.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    return reliability_bins(confidence, correct, bins=bins).expected_error
