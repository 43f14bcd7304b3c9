"""The best of several models, where the images that score them also chose it.

Of k models the best on a sample is partly the luckiest. Three things follow.

1. **Who is worse.** The differences of all models to the best are differences of a pair that the
   images themselves picked, so that their intervals hold together for all pairs: see
   `shopsight.metrics.joint.Joint.pair_level`. A model whose interval lies below 0 is worse; the
   others may be the best. Of equal models none is called worse in 95 % of samples.
2. **Optimism.** Scores are the models' long-run scores plus errors e_1..e_k, to first order normal
   with the covariance of the scores. The best of equal models has the largest error: its score is
   too high by E[max e], on average. Those models count that may be the best; among them the winner
   was found.
3. **The interval of the best one's score.** Its lower end must hold for the largest error: with c
   the quantile .975 of max e_i / se_i it lies c standard errors below the score, where a model that
   was named before takes 1.96. Being chosen makes no error more negative, so that the upper end
   stays as it is.

Source: Westfall & Young 1993, "Resampling-based multiple testing"; Hansen, Lunde & Nason 2011, "The
model confidence set"; Benjamini & Yekutieli 2005, "False discovery rate-adjusted multiple
confidence intervals for selected parameters", for intervals of what was selected.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.metrics.joint import Joint, normal_errors, simultaneous


@dataclass(frozen=True)
class BestOf:
    """Which of k models is the best on these images, and what that is worth.

    Attributes:
        best: Its index; of equal scores the first.
        scores: Of each model with its interval; that of the best one allows for its being chosen
            where others may be the best.
        differences: Of each model to the best one, below 0, with intervals that hold together;
            None for the best itself.
        may_be_best: Indices of the models that are not clearly worse, the best one included.
        optimism: By how much the best score is too high on average, were all that may be the best
            equally good; 0 where it is alone.
    """

    best: int
    scores: tuple[Interval, ...]
    differences: tuple[Interval | None, ...]
    may_be_best: tuple[int, ...]
    optimism: float


def best_of(estimates: list[Estimate], families: Families) -> BestOf:
    """Find the best of several models on the same images.

    Args:
        estimates: One for each model, higher is better.
        families: Of the images.

    Raises:
        MetricError: Estimates of different numbers of images.
    """
    joint = simultaneous(estimates, families)
    values = [one.value for one in estimates]
    best = max(range(len(values)), key=values.__getitem__)
    differences = [
        None if index == best else joint.difference(index, best) for index in range(len(values))
    ]
    may_be_best = [
        index for index, one in enumerate(differences) if one is None or not is_clearly_worse(one)
    ]
    scores = [interval_of(one, families) for one in estimates]
    optimism, level = _chance_of_best(joint, may_be_best)
    if len(may_be_best) > 1:
        wide = interval_of(estimates[best], families, level=level)
        scores[best] = replace(scores[best], low=min(scores[best].low, wide.low))
    return BestOf(best, tuple(scores), tuple(differences), tuple(may_be_best), optimism)


def is_clearly_worse(difference: Interval) -> bool:
    """Whether the interval of "a model less the best" excludes 0; without an interval it is not."""
    return difference.is_known and difference.high < 0


def _chance_of_best(joint: Joint, among: list[int]) -> tuple[float, float]:
    """The mean of the largest error of these models, and the level that holds for the largest."""
    if len(among) < 2:
        return 0.0, joint.level
    covariance = joint.covariance[np.ix_(among, among)]
    errors = normal_errors(covariance)
    deviation = np.sqrt(np.diag(covariance))
    varying = deviation > 0
    if not varying.any():
        return 0.0, joint.level
    largest = (errors[:, varying] / deviation[varying]).max(axis=1)
    usual = float(ndtri((1 + joint.level) / 2))
    quantile = max(usual, float(np.quantile(largest, (1 + joint.level) / 2)))
    return float(errors.max(axis=1).mean()), float(2 * ndtr(quantile) - 1)
