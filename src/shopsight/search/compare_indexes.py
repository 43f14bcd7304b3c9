"""Which index finds things best: the same queries to each, differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopsight.errors import CompareError
from shopsight.metrics.best_of import BestOf, best_of
from shopsight.metrics.retrieval import DEFINITIONS
from shopsight.search.evaluate_index import IndexEvaluation

CHOSEN_BY = "mean_average_precision"


@dataclass(frozen=True)
class IndexComparison:
    """Several indexes on the same queries.

    Attributes:
        evaluations: of each index, in the order of the command line.
        metrics: of each metric which index is best, with differences that hold together.
    """

    evaluations: tuple[IndexEvaluation, ...]
    metrics: dict[str, BestOf]

    @property
    def chosen(self) -> BestOf:
        """By mAP over the whole ranking."""
        return self.metrics[CHOSEN_BY]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "indexes": [str(one.index) for one in self.evaluations],
            "chosen_by": CHOSEN_BY,
            "best": str(self.evaluations[self.chosen.best].index),
            "may_be_best": [
                str(self.evaluations[number].index) for number in self.chosen.may_be_best
            ],
            "queries": self.evaluations[0].num_scored,
            "metrics": {
                name: {
                    "scores": [score.to_json() for score in found.scores],
                    "differences": [
                        None if one is None else one.to_json() for one in found.differences
                    ],
                }
                for name, found in self.metrics.items()
            },
            "definitions": dict(DEFINITIONS),
        }


def compare_evaluations(evaluations: Sequence[IndexEvaluation]) -> IndexComparison:
    """Compare indexes that were asked the same.

    Raises:
        CompareError: fewer than two, or other items or queries.
    """
    if len(evaluations) < 2:
        raise CompareError("a comparison takes two indexes", fix="shopsight compare INDEX INDEX")
    first = evaluations[0]
    for other in evaluations[1:]:
        _check_same(first, other)
    families = first.queries.families.take(first.ranked.queries)
    metrics = {
        name: best_of([one.ranked.estimate(name) for one in evaluations], families)
        for name in DEFINITIONS
    }
    return IndexComparison(tuple(evaluations), metrics)


def _check_same(first: IndexEvaluation, other: IndexEvaluation) -> None:
    mine, theirs = first.queries, other.queries
    same_queries = mine.query_ids == theirs.query_ids and mine.relevant_by == theirs.relevant_by
    same_items = np.array_equal(mine.gallery_groups, theirs.gallery_groups)
    if same_queries and same_items and np.array_equal(mine.query_groups, theirs.query_groups):
        return
    only = sorted(set(mine.query_ids) ^ set(theirs.query_ids))
    raise CompareError(
        "the indexes do not hold the same items: their scores are not of the same queries",
        where=f"{first.index}, {other.index}",
        details=only[:5] or [f"{first.num_items:,} items and {other.num_items:,}"],
        fix="shopsight index update INDEX DATA   (brings each up to the same data)",
    )


def index_names(comparison: IndexComparison) -> list[str]:
    """Names that tell the indexes apart: of their folders, or whole paths."""
    paths = [one.index for one in comparison.evaluations]
    short = [path.name for path in paths]
    return short if len(set(short)) == len(short) else [str(Path(path)) for path in paths]
