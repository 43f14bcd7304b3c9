"""95 % intervals of shares of images: accuracy, and the recall of each class, by families.

Row by row (a row is a class, or all images) with n images, of which a share p are hits, in families
of m_g images with h_g hits:

    u_g = (h_g - p m_g) / n / sqrt(1 - m_g / n)                  a family's pull, less its leverage
    var = max(sum u_g^2, p (1 - p) / n)                          never surer than lone images
    nu  = 2 (sum u^2)^2 / (sum u^4 - (sum u^2)^2 / G)            Satterthwaite, at most n_w - 1
    n_w = n^2 / sum m_g^2                                        Kish: families that agree in full
    var moves to p (1 - p) / n_w by 1 / (1 + (k / 2)^2)          k families with a mistake
    Wilson's interval of p with n_eff = p (1 - p) / var and Student's quantile of nu

never wider than Wilson's with n_w and Student's quantile of n_w - 1. Of lone images n_w = n, and
this is Wilson's own interval with the normal quantile, see
`proportion_ends`. `shopsight.metrics.estimates` says why.

Source: as there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.special import betaincinv, ndtr, ndtri, stdtrit

from shopsight.metrics.classification import ratio
from shopsight.metrics.intervals import LEVEL, wilson_ends

FEWEST_FAMILIES = 5
"""Below, the spread over families says nothing: there is no interval."""
HALF_WAY = 2
"""Families with a mistake at which the variance is half way to that of full agreement."""

Ends = tuple[Float64[np.ndarray, "*c"], Float64[np.ndarray, "*c"]]


def share_intervals(
    row: Int[np.ndarray, "n"],
    hits: Bool[np.ndarray, "n"],
    family: Int[np.ndarray, "n"],
    *,
    num_rows: int,
    level: float = LEVEL,
) -> Ends:
    """The lower and upper ends of the share of hits of each row.

    Args:
        row: Of each image, or of each pair of an image and a label.
        hits: Likewise.
        family: Likewise; images of one family vary together.
        num_rows: c.
        level: Of confidence.

    Returns:
        NaN for a row without images, and for one of fewer than `FEWEST_FAMILIES` families, unless
        its images are all of different families: Wilson's interval holds for any number of those.
    """
    families = int(family.max(initial=-1)) + 1
    pair, index = np.unique(row.astype(np.int64) * max(families, 1) + family, return_inverse=True)
    of_row = pair // max(families, 1)

    def summed(values: Float64[np.ndarray, "g"]) -> Float64[np.ndarray, "*c"]:
        return np.bincount(of_row, values, minlength=num_rows)

    sizes = np.bincount(index, minlength=len(pair)).astype(np.float64)
    found = np.bincount(index, hits, minlength=len(pair))
    total, count = summed(sizes), np.bincount(of_row, minlength=num_rows)
    share = ratio(summed(found), total)
    effective, lone = ratio(total**2, summed(sizes**2)), count == total
    leverage = sizes / total[of_row]
    pull = (found - share[of_row] * sizes) / total[of_row]
    pull /= np.sqrt(np.maximum(1 - leverage, 1e-9))
    squares, fourth = summed(pull**2), summed(pull**4)
    whole = share * (1 - share)
    variance = np.maximum(squares, ratio(whole, total))
    seen = np.minimum(summed((found < sizes) * 1.0), summed((found > 0) * 1.0))
    variance += weight_of_unseen(seen) * np.maximum(ratio(whole, effective) - variance, 0)
    low, high = proportion_ends(
        share,
        np.minimum(np.where(variance > 0, ratio(whole, variance), effective), total),
        quantile(degrees_of(squares, fourth, count, effective), level, lone),
        level,
    )
    most = np.maximum(effective - 1, 1.0)
    widest = proportion_ends(share, effective, quantile(most, level, lone), level)
    known = (total > 0) & (lone | (count >= FEWEST_FAMILIES))
    edge = variance <= 0
    low = np.where(edge, widest[0], np.maximum(low, widest[0]))
    high = np.where(edge, widest[1], np.minimum(high, widest[1]))
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def proportion_ends(
    share: Float64[np.ndarray, "*c"],
    n: Float64[np.ndarray, "*c"],
    t: Float64[np.ndarray, "*c"],
    level: float,
) -> Ends:
    """Wilson's interval of a share of n, reaching a little further for a few mistakes or hits.

    Wilson's normal approximation is skewed where few mistakes were seen: of 100 images with an
    accuracy of 99 %, 3 mistakes and more come in 8 % of samples, and Wilson's interval of 97 of 100
    ends at 98.97 %. Each end reaches at least as far as the exact bound of one side alone: the
    least mistaken share that makes x mistakes of n or more come in 5 % of samples, the quantile .05
    of Beta(x, n - x + 1), and likewise for hits. Beyond some ten mistakes Wilson's reaches further
    itself.

    Args:
        share: Of hits.
        n: Effective number of images.
        t: The quantile that takes the normal's place; that of the bound moves in proportion.
        level: Of confidence.

    Source: Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion", section
    4.1.1, who correct Wilson's for 1 to 3 mistakes so; Clopper & Pearson 1934.
    """
    low, high = wilson_ends(share, n, t)
    tail = ndtr(-t * float(ndtri(level) / ndtri((1 + level) / 2)))
    hits, mistakes = share * n, (1 - share) * n
    with np.errstate(invalid="ignore"):
        fewest_hits = betaincinv(hits, mistakes + 1, tail)
        fewest_mistakes = betaincinv(mistakes, hits + 1, tail)
    low = np.where(share > 0, np.fmin(low, fewest_hits), low)
    return low, np.where(share < 1, np.fmax(high, 1 - fewest_mistakes), high)


def degrees_of(
    squares: Float64[np.ndarray, "*c"],
    fourth: Float64[np.ndarray, "*c"],
    count: Int[np.ndarray, "*c"],
    effective: Float64[np.ndarray, "*c"],
) -> Float64[np.ndarray, "*c"]:
    """Degrees of freedom of a sum of squares, by the spread of the squares.

    Args:
        squares: Sum of u^2 over families.
        fourth: Sum of u^4.
        count: Of families.
        effective: Effective number of them: its own less 1 is the most.
    """
    excess = fourth - ratio(squares**2, count)
    most = np.maximum(effective - 1, 1.0)
    found = np.clip(ratio(2 * squares**2, excess), 1.0, most)
    return np.asarray(np.where(excess > 0, found, most))


def weight_of_unseen(seen: Float64[np.ndarray, "*c"]) -> Float64[np.ndarray, "*c"]:
    """How far a variance moves towards families that are right or wrong as a whole.

    Args:
        seen: Families with a mistake, or without any where those are fewer.
    """
    return np.asarray(1 / (1 + (seen / HALF_WAY) ** 2))


def quantile(
    degrees: Float64[np.ndarray, "*c"], level: float, lone: Bool[np.ndarray, "*c"]
) -> Float64[np.ndarray, "*c"]:
    """Student's quantile; the normal's for lone images, whose variance the share itself gives."""
    upper = (1 + level) / 2
    return np.asarray(np.where(lone, float(ndtri(upper)), stdtrit(degrees, upper)))
