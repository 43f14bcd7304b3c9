"""Scores as estimates: a value, how far it may lie from the long-run one, and a 95 % interval.

The images are a sample, and the score of another sample would differ. A score is a function of how
often each image counts; its derivative by the count of image i is the image's *influence* L_i. To
first order another sample of families changes the score by the sum of their influences, so that

    var = sum over families g of (sum of L_i in g)^2                    (infinitesimal jackknife).

Five things make that honest on few families, few images of a class and few mistakes:

1. **Leverage.** A family pulls the score to itself, and its own deviation looks smaller than it is:
   of a mean, by the factor 1 - m_g / n in variance for a family of m_g of n images. Each family's
   sum is divided by sqrt(1 - m_g / n) (Bell & McCaffrey 2002).
2. **Degrees of freedom.** The variance is itself an estimate, of G squared family sums u_g. A
   chi-squared variable of nu degrees of freedom has the relative variance 2 / nu; a sum of squares
   has (sum u^4 - (sum u^2)^2 / G) / (sum u^2)^2 by the spread of the squares that were seen
   (Satterthwaite 1946). Student's t of nu degrees takes the place of the normal quantile 1.96. No
   more degrees count than Kish's effective number of families, n^2 / sum m_g^2, less 1.
3. **Design effect at least 1.** Families never make a score more certain than as many independent
   images would: var is not below the sum of L_i^2.
4. **Few families with mistakes.** Of twenty families, one in a hundred of whose images is wrong,
   most carry no mistake, and the rare one that carries many is often not in the sample: nothing in
   the images shows that it may be. The variance moves towards that of families that are right or
   wrong as a whole, v (1 - v) / G_eff, by the weight 1 / (1 + (k / 2)^2), with k families that have
   a mistake (or one that has none, where those are fewer): half way at two of them, 4 % at ten.
5. **Wilson's form.** The variance of a proportion p is p (1 - p) / n_eff, and its interval holds
   every p that explains the score (Wilson 1927), with the n_eff that the estimated variance stands
   for. So it stays within 0..1 and has a width at 0 and at 1. For a share of images n_eff is at
   least the effective number of families: full agreement within families.

How often such intervals hold the true value is simulated by `bench/coverage.py`.

Source: Jaeckel 1972, "The infinitesimal jackknife"; Bell & McCaffrey 2002, "Bias reduction in
standard errors for linear regression with multi-stage samples"; Satterthwaite 1946, "An approximate
distribution of estimates of variance components"; Korn & Graubard 1998, "Confidence intervals for
proportions with small expected number of positive counts estimated from survey data".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from scipy.special import ndtri, stdtrit

from shopsight.errors import MetricError
from shopsight.metrics import shares
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import (
    LEVEL,
    NO_WIDTH,
    Interval,
    widened_by_signs,
    zero_events_bound,
)
from shopsight.metrics.shares import FEWEST_FAMILIES
from shopsight.text import counted

Kind = Literal["share", "proportion", "loss"]
FEW_FAMILIES = 20
"""Below, an interval is wide and rough, and says so."""
FEWEST_MISTAKES = 10
"""Families with a mistake; below, a log loss has no interval."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A score on n images, and what it takes to say how sure it is.

    Attributes:
        value: The score.
        influence: Its derivative by how often each image counts; sums to 0.
        kind: "share": a mean over the images of 0 and 1; "proportion": another function between 0
            and 1; "loss": a mean that is not below 0.
        hits: Where the score is (nearly) a weighted mean of right and wrong: which are right.
        weights: Of that mean, sum 1; None where all images weigh the same.
        extra_variance: What classes of few images hide: added to the variance.
        unbiased: Where few images make the value too high by itself: about what it is without that.
            The lower end is that of this value.
        reason: Why there is no interval, whatever the families; empty where there may be one.
        note: What weakens the interval.
    """

    value: float
    influence: Float64[np.ndarray, "n"]
    kind: Kind = "proportion"
    hits: Bool[np.ndarray, "n"] | None = None
    weights: Float64[np.ndarray, "n"] | None = None
    extra_variance: float = 0.0
    unbiased: float | None = None
    reason: str = ""
    note: str = ""

    @classmethod
    def share(cls, hits: Shaped[np.ndarray, "n"]) -> Estimate:
        """The share of images that are hits: accuracy, top-k accuracy.

        A further image i moves the mean v of n values to (n v + x_i) / (n + 1): its influence is
        (x_i - v) / n.
        """
        return cls(*_mean(hits), kind="share", hits=np.asarray(hits, dtype=bool))

    @classmethod
    def loss(cls, losses: Shaped[np.ndarray, "n"], hits: Bool[np.ndarray, "n"]) -> Estimate:
        """The mean of a loss of each image, which is large where an image is not a hit."""
        return cls(*_mean(losses), kind="loss", hits=np.asarray(hits, dtype=bool))


def _mean(values: Shaped[np.ndarray, "n"]) -> tuple[float, Float64[np.ndarray, "n"]]:
    if not len(values):
        raise MetricError("there are no images to measure on")
    exact = np.asarray(values, dtype=np.float64)
    mean = float(exact.mean())
    return mean, (exact - mean) / len(exact)


def interval_of(estimate: Estimate, families: Families, *, level: float = LEVEL) -> Interval:
    """The interval of a score.

    Args:
        estimate: The score.
        families: Of its images; whole families vary together.
        level: Of confidence.

    Returns:
        An interval without ends, and its reason, where there are too few families or mistakes.

    Raises:
        MetricError: Families of another number of images.
    """
    if reason := estimate.reason or _too_few(families) or _few_mistakes(estimate, families):
        return Interval.unknown(estimate.value, reason)
    note = "; ".join(filter(None, (_few_note(families), estimate.note)))
    if estimate.kind == "share" and estimate.hits is not None:
        all_images = np.zeros(families.num_images, np.int64)
        ends = shares.share_intervals(
            all_images, estimate.hits, families.of_image, num_rows=1, level=level
        )
        return Interval(estimate.value, float(ends[0][0]), float(ends[1][0]), note=note)
    spread = _Spread.of(estimate.influence, families, estimate.extra_variance)
    if estimate.kind == "loss":
        low, high = _log_interval(estimate.value, spread, level)
    else:
        low, high = _proportion_interval(estimate, spread, families, level)
    return Interval(estimate.value, low, high, note=note)


def difference_of(
    a: Estimate, b: Estimate, families: Families, *, level: float = LEVEL
) -> Interval:
    """The interval of "a less b" of two scores on the same images.

    What both find hard or easy cancels image by image, so that it is far narrower than the
    distance of two intervals. The difference is clear where the interval excludes 0.

    Args:
        a: A score.
        b: The same score of another model.
        families: Of the images.
        level: Of confidence.

    Raises:
        MetricError: Estimates or families of different numbers of images.
    """
    if len(a.influence) != len(b.influence):
        raise MetricError(
            f"scores on {len(a.influence)} and {len(b.influence)} images have no paired difference"
        )
    value = a.value - b.value
    if reason := a.reason or b.reason or _too_few(families):
        return Interval.unknown(value, reason)
    spread = _Spread.of(a.influence - b.influence, families, 0.0)
    both_shares = a.kind == b.kind == "share"
    # Of a mean of x_i the influence is (x_i - value) / n.
    gains = np.rint(len(a.influence) * (a.influence - b.influence) + value)
    if both_shares:
        spread = _spread_of_gains(spread, gains, families)
    half = spread.quantile(level) * spread.error
    found = Interval(value, value - half, value + half, note=_few_note(families))
    if half < NO_WIDTH:
        # Each family shows the same difference; a fraction may have been missed that does not,
        # and whose own difference lies between -1 and 1.
        unseen = zero_events_bound(families.count)
        middle = (1 - unseen) * value
        found = replace(found, low=middle - unseen, high=middle + unseen)
    if both_shares:
        found = widened_by_signs(found, gains, families=families, level=level)
    return found


def _spread_of_gains(
    spread: _Spread, gains: Float64[np.ndarray, "n"], families: Families
) -> _Spread:
    """Moved towards families that are answered as a whole, where few have a disagreement."""
    whole = float(np.mean(gains**2) - np.mean(gains) ** 2) / families.effective_count
    seen = float((families.sums(np.abs(gains)) > 0).sum())
    unseen = max(whole - spread.variance, 0.0)
    more = float(shares.weight_of_unseen(np.array(seen))) * unseen
    return replace(spread, variance=spread.variance + more)


@dataclass(frozen=True)
class _Spread:
    """The variance of a score, and how well it is known."""

    variance: float
    degrees: float

    @classmethod
    def of(cls, influence: Float64[np.ndarray, "n"], families: Families, extra: float) -> _Spread:
        sums = corrected_sums(influence, families)
        squares, fourth = np.array((sums**2).sum()), np.array((sums**4).sum())
        variance = max(float(squares), float((influence**2).sum())) + extra
        count, effective = np.array(families.count), np.array(families.effective_count)
        return cls(variance, float(shares.degrees_of(squares, fourth, count, effective)))

    @property
    def error(self) -> float:
        """Standard error."""
        return float(np.sqrt(self.variance))

    def quantile(self, level: float) -> float:
        """Of Student's distribution: what the normal's is for a known variance."""
        return float(stdtrit(self.degrees, (1 + level) / 2))


def corrected_sums(
    influence: Float64[np.ndarray, "n"], families: Families
) -> Float64[np.ndarray, "g"]:
    """Sums of the influence over families, corrected for their leverage."""
    leverage = families.sizes / families.num_images
    return families.sums(influence) / np.sqrt(np.maximum(1 - leverage, 1e-9))


def _too_few(families: Families) -> str:
    if families.count >= FEWEST_FAMILIES:
        return ""
    return f"{_counted(families)}: {FEWEST_FAMILIES} are needed"


def _few_mistakes(estimate: Estimate, families: Families) -> str:
    """A few mistakes carry most of a loss.

    Where fewer than `FEWEST_MISTAKES` families have any, the costliest kind may be missing, and no
    spread that was seen tells how much it weighs.
    """
    if estimate.kind != "loss" or estimate.hits is None:
        return ""
    mistaken = int((families.sums((~estimate.hits).astype(np.float64)) > 0).sum())
    if mistaken >= FEWEST_MISTAKES:
        return ""
    unit = "image" if families.are_images else "family"
    return f"mistakes in {counted(mistaken, unit)}: {FEWEST_MISTAKES} are needed"


def _few_note(families: Families) -> str:
    return f"{_counted(families)}: wide and rough" if families.count < FEW_FAMILIES else ""


def _counted(families: Families) -> str:
    return counted(families.count, "image" if families.are_images else "family")


def _proportion_interval(
    estimate: Estimate, spread: _Spread, families: Families, level: float
) -> tuple[float, float]:
    value, variance = estimate.value, spread.variance
    weights = estimate.weights
    count = (
        families.effective_count
        if weights is None
        else 1 / float((families.sums(weights) ** 2).sum())
    )
    if estimate.hits is not None:
        found = families.sums(estimate.hits.astype(np.float64))
        seen = min((found < families.sizes).sum(), (found > 0).sum())
        unseen = max(value * (1 - value) / count - variance, 0.0)
        variance += float(shares.weight_of_unseen(np.array(float(seen)))) * unseen
    t, n = spread.quantile(level), count
    if variance > 0 and 0 < value < 1:
        n = value * (1 - value) / variance
    elif families.are_images:
        t = float(ndtri((1 + level) / 2))
    exact_n, exact_t = np.array(n), np.array(t)
    low, high = shares.proportion_ends(np.array(value), exact_n, exact_t, level)
    if estimate.unbiased is not None and estimate.unbiased < value:
        low, _ = shares.proportion_ends(np.array(estimate.unbiased), exact_n, exact_t, level)
    # What a class of one image hides is right or wrong, not bell-shaped like Wilson's ends.
    hidden = t * estimate.extra_variance**0.5
    least, most = max(0.0, value - hidden), min(1.0, value + hidden)
    return min(float(low), least), max(float(high), most)


def _log_interval(value: float, spread: _Spread, level: float) -> tuple[float, float]:
    """Of a loss: its logarithm is nearly symmetric, and d ln(v) = dv / v."""
    if value <= 0 or spread.variance <= 0:
        return value, value
    factor = float(np.exp(spread.quantile(level) * spread.error / value))
    return value / factor, value * factor
