"""Classes whose confidence is off by more than chance.

Of the images that were given a class, with confidences c_i, the mistakes of a calibrated model have
the mean m = sum (1 - c_i) and, each on its own, the variance v = sum c_i (1 - c_i). Images of a
family share their fate (see `shopsight.metrics.calibration_chance`), which multiplies the variance
by a design effect D >= 1: D mistakes come together, as one of the independent number X / D. That
one is taken as binomial with the same mean and variance, N q = m / D and N q (1 - q) = v / D:

    q = 1 - v / m,    N = m / (D q),

whose tails, by the incomplete beta function, stand for any real N and X / D. A normal distribution
would not do: of 30 images with a confidence of 99 %, three mistakes have the probability .004, and
.00006 by the normal one. Where hits are rarer than mistakes, they are counted instead.

**Many classes.** Of 40 classes of a calibrated model two have p < .05. So the p-values are
adjusted by Benjamini and Hochberg: of the classes that are named, 5 % at most are named wrongly, in
the mean.

Source: Benjamini & Hochberg 1995, "Controlling the false discovery rate".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.special import betainc

from shopsight.metrics.calibration_chance import dependence, pair_covariances
from shopsight.metrics.families import Families
from shopsight.metrics.shares import FEWEST_FAMILIES

FALSE_DISCOVERIES = 0.05
FEWEST_IMAGES = 10


@dataclass(frozen=True, eq=False)
class ClassCalibration:
    """The confidence of each class.

    Attributes:
        images: That were given the class; with several labels, the larger of those that have it and
            the sum of its probabilities.
        confidence: Their mean confidence; with several labels, of all images.
        accuracy: The fraction of them that is right; with several labels, that has the label.
        p_value: Of a calibrated model, two-sided; NaN where the class has too few images.
        adjusted: The same for many classes, see the top of the file.
    """

    images: Int64[np.ndarray, "c"]
    confidence: Float64[np.ndarray, "c"]
    accuracy: Float64[np.ndarray, "c"]
    p_value: Float64[np.ndarray, "c"]

    @property
    def adjusted(self) -> Float64[np.ndarray, "c"]:
        """The least rate of false discoveries at which the class is named; NaN as `p_value`."""
        return benjamini_hochberg(self.p_value)

    @property
    def off(self) -> Int64[np.ndarray, "few"]:
        """Classes that are off, those that are off by the most images first."""
        named = np.flatnonzero(self.adjusted <= FALSE_DISCOVERIES)
        much = np.abs(self.confidence - self.accuracy)[named] * self.images[named]
        order: Int64[np.ndarray, "few"] = named[np.argsort(-much, kind="stable")]
        return order

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """The classes that are off, and how many have enough images."""
        adjusted = self.adjusted
        return {
            "judged": self.num_judged,
            "of": len(labels),
            "off": [
                {
                    "label": labels[at],
                    "images": int(self.images[at]),
                    "confidence": float(self.confidence[at]),
                    "accuracy": float(self.accuracy[at]),
                    "adjusted_p_value": float(adjusted[at]),
                }
                for at in self.off.tolist()
            ],
        }

    @property
    def num_judged(self) -> int:
        """Classes with enough images."""
        return int(np.count_nonzero(~np.isnan(self.p_value)))


def class_calibration(
    predicted: Int64[np.ndarray, "n"],
    confidence: Float[np.ndarray, "n"],
    correct: Bool[np.ndarray, "n"],
    families: Families,
    *,
    num_classes: int,
) -> ClassCalibration:
    """Return the confidence of each class, over the images that were given it.

    Args:
        predicted: The class that each image was given.
        confidence: Of that.
        correct: Whether it is right.
        families: Of the images.
        num_classes: c.
    """
    c = np.asarray(confidence, np.float64)

    def sums(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "c"]:
        return np.bincount(predicted, values, minlength=num_classes)

    images, total, right = sums(np.ones(len(c))), sums(c), sums(correct.astype(np.float64))
    # A family within a class: what its images add to the variance of the class.
    codes, inside = np.unique(predicted * families.count + families.of_image, return_inverse=True)
    of_class = codes // families.count
    shared = 2.0 * dependence(c, correct, families) * pair_covariances(c, Families(inside))
    families_here = np.bincount(of_class, minlength=num_classes)
    variance = sums(c * (1.0 - c))
    p = two_sided(
        right,
        images,
        mean=total,
        variance=variance,
        observed_variance=variance + np.bincount(of_class, shared, minlength=num_classes),
    )
    p[(images < FEWEST_IMAGES) | (families_here < FEWEST_FAMILIES)] = np.nan
    divisor = np.where(images > 0, images, np.nan)
    return ClassCalibration(images.astype(np.int64), total / divisor, right / divisor, p)


def two_sided(
    hits: Float64[np.ndarray, "c"],
    cells: Float64[np.ndarray, "c"],
    *,
    mean: Float64[np.ndarray, "c"],
    variance: Float64[np.ndarray, "c"],
    observed_variance: Float64[np.ndarray, "c"],
) -> Float64[np.ndarray, "c"]:
    """Return how often a calibrated model is as far off in its number of hits, on either side.

    Args:
        hits: Seen.
        cells: Of how many.
        mean: Expected hits.
        variance: Of them, were all cells independent.
        observed_variance: With families.
    """
    rare = mean <= cells / 2
    events = np.where(rare, hits, cells - hits)
    expected = np.maximum(np.where(rare, mean, cells - mean), 1e-300)
    design = np.maximum(1.0, observed_variance / np.maximum(variance, 1e-300))
    q = np.clip(1.0 - variance / expected, 1e-12, 1.0)
    number, seen = expected / (design * q), events / design
    at_least = np.where(seen > 0, _upper_tail(seen, number, q), 1.0)
    at_most = 1.0 - _upper_tail(seen + 1.0 / design, number, q)
    return np.minimum(1.0, 2.0 * np.minimum(at_least, at_most))


def _upper_tail(
    events: Float64[np.ndarray, "c"], number: Float64[np.ndarray, "c"], q: Float64[np.ndarray, "c"]
) -> Float64[np.ndarray, "c"]:
    """P(X >= events) of a binomial, for real numbers; 0 where there cannot be so many."""
    rest = number - events + 1.0
    tail = betainc(np.maximum(events, 1e-12), np.maximum(rest, 1e-12), q)
    found: Float64[np.ndarray, "c"] = np.where(rest > 0, tail, 0.0)
    return found


def benjamini_hochberg(p_value: Float64[np.ndarray, "c"]) -> Float64[np.ndarray, "c"]:
    """Return p-values adjusted for their number; NaN stays and does not count.

    The k-th smallest of m is p m / k, or that of a larger one where it is less.
    """
    known = np.flatnonzero(~np.isnan(p_value))
    order = known[np.argsort(p_value[known])]
    scaled = p_value[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted = np.full(len(p_value), np.nan)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted
