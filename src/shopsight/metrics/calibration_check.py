"""Whether a model can be told from a calibrated one, and how far it is off.

The expected calibration error has no interval: it is a mean of distances, which a perfect model has
too. So it is shown beside what chance alone gives (`shopsight.metrics.calibration_chance`), with
the verdict of one test of the error and of the signed gap between mean confidence and accuracy. The
signed gap is a mean, and has an interval; it is not narrower than a calibrated model's spread,
which decides where all images are right and residuals hardly differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from shopsight.metrics.calibration import ReliabilityBins, reliability_bins
from shopsight.metrics.calibration_chance import Chance, chance_of
from shopsight.metrics.class_calibration import ClassCalibration, class_calibration
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import LEVEL, Interval, Z
from shopsight.text import percent_text

FEWEST_CELLS = 20
"""In a bin of the diagram; bins with fewer are joined to the next."""

Verdict = Literal["calibrated", "over-confident", "under-confident", "uneven", "unknown"]


@dataclass(frozen=True, eq=False)
class CalibrationCheck:
    """How well confidence matches accuracy, beside a calibrated model's.

    Attributes:
        bins: Confidence against accuracy; `bins.expected_error` is the calibration error.
        by_chance: The mean calibration error of calibrated models.
        most_by_chance: What 95 % of them do not exceed.
        p_value: How often one is as far off; NaN where `gap.reason` says why that is not known.
        gap: Mean confidence less accuracy.
        wide_bins: The bins of the diagram, which have at least `FEWEST_CELLS`.
        band: Ends of each wide bin's accuracy by chance, within which all bins are at once in 95 %
            of the samples of a calibrated model.
        classes: The confidence of each class.
    """

    bins: ReliabilityBins
    by_chance: float
    most_by_chance: float
    p_value: float
    gap: Interval
    wide_bins: ReliabilityBins
    band: tuple[Float64[np.ndarray, "wide"], Float64[np.ndarray, "wide"]]
    classes: ClassCalibration

    @property
    def error(self) -> float:
        """The calibration error."""
        return self.bins.expected_error

    @property
    def line(self) -> str:
        """The verdict and its figures, for people."""
        return (
            f"calibration error {percent_text(self.error)}, by chance alone "
            f"{percent_text(self.by_chance)}: {self.verdict_text}"
        )

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """Plain values; NaN becomes None.

        Args:
            labels: Of the classes.
        """
        low, high = self.band
        return {
            "edges": self.bins.edges.tolist(),
            "count": self.bins.count.tolist(),
            "confidence": _numbers(self.bins.confidence),
            "accuracy": _numbers(self.bins.accuracy),
            "error": self.error,
            "by_chance": self.by_chance,
            "most_by_chance": self.most_by_chance,
            "p_value": None if np.isnan(self.p_value) else self.p_value,
            "verdict": self.verdict,
            "gap": self.gap.to_json(),
            "band": {
                "edges": self.wide_bins.edges.tolist(),
                "low": _numbers(low),
                "high": _numbers(high),
            },
            "classes": self.classes.to_json(labels),
        }

    @property
    def verdict(self) -> Verdict:
        """What the test says; "uneven": too sure in some bins and too unsure in others."""
        if np.isnan(self.p_value):
            return "unknown"
        if self.p_value > 1.0 - LEVEL:
            return "calibrated"
        if self.gap.low > 0:
            return "over-confident"
        return "under-confident" if self.gap.high < 0 else "uneven"

    @property
    def verdict_text(self) -> str:
        """The verdict in words, e.g. "over-confident by 3.1 points (1.2 to 5.0)"."""
        low, high = sorted((abs(self.gap.low), abs(self.gap.high)))
        points = f"{100 * abs(self.gap.value):.1f} points ({100 * low:.1f} to {100 * high:.1f})"
        match self.verdict:
            case "unknown":
                return f"not compared with chance ({self.gap.reason})"
            case "calibrated":
                return "cannot be distinguished from calibrated"
            case "uneven":
                return "off by more than chance: too sure in places, too unsure in others"
            case direction:
                return f"{direction} by {points}"


def calibration_check(
    confidence: Float[np.ndarray, "n"],
    correct: Bool[np.ndarray, "n"],
    predicted: Int64[np.ndarray, "n"],
    families: Families,
    *,
    num_classes: int,
    bins: int = 15,
) -> CalibrationCheck:
    """Return how well the confidences of images with one label each match the accuracy.

    Args:
        confidence: Of the best label.
        correct: Whether that is right.
        predicted: Its index.
        families: Of the images.
        num_classes: c.
        bins: How many, of equal width.

    Raises:
        MetricError: No images, or a confidence outside 0..1.
    """
    found = reliability_bins(confidence, correct, bins=bins)
    residual = np.asarray(confidence, np.float64) - correct
    classes = class_calibration(predicted, confidence, correct, families, num_classes=num_classes)
    return checked(
        found,
        chance_of(confidence, correct, families, bins=bins),
        residual,
        families,
        classes,
    )


def checked(
    bins: ReliabilityBins,
    chance: Chance,
    residual: Float64[np.ndarray, "n"],
    families: Families,
    classes: ClassCalibration,
) -> CalibrationCheck:
    """Put the parts together.

    Args:
        bins: Confidence against accuracy.
        chance: Of the same bins.
        residual: Of each image, confidence less 1 or 0 (with several labels, the mean over them).
        families: Of the images.
        classes: See `ClassCalibration`.
    """
    errors = chance.errors
    chance = chance.widened(families)
    gap = _gap(residual, families, least_error=float(chance.gaps.std()))
    p = chance.p_value(error=bins.expected_error, gap=gap.value) if gap.is_known else np.nan
    starts = wide_starts(bins.count)
    wide = bins.merged(starts)
    low, high = chance.merged(starts).band()
    return CalibrationCheck(
        bins=bins,
        by_chance=float(errors.mean()),
        most_by_chance=float(np.quantile(errors, LEVEL)),
        p_value=float(p),
        gap=gap,
        wide_bins=wide,
        band=(np.maximum(0.0, wide.confidence + low), np.minimum(1.0, wide.confidence + high)),
        classes=classes,
    )


def wide_starts(count: Int64[np.ndarray, "bins"]) -> Int64[np.ndarray, "wide"]:
    """Return where wide bins start, each with `FEWEST_CELLS` or all that there are.

    Bins are joined from the left; what is left over at the right joins the last one.
    """
    starts, inside = [0], 0
    for index, cells in enumerate(count.tolist()):
        if inside >= FEWEST_CELLS and count[index:].sum() >= FEWEST_CELLS:
            starts.append(index)
            inside = 0
        inside += cells
    return np.array(starts, np.int64)


def _numbers(values: Float64[np.ndarray, "k"]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _gap(residual: Float64[np.ndarray, "n"], families: Families, *, least_error: float) -> Interval:
    """The mean residual, and its interval over families."""
    mean = float(residual.mean())
    none = Estimate(0.0, np.zeros(len(residual)))
    found = difference_of(Estimate(mean, (residual - mean) / len(residual)), none, families)
    if not found.is_known:
        return found
    half = max((found.high - found.low) / 2, Z * least_error)
    return replace(found, low=mean - half, high=mean + half)
