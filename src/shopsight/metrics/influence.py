"""95 % intervals from the influence of each image, where a bootstrap would take hours.

A statistic that is computed from how often each image counts has a derivative by each of these
counts, the image's influence L_i. To first order, a sample of other images changes it by the sum of
their influences, so that its variance is

    sum over images of L_i^2,

with groups the sum over groups of (sum of L_i in the group)^2: the *infinitesimal jackknife*, which
is what the bootstrap of the same statistic tends to. The interval is value +- 1.96 standard errors.
A percentile bootstrap of average precisions moves to one side as well (an image that is drawn twice
supports itself), which this interval does not.

Source: Jaeckel 1972, "The infinitesimal jackknife"; Efron & Tibshirani 1993, "An introduction to
the bootstrap", section 21.3; Davison & Hinkley 1997, "Bootstrap methods", section 2.7.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped

from shopsight.metrics.intervals import (
    Interval,
    Z,
    group_index,
    num_units,
    widened_at_the_edges,
    widened_without_spread,
)


def influence_interval(
    value: float,
    influence: Float64[np.ndarray, "n"],
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
) -> Interval:
    """The 95 % interval of a statistic between 0 and 1.

    Args:
        value: The statistic on all images.
        influence: Its derivative by how often each image counts.
        groups: One value per image; whole groups vary together.

    Raises:
        MetricError: Groups of another length.
    """
    half = Z * _standard_error(influence, groups)
    found = Interval(value, max(0.0, value - half), min(1.0, value + half))
    return widened_at_the_edges(found, num_units(len(influence), groups))


def influence_difference(
    difference: float,
    influence: Float64[np.ndarray, "n"],
    *,
    groups: Shaped[np.ndarray, "n"] | None = None,
) -> Interval:
    """The 95 % interval of the difference of two statistics on the same images.

    Args:
        difference: Of their values.
        influence: Of each image on one, less that on the other: what both find hard cancels.
        groups: One value per image.

    Raises:
        MetricError: Groups of another length.
    """
    half = Z * _standard_error(influence, groups)
    found = Interval(difference, difference - half, difference + half)
    return widened_without_spread(found, num_units(len(influence), groups))


def _standard_error(
    influence: Float64[np.ndarray, "n"], groups: Shaped[np.ndarray, "n"] | None
) -> float:
    sums = influence
    if groups is not None:
        sums = np.bincount(group_index(groups, len(influence)), weights=influence)
    return float(np.sqrt(np.sum((sums - sums.mean()) ** 2)))
