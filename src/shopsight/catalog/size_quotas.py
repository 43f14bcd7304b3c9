"""How many units of one size each part of a split takes.

A product with one photo is not like one with five. Were units assigned by the classes alone, lone
images would fill the small parts, since five photos overshoot what a class lacks there, and a test
part of lone images measures another shop. So a part gets its fraction of the images in units of
every size: with R rows in units of at least s rows, f_p R of them, as far as units of s rows allow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

SMALL_SHARE = 0.25
"""Of the smallest part: a unit of at most so many rows is small, and spread over the parts."""


class SizeQuotas:
    """The quotas of units that are assigned from large to small.

    Args:
        size: rows of each unit.
        part: the part of each unit that is assigned already, else -1.
        fractions: wanted fraction of each part.
        seed: of the rounding.
    """

    def __init__(
        self,
        size: Int64[np.ndarray, "u"],
        part: Int64[np.ndarray, "u"],
        fractions: Sequence[float],
        *,
        seed: int,
    ) -> None:
        self._fractions = np.array(fractions)
        self._random = np.random.default_rng(seed)
        self._sizes, index = np.unique(size, return_inverse=True)
        rows = np.bincount(index, weights=size)
        self._rows_from = np.cumsum(rows[::-1])[::-1]
        # Rows of smaller units that the parts have already.
        assigned = np.zeros((len(self._sizes), len(fractions)))
        done = part >= 0
        np.add.at(assigned, (index[done], part[done]), size[done])
        self._rows_below = np.cumsum(assigned, axis=0) - assigned
        self._small = small_rows(float(rows.sum()), fractions)

    def of(self, size: int, number: int, have_rows: Sequence[float]) -> list[int] | None:
        """How many of `number` units of a size each part takes; None where any number.

        Large units have no quota, as they cannot be spread over small parts, nor has the smallest
        size, which evens out the parts. Else what a part lacks, in units, is rounded down, and the
        parts of the remainder are drawn by systematic sampling: points at distance 1 from a random
        start, on a line on which each part has its remainder as length. A part is hit with a
        probability that is its remainder, and at most once.

        Args:
            size: rows of each of these units; all larger units are assigned.
            number: how many there are.
            have_rows: rows of each part.

        Source: Madow 1949, "On the theory of systematic sampling, II".
        """
        if size > self._small or size == self._sizes[0]:
            return None
        index = int(np.searchsorted(self._sizes, size))
        have = np.array(have_rows) - self._rows_below[index]
        lacking = np.maximum(self._fractions * self._rows_from[index] - have, 0.0)
        return self._rounded(lacking * number / lacking.sum())

    def _rounded(self, wanted: Float64[np.ndarray, "p"]) -> list[int]:
        # The tolerances keep sums of fractions from falling short of the integers that they are.
        whole = np.floor(wanted + 1e-9)
        ends = np.cumsum(wanted - whole) + self._random.uniform()
        points = np.diff(np.floor(ends + 1e-9), prepend=0.0)
        return [int(number) for number in whole + points]


def small_rows(rows: float, fractions: Sequence[float]) -> float:
    """The most rows of a unit that is small; a lone image is small in any part."""
    return max(1.0, SMALL_SHARE * min(fractions) * rows)
