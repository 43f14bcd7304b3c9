"""How good a search is: what of the relevant items stands where in the ranking of a query.

Gallery items are ranked by their scores, equal ones in the order of the gallery, which callers give
sorted by id: so that a ranking does not depend on how files are stored. Junk items, the query
itself and copies of it, are taken out of the ranking and out of the relevant ones: finding them is
neither right nor wrong (the protocol of the Oxford buildings).

With R relevant items at the ranks r_1 < ... < r_R of n:

    mAP            mean over queries of AP = (1/R) sum_i i / r_i
    mAP@k          AP of the first k: (1/min(R, k)) sum over r_i <= k of i / r_i
    mAP@1000 / R   the same sum at k = 1000, divided by R: the rule of the contest of 2023
    mP@5           share of the first 5 that are relevant
    recall@k       whether one of the first k is relevant
    MRR            1 / r_1

A query without a relevant item has no ranking to judge: it is counted, not scored.

Source: Philbin et al. 2007, "Object retrieval with large vocabularies and fast spatial matching";
Musgrave et al. 2020, "A Metric Learning Reality Check"; for the divisor of AP@k, Weyand et al.
2020, "Google Landmarks Dataset v2".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from shopsight.errors import MetricError
from shopsight.metrics.estimates import Estimate

AT = 10
CONTEST_AT = 1000
BLOCK_NUMBERS = 1 << 25
"""Scores that are held at once: 128 MB."""
FEW = 40
"""Relevant items up to which their better ones are counted; above, all are sorted."""

DEFINITIONS = {
    "recall_at_1": "queries whose first result is relevant",
    "recall_at_5": "queries with a relevant one among the first 5",
    "recall_at_10": "queries with a relevant one among the first 10",
    "mean_average_precision": "mAP over the whole ranking, divided by all relevant items",
    "mean_average_precision_at_10": "mAP of the first 10, divided by min(relevant, 10)",
    "contest_map_at_1000": "mAP of the first 1,000, divided by all relevant items",
    "mean_precision_at_5": "share of the first 5 that are relevant",
    "mean_reciprocal_rank": "1 / rank of the first relevant one",
}
SHARES = frozenset({"recall_at_1", "recall_at_5", "recall_at_10"})
"""Metrics that are right or wrong for each query."""


@dataclass(frozen=True, eq=False)
class RankedQueries:
    """What each query with a relevant item got, q of them.

    Attributes:
        queries: their positions among all queries.
        values: of each metric of `DEFINITIONS`, per query.
        num_without: queries without a relevant item, which are not scored.
    """

    queries: Int64[np.ndarray, "q"]
    values: dict[str, Float64[np.ndarray, "q"]]
    num_without: int

    def estimate(self, metric: str) -> Estimate:
        """A metric with the influence of each query, for intervals and differences.

        Raises:
            MetricError: no query has a relevant item.
        """
        values = self.values[metric]
        if not len(values):
            raise MetricError("no query has a relevant item")
        if metric in SHARES:
            return Estimate.share(values > 0)
        mean = float(values.mean())
        return Estimate(mean, (values - mean) / len(values), kind="proportion")


def score_rankings(
    rankings: Iterator[tuple[int, Int64[np.ndarray, "_"], int]], num_queries: int
) -> RankedQueries:
    """Score queries by the ranks of their relevant items.

    Args:
        rankings: of each query its position, the ranks of its relevant items, from 1, and how many
            there are; items beyond a cut have no rank.
        num_queries: all queries.
    """
    chosen: list[int] = []
    values: dict[str, list[float]] = {name: [] for name in DEFINITIONS}
    for query, ranks, relevant in rankings:
        if not relevant:
            continue
        chosen.append(query)
        for name, value in query_metrics(np.sort(ranks), relevant).items():
            values[name].append(value)
    arrays = {name: np.array(found, np.float64) for name, found in values.items()}
    return RankedQueries(np.array(chosen, np.int64), arrays, num_queries - len(chosen))


def query_metrics(ranks: Int64[np.ndarray, "r"], relevant: int) -> dict[str, float]:
    """All metrics of one query.

    Args:
        ranks: of relevant items, ascending, from 1.
        relevant: how many there are, at least as many as `ranks`.
    """
    precision = np.arange(1, len(ranks) + 1) / ranks
    first = int(ranks[0]) if len(ranks) else 0

    def sum_at(k: int) -> float:
        return float(precision[ranks <= k].sum())

    return {
        "recall_at_1": float(first == 1),
        "recall_at_5": float(0 < first <= 5),
        "recall_at_10": float(0 < first <= 10),
        "mean_average_precision": float(precision.sum()) / relevant,
        "mean_average_precision_at_10": sum_at(AT) / min(relevant, AT),
        "contest_map_at_1000": sum_at(CONTEST_AT) / relevant,
        "mean_precision_at_5": float((ranks <= 5).sum()) / 5,
        "mean_reciprocal_rank": 1 / first if first else 0.0,
    }


def exact_rankings(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    *,
    query_groups: Int64[np.ndarray, "q"],
    gallery_groups: Int64[np.ndarray, "g"],
    junk: Callable[[int], Int64[np.ndarray, "_"]] | None = None,
    scored: Callable[[int, Float32[np.ndarray, "g"]], None] | None = None,
) -> Iterator[tuple[int, Int64[np.ndarray, "_"], int]]:
    """The ranks of the relevant items of each query, by exact search.

    Memory is that of the vectors and `BLOCK_NUMBERS` scores.

    Args:
        queries: unit vectors.
        gallery: unit vectors, sorted by id.
        query_groups: what a query shows; -1 where that is not known.
        gallery_groups: what an item shows, in the same numbers.
        junk: positions in the gallery that a query ignores; it may name relevant ones.
        scored: sees the scores of each query, in which junk is at -inf.

    Yields:
        Position of a query, the ranks of its relevant items, and their number.
    """
    order = np.argsort(gallery_groups, kind="stable")
    sorted_groups = gallery_groups[order]
    for number, scores in exact_scores(queries, gallery, junk=junk):
        if scored is not None:
            scored(number, scores)
        group = query_groups[number]
        low, high = np.searchsorted(sorted_groups, [group, group + 1])
        members = order[low:high] if group >= 0 else order[:0]
        members = members[np.isfinite(scores[members])]
        yield number, ranks_of(scores, members), len(members)


def exact_scores(
    queries: Float32[np.ndarray, "q d"],
    gallery: Float32[np.ndarray, "g d"],
    *,
    junk: Callable[[int], Int64[np.ndarray, "_"]] | None = None,
) -> Iterator[tuple[int, Float32[np.ndarray, "g"]]]:
    """The cosines of each query with all items, in blocks of `BLOCK_NUMBERS`.

    Args:
        queries: unit vectors.
        gallery: unit vectors.
        junk: positions in the gallery that a query ignores; their scores are -inf.

    Yields:
        Position of a query, and its scores.
    """
    rows = max(1, BLOCK_NUMBERS // max(1, len(gallery)))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows] @ gallery.T
        for number, scores in enumerate(block, start=start):
            if junk is not None:
                scores[junk(number)] = -np.inf
            yield number, scores


def ranks_of(
    scores: Float32[np.ndarray, "g"], items: Int64[np.ndarray, "r"]
) -> Int64[np.ndarray, "r"]:
    """Ranks from 1 of some items: one more than the items before them.

    Before an item are those of a higher score, and those of an equal one at a lower position.
    """
    if len(items) <= FEW:
        own = scores[items]
        return np.array(
            [
                1 + np.count_nonzero(scores > score) + np.count_nonzero(scores[:item] == score)
                for item, score in zip(items.tolist(), own, strict=True)
            ],
            np.int64,
        )
    order = np.argsort(-scores, kind="stable")
    ranks = np.empty(len(scores), np.int64)
    ranks[order] = np.arange(1, len(scores) + 1)
    found: Int64[np.ndarray, "r"] = ranks[items]
    return found
