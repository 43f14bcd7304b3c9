r"""The confidence from which on answers are right as often as was promised.

Answers are filled in from a confidence t on. Their precision is the chance that such an answer is
right; labeled products that the model did not learn from measure it. Two things make the simplest
choice, the lowest t at which enough of the measured answers are right, too optimistic:

1. **Chance.** Of m answers that are each wrong with probability e = 1 - promise, few may be wrong.
   m answers with k mistakes keep the promise where a share e of mistakes would give as few as k
   with a probability of at most a: Clopper and Pearson's lower bound at level 1 - a reaches the
   promise.
2. **Choice.** Many t are tried on the same products, and one may pass by chance. The answers from
   a higher t on are among those from a lower t on, so that the counts k are one walk: sorted by
   confidence, each further answer adds a mistake or none. Of a walk whose every answer is wrong
   with probability e exactly, the chance that it passes anywhere,

       P(a) = P(k_m <= c_m(a) for some m),   c_m(a) = max {k: P(Bin(m, e) <= k) <= a},

   is summed up step by step over the sizes m that are tried, which lie 10 % apart. The a that is
   taken has P(a) <= .05, so that a promise that is not kept is given in at most 5 % of catalogs. A
   walk that becomes worse on its way, as confidences that are any good make it, passes more rarely
   where its precision is below the promise: fewer of its sizes are. Repeated looks at one growing
   sample are treated alike in trials of medicines.

Products of one family (copies of a photo connect them) are right or wrong together: Kish's
effective number of families stands for m, and for k the share of mistakes of that number.

The promise is about the products from which the labeled ones are a fair sample. It is about the
chance, not about the filled products themselves: of 100 at 98 %, four may be wrong.

Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of
the binomial"; Pocock 1977, "Group sequential methods in the design and analysis of clinical
trials"; Geifman & El-Yaniv 2017, "Selective classification for deep neural networks", for the task;
Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of positive
counts estimated from survey data", for effective numbers in the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import bdtr, betaincinv
from scipy.stats import binom

from shopsight.errors import MetricError
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import LEVEL, Interval

RISK = 1 - LEVEL
"""Share of catalogs in which a promise may be given that is not kept."""
STEP = 1.1
"""Each number of answers that is tried is larger by this factor."""
MOST_NEEDED = 10
"""Times as many labeled products as there are: of more, nothing that was seen tells anything."""
_HALVINGS = 24
_COARSE = 1.5
# Mistakes of such a small probability are left out of the sums.
_NEVER = 1e-13


@dataclass(frozen=True)
class PromisedPrecision:
    """From which confidence on answers keep a promise.

    Attributes:
        wanted: the precision that is promised.
        threshold: answers of this confidence or more keep it; infinite where none do.
        num_labeled: products that it was looked for on.
        num_measured: those of them at or above the threshold.
        num_right: of these, how many are right.
        measured: their share; its lower end is not below `wanted`. Where no answers keep the
            promise: of the answers that come nearest to it.
        num_needed: labeled products that would do, if as many of them were right as of these; None
            where it is kept, or where that would take many times as many.
    """

    wanted: float
    threshold: float
    num_labeled: int
    num_measured: int
    num_right: int
    measured: Interval
    num_needed: int | None = None

    @property
    def is_kept(self) -> bool:
        """Whether there is a threshold."""
        return math.isfinite(self.threshold)


def promise_precision(
    confidence: Float64[np.ndarray, "n"],
    correct: Bool[np.ndarray, "n"],
    families: Families,
    *,
    precision: float,
) -> PromisedPrecision:
    """Find the lowest threshold whose answers keep a promise of precision.

    Args:
        confidence: of each labeled product's answer, by a model that did not learn from it.
        correct: whether that answer is right.
        families: products that are right or wrong together.
        precision: what is promised, above 0 and below 1.

    Raises:
        MetricError: the precision is not between 0 and 1, or the families are of others.
    """
    if not 0 < precision < 1:
        raise MetricError(f"a precision is between 0 and 1, not {precision:g}")
    if len(confidence) != families.num_images:
        raise MetricError(f"families of {families.num_images} do not go with {len(confidence)}")
    if not len(confidence):
        nothing = Interval.unknown(math.nan, "no labeled products")
        needed = fewest_answers(1, precision)
        return PromisedPrecision(precision, math.inf, 0, 0, 0, nothing, needed)
    order = np.argsort(-confidence, kind="stable")
    walk = _Walk.of(confidence[order], correct[order], families.of_image[order])
    alpha = walk_alpha(families.count, precision)
    low = clopper_pearson_low(walk.right, walk.total, alpha)
    passed = np.flatnonzero(low >= precision)
    # Of none, the nearest; of several, the one with the most answers.
    chosen = int(passed[-1]) if len(passed) else int(np.argmax(low))
    share = walk.num_right[chosen] / walk.size[chosen]
    high = 1 - clopper_pearson_low(
        (walk.total - walk.right)[chosen : chosen + 1], walk.total[chosen : chosen + 1], alpha
    )
    return PromisedPrecision(
        wanted=precision,
        threshold=float(walk.threshold[chosen]) if len(passed) else math.inf,
        num_labeled=len(confidence),
        num_measured=int(walk.size[chosen]),
        num_right=int(walk.num_right[chosen]),
        measured=Interval(float(share), float(low[chosen]), float(high[0])),
        num_needed=None if len(passed) else _needed(walk, precision, len(confidence)),
    )


@dataclass(frozen=True, eq=False)
class _Walk:
    """Answers by falling confidence, at the sizes that are tried.

    Attributes:
        size: number of answers.
        num_right: right ones among them.
        threshold: the lowest confidence among them.
        total: effective number of families among them.
        right: the share of right ones of that number.
    """

    size: Int64[np.ndarray, "s"]
    num_right: Int64[np.ndarray, "s"]
    threshold: Float64[np.ndarray, "s"]
    total: Float64[np.ndarray, "s"]
    right: Float64[np.ndarray, "s"]

    @classmethod
    def of(
        cls,
        confidence: Float64[np.ndarray, "n"],
        correct: Bool[np.ndarray, "n"],
        family: Int64[np.ndarray, "n"],
    ) -> _Walk:
        """Of answers that are sorted; equal confidences stay together."""
        ends = np.append(np.flatnonzero(np.diff(confidence)) + 1, len(confidence))
        sizes = ends[np.unique(np.searchsorted(ends, tried_sizes(1, len(confidence))))]
        num_right = np.cumsum(correct)[sizes - 1]
        effective = np.array([Families.by(family[:size]).effective_count for size in sizes])
        return cls(
            sizes.astype(np.int64),
            num_right.astype(np.int64),
            confidence[sizes - 1],
            effective,
            effective * num_right / sizes,
        )


def clopper_pearson_low(
    right: Float64[np.ndarray, "s"], total: Float64[np.ndarray, "s"], alpha: float
) -> Float64[np.ndarray, "s"]:
    """The lower bound of a share at level 1 - alpha.

    It is the q at which as many hits or more have the probability alpha: the quantile alpha of
    Beta(right, total - right + 1).

    Args:
        right: number of hits, whole or effective.
        total: number of trials, likewise.
        alpha: chance of a true share below the bound.
    """
    # Rounding may leave hits a little above the trials.
    wrong = np.maximum(total - right, 0.0)
    bound = betaincinv(np.maximum(right, 1e-9), wrong + 1, alpha)
    return np.asarray(np.where(right > 0, bound, 0.0))


def tried_sizes(first: int, last: int) -> Int64[np.ndarray, "s"]:
    """Numbers of answers from `first` to `last`, each about `STEP` times the one before it."""
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(last, max(sizes[-1] + 1, round(sizes[-1] * STEP))))
    return np.array(sizes, np.int64)


@cache
def walk_alpha(num_answers: int, precision: float) -> float:
    """The level at which a walk of so many answers passes anywhere in at most 5 % of catalogs.

    Args:
        num_answers: independent ones.
        precision: what is promised.
    """
    error = 1 - precision
    # Fewer answers pass at no level that is tried.
    first = max(1, math.ceil(math.log(RISK) / math.log(precision)))
    if first >= num_answers:
        return RISK
    sizes = tried_sizes(first, num_answers)
    low, high = 0.0, RISK
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if passing_chance(sizes, error, middle) > RISK:
            high = middle
        else:
            low = middle
    return low


def passing_chance(sizes: Int64[np.ndarray, "s"], error: float, alpha: float) -> float:
    """The chance that a walk passes at one of these sizes, each answer wrong by chance `error`.

    Args:
        sizes: numbers of answers, ascending.
        error: of each answer, independent of the others.
        alpha: level of the bound at each size.
    """
    most = binom.ppf(alpha, sizes, error)
    most = np.where(bdtr(most, sizes, error) <= alpha, most, most - 1).astype(np.int64)
    # Probabilities of `fewest`, `fewest` + 1, ... mistakes, of walks that have not passed yet.
    chance, fewest, before, passed = np.ones(1), 0, 0, 0.0
    for size, limit in zip(sizes.tolist(), most.tolist(), strict=True):
        more = size - before
        least, most_added = binom.ppf((_NEVER, 1 - _NEVER), more, error).astype(int)
        added = np.arange(least, most_added + 1)
        chance = np.convolve(chance, binom.pmf(added, more, error))
        fewest, before = fewest + int(added[0]), size
        gone = max(0, limit + 1 - fewest)
        passed += float(chance[:gone].sum())
        last = np.searchsorted(np.cumsum(chance[::-1]), _NEVER)
        chance, fewest = chance[gone : max(gone + 1, len(chance) - int(last))], fewest + gone
        if not len(chance):
            break
    return passed


def fewest_answers(num_labeled: int, precision: float) -> int:
    """The fewest answers, all of them right, that keep a promise.

    Args:
        num_labeled: labeled products in all; more of them allow more tries, and need more answers.
        precision: what is promised.
    """
    needed = num_labeled
    for _ in range(10):
        alpha = walk_alpha(max(needed, num_labeled), precision)
        found = math.ceil(math.log(alpha) / math.log(precision))
        if found <= needed:
            return found
        needed = found
    return needed


def _needed(walk: _Walk, precision: float, num_labeled: int) -> int | None:
    """Labeled products at which answers like the nearest ones would keep the promise."""
    shares = walk.right / walk.total
    if shares.max() <= precision:
        return None
    factor = 1.0
    while factor <= MOST_NEEDED:
        # Of rounded numbers, so that few levels are searched for.
        answers = _COARSE ** math.ceil(math.log(walk.total[-1] * factor, _COARSE))
        alpha = walk_alpha(math.ceil(answers), precision)
        low = clopper_pearson_low(walk.right * factor, walk.total * factor, alpha)
        if low.max() >= precision:
            return math.ceil(num_labeled * factor)
        factor *= STEP
    return None
