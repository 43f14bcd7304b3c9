"""Whether the parts of a split are alike: shares of classes, and of families by their size.

A kind with T of the N images is to have the fraction T / N of each part. With c images of the kind
in a family of s, part p has

    sum over its families of (c - s T / N)

images of the kind too many. Over all families the terms sum to 0. Where a family is dealt to p with
the probability f_p, the sum has the mean 0 and the variance

    f_p (1 - f_p) sum over all families of (c - s T / N)^2,

and divided by its deviation it is close to a standard normal number where a part has five families
of the kind and more; cells with fewer are not compared. Of m cells, all stay within the quantile
1 - .025 / m in 95 % of deals (Bonferroni): a split beyond that was not made by chance, and its
score is about another mix than training saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from shopsight.metrics.families import Families
from shopsight.text import percent_text

FEWEST_FAMILIES = 5
"""Families of a kind that a part is to have at least, to compare its share."""
ROUNDING = 1e-9
"""A smaller variance is none."""
SIZES = ((1, 1), (2, 3), (4, 7), (8, 15), (16, None))
"""Sizes of families that are compared: from, to."""


@dataclass(frozen=True)
class Shares:
    """How alike the parts are in one respect.

    Attributes:
        compared: cells (a kind in a part) that were compared.
        beyond_chance: those that chance does not explain.
        kind: of the cell that is furthest from its mean: a class, or sizes of families.
        part: of that cell.
        share: of the part's images that are of the kind.
        share_of_all: the same of all images.
        deviations: how far the cell is from its mean, in standard deviations.
    """

    compared: int
    beyond_chance: int
    kind: str
    part: str
    share: float
    share_of_all: float
    deviations: float

    def line(self, what: str) -> str:
        """A line of text; `what` is compared: "classes", "sizes of families"."""
        furthest = (
            f"furthest: {self.kind}, {percent_text(self.share)} of {self.part} and "
            f"{percent_text(self.share_of_all)} of all, {abs(self.deviations):.1f} standard "
            "deviations"
        )
        if not self.beyond_chance:
            return f"{what} in each part: shares within chance ({furthest})"
        return (
            f"{what} in each part: {self.beyond_chance:,} of {self.compared:,} shares beyond "
            f"chance ({furthest}): the score is about another mix than training saw"
        )


def size_kinds(families: Families) -> tuple[list[str], Int64[np.ndarray, "n"]]:
    """Names of the sizes that are compared, and the index of that of each image's family."""
    names = [
        "lone images"
        if to == 1
        else f"families of {start} images and more"
        if to is None
        else f"families of {start} to {to} images"
        for start, to in SIZES
    ]
    starts = np.array([start for start, _ in SIZES])
    kind_of_family = np.searchsorted(starts, families.sizes, side="right") - 1
    return names, kind_of_family[families.of_image]


def compare_shares(
    parts: Sequence[str],
    part: Int64[np.ndarray, "n"],
    families: Families,
    kinds: Sequence[str],
    row: Int64[np.ndarray, "e"],
    kind: Int64[np.ndarray, "e"],
) -> Shares | None:
    """Compare the shares of the kinds in the parts with those of all images.

    Args:
        parts: names of the parts.
        part: of each image, an index into `parts`; -1 is in none.
        families: of the images.
        kinds: names.
        row: image of each (image, kind) pair.
        kind: index into `kinds` of each pair.

    Returns:
        None where no part has enough families of a kind.
    """
    from scipy.special import ndtri

    if not len(row):
        return None
    inside = part >= 0
    rows_of_part = np.bincount(part[inside], minlength=len(parts))
    fraction = (rows_of_part / max(1, inside.sum()))[:, None]
    dealt = Families.by(families.of_image[inside])
    pairs = inside[row]
    cell = part[row[pairs]] * len(kinds) + kind[pairs]
    have = np.bincount(cell, minlength=len(parts) * len(kinds)).reshape(len(parts), -1)
    total = have.sum(axis=0)
    share = total / max(1, inside.sum())
    count, squares = _family_squares(families, row[pairs], kind[pairs], share)
    squares += share**2 * float((dealt.sizes.astype(np.float64) ** 2).sum())
    variance = fraction * (1 - fraction) * squares
    compared: Bool[np.ndarray, "p k"] = fraction * count >= FEWEST_FAMILIES
    compared &= variance > ROUNDING
    if not compared.any():
        return None
    deviations = np.zeros(have.shape)
    np.divide(
        have - rows_of_part[:, None] * share, np.sqrt(variance), out=deviations, where=compared
    )
    cells = int(compared.sum())
    worst_part, worst = divmod(int(np.abs(deviations).argmax()), len(kinds))
    return Shares(
        compared=cells,
        beyond_chance=int((np.abs(deviations) > ndtri(1 - 0.025 / cells)).sum()),
        kind=kinds[worst],
        part=parts[worst_part],
        share=float(have[worst_part, worst] / rows_of_part[worst_part]),
        share_of_all=float(share[worst]),
        deviations=float(deviations[worst_part, worst]),
    )


def _family_squares(
    families: Families,
    row: Int64[np.ndarray, "e"],
    kind: Int64[np.ndarray, "e"],
    share: Float64[np.ndarray, "k"],
) -> tuple[Int64[np.ndarray, "k"], Float64[np.ndarray, "k"]]:
    """Of each kind its families, and over them the sum of c^2 - 2 c s T / N.

    What is missing of (c - s T / N)^2, (s T / N)^2, is over all families.
    """
    pairs, images = np.unique(families.of_image[row] * len(share) + kind, return_counts=True)
    family, kinds = np.divmod(pairs, len(share))
    terms = images * (images - 2.0 * families.sizes[family] * share[kinds])
    sums: Float64[np.ndarray, "k"] = np.bincount(kinds, weights=terms, minlength=len(share))
    return np.bincount(kinds, minlength=len(share)), sums
