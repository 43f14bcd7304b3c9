"""Two rankings of the same things as one.

Cosines to images and cosines to texts are numbers of two kinds: those of a text encoder and an
image are around .3 where two texts are around .8. So the ranks are added, not the scores: a thing
at rank r of a list gets 1 / (60 + r), and the sums rank them anew.

Source: Cormack, Clarke & Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet and
individual rank learning methods".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shopsight.search.grouping import Result

DAMPING = 60
"""The larger, the less the first ranks stand out; the value of the source."""


def fused(rankings: Sequence[Sequence[Result]]) -> list[Result]:
    """The results of all rankings, best first; the score is the sum, at most 1.

    Sums are divided by what being first everywhere gives. Equal ones are in the order of their
    names.
    """
    best = len(rankings) / (DAMPING + 1)
    sums: dict[tuple[bool, str], float] = {}
    first: dict[tuple[bool, str], Result] = {}
    for ranking in rankings:
        for rank, result in enumerate(ranking, start=1):
            sums[result.key] = sums.get(result.key, 0.0) + 1 / (DAMPING + rank)
            first.setdefault(result.key, result)
    order = sorted(sums, key=lambda key: (-sums[key], key[1]))
    return [replace(first[key], score=sums[key] / best) for key in order]
