"""Whether a stated probability is what it says, and the temperature that corrects it.

Confidence p is calibrated when, of all images with confidence p, the fraction p is correct. The
*expected calibration error* measures the distance from that: images are sorted into bins of
confidence, and

    ECE = sum over bins b of (n_b / n) |accuracy_b - confidence_b|.

*Temperature scaling* corrects it with one number: softmax(z / T) in place of softmax(z). T divides
all logits of an image alike, so that their order, and with it accuracy, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.special import expit
from scipy.special import softmax as scipy_softmax

from shopsight.errors import MetricError
from shopsight.metrics.classification import check_numbers, check_scores
from shopsight.targets import Targets

TEMPERATURE_SPAN = (0.05, 20.0)
LOG_TEMPERATURE_SIGMA = 0.5
"""Standard deviation of ln T before any image is seen: networks need a T between 0.4 and 2.7."""

CELLS_AT_ONCE = 1 << 22
"""Logits that are computed with in fp64 at once."""

_Loss = Callable[[float], float]


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


def softmax(
    logits: Float[np.ndarray, "n c"], *, temperature: float = 1.0
) -> Float64[np.ndarray, "n c"]:
    """Return probabilities of exclusive classes: exp(logit / T), rows scaled to sum 1."""
    probabilities: Float64[np.ndarray, "n c"] = scipy_softmax(
        logits.astype(np.float64) / temperature, axis=1
    )
    return probabilities


def sigmoid(
    logits: Float[np.ndarray, "n c"], *, temperature: float = 1.0
) -> Float64[np.ndarray, "n c"]:
    """Return probabilities of classes that may hold together: 1 / (1 + exp(-logit / T))."""
    probabilities: Float64[np.ndarray, "n c"] = expit(logits.astype(np.float64) / temperature)
    return probabilities


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


def fit_temperature(logits: Float[np.ndarray, "n c"], targets: Targets) -> float:
    """Return the likeliest T in 0.05..20 of `softmax(logits / T)`, given the n images.

    The negative log likelihood of the true classes y, a mean over images, is with b = 1/T

        L(b) = mean of [ln sum_k exp(b z_k) - b z_y].

    Alone it has no minimum where all images are right, however few they are: T goes to 0 and every
    confidence to 1. So ln T has a prior, a normal distribution around 0 with standard deviation
    s = `LOG_TEMPERATURE_SIGMA`, and what is minimized is the negative log posterior over n,

        L(1/T) + (ln T)^2 / (2 s^2 n),

    in which the prior counts for less the more images there are. The search runs over ln T, with
    steps in proportion to T, and uses no random numbers.

    Args:
        logits: Logits of validation images.
        targets: Of these images, see `shopsight.targets`. With several labels per image it is
            `sigmoid` and the binary log loss, whose terms ln(1 + exp(b z)) - y b z are convex too.

    Raises:
        MetricError: No images, shapes that differ, a class out of range, logits that are NaN.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2; Platt 1999,
    "Probabilistic outputs for support vector machines", for the binary case.
    """
    if isinstance(targets, csr_array):
        if len(logits) == 0 or targets.shape != logits.shape:
            raise MetricError(f"targets of shape {targets.shape} do not go with {logits.shape}")
        check_numbers(logits)
        loss = _sigmoid_loss(logits, targets)
    else:
        check_scores(targets, logits)
        loss = _softmax_loss(logits, targets)
    low, high = np.log(TEMPERATURE_SPAN)
    weight = 1.0 / (2.0 * LOG_TEMPERATURE_SIGMA**2 * len(logits))
    found = minimize_scalar(
        lambda log_t: loss(np.exp(-log_t)) + weight * log_t**2,
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(found.x))


def doubt_after(num_images: int) -> float:
    """Return the probability of a mistake that so few validation images cannot rule out.

    Of n images without a mistake, the expected rate of mistakes under a uniform prior is
    1 / (n + 2), by Laplace's rule of succession: seven images that are all right leave one in nine.
    A model that was measured on them must not claim more than that, whatever its logits are. So
    its probabilities p become

        (1 - d) p + d / c,    d = 1 / (n + 2),

    over c labels (with several labels per image, over yes and no), which keeps their order and sum.
    With a thousand images the largest confidence is 99.9 %.

    Args:
        num_images: validation images, of which the temperature may be fitted on a sample; none: 0
            is returned, since probabilities that nothing was fitted for promise nothing.
    """
    return 1.0 / (num_images + 2) if num_images else 0.0


def _softmax_loss(logits: Float[np.ndarray, "n c"], targets: Int[np.ndarray, "n"]) -> _Loss:
    def loss(scale: float) -> float:
        total = 0.0
        for rows in _pieces(*logits.shape):
            scaled = logits[rows].astype(np.float64)
            scaled *= scale
            scaled -= scaled.max(axis=1, keepdims=True)
            truth = scaled[np.arange(len(scaled)), targets[rows]]
            total += float((np.log(np.exp(scaled, out=scaled).sum(axis=1)) - truth).sum())
        return total / len(targets)

    return loss


def _sigmoid_loss(logits: Float[np.ndarray, "n c"], targets: csr_array) -> _Loss:
    # -[y ln s(z) + (1 - y) ln(1 - s(z))] = ln(1 + e^z) - y z, and ln(1 + e^z) without overflow is
    # max(z, 0) + ln(1 + e^-|z|). The second term is left where y = 1 alone.
    rows, labels = targets.nonzero()
    wanted = float(logits[rows, labels].sum(dtype=np.float64))

    def loss(scale: float) -> float:
        total = 0.0
        for piece in _pieces(*logits.shape):
            scaled = logits[piece].astype(np.float64)
            scaled *= scale
            total += float(np.maximum(scaled, 0.0).sum())
            np.negative(np.abs(scaled, out=scaled), out=scaled)
            total += float(np.log1p(np.exp(scaled, out=scaled), out=scaled).sum())
        return (total - scale * wanted) / logits.size

    return loss


def _pieces(rows: int, columns: int) -> Iterator[slice]:
    """Rows of at most `CELLS_AT_ONCE` cells together."""
    step = max(1, CELLS_AT_ONCE // max(1, columns))
    return (slice(first, first + step) for first in range(0, rows, step))
