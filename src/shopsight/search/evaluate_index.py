"""How good the search of an index is: by its own photos, or by queries of another catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.metrics.estimates import interval_of
from shopsight.metrics.intervals import Interval
from shopsight.metrics.query_expansion import expanded_queries
from shopsight.metrics.rerank import K1, K2, neighbors_for, reranked
from shopsight.metrics.retrieval import (
    DEFINITIONS,
    RankedQueries,
    exact_rankings,
    exact_scores,
    score_rankings,
)
from shopsight.search.find import CANDIDATES
from shopsight.search.index import Index
from shopsight.search.retrieval_set import (
    RelevantBy,
    RetrievalSet,
    foreign_queries,
    own_queries,
)
from shopsight.search.strangers import Strangers
from shopsight.text import counted

ACCEPT_RATES = (0.01, 0.05)
"""Shares of strangers that may be taken for a product of the catalog."""


@dataclass(frozen=True)
class Threshold:
    """A least score, and whom it lets in.

    Attributes:
        rate: share of strangers that it lets in: queries, when their own product is not there.
        min_score: the score.
        found: share of queries whose product is there and that reach it with a right result.
    """

    rate: float
    min_score: float
    found: float


@dataclass(frozen=True)
class IndexEvaluation:
    """How good the search of an index is.

    Attributes:
        index: its folder.
        relevant_by: items of the same product, or of the same label, are relevant.
        num_items: items that were searched.
        num_scored: queries with something to find.
        num_without: queries without, which are not scored.
        num_all: queries of which these are a sample.
        failed: why a query image could not be read, by its name.
        metrics: with their intervals, by families of queries.
        thresholds: for "not in the catalog".
        strangers: the scores that these come from; None of blended or re-ranked answers.
        how: what was done beside plain search.
        ranked: of each query.
        queries: what was asked.
        report: the page, if one was written.
    """

    index: Path
    relevant_by: RelevantBy
    num_items: int
    num_scored: int
    num_without: int
    num_all: int
    failed: dict[str, str]
    metrics: dict[str, Interval]
    thresholds: tuple[Threshold, ...]
    strangers: Strangers | None
    how: str
    ranked: RankedQueries = field(repr=False)
    queries: RetrievalSet = field(repr=False)
    report: Path | None = None

    def copies_text(self) -> str:
        """What is known of copies, in words; empty where there is nothing to say."""
        again, unseen = self.queries.encoded_again, self.queries.unseen
        parts = [f"{counted(again, 'pair')} of a lookup and the same image encoded again"] * (
            again > 0
        )
        if unseen:
            parts.append(
                f"{counted(unseen, 'image')} could not be compared: of them equal files alone count"
            )
        return "; ".join(parts)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "index": str(self.index),
            "relevant_by": self.relevant_by,
            "items": self.num_items,
            "queries": self.num_scored,
            "queries_without_relevant": self.num_without,
            "queries_in_all": self.num_all,
            "not_read": self.failed,
            "copies_encoded_again": self.queries.encoded_again,
            "photos_not_compared": self.queries.unseen,
            "how": self.how,
            "metrics": {name: one.value for name, one in self.metrics.items()},
            "intervals": {name: one.to_json() for name, one in self.metrics.items()},
            "definitions": dict(DEFINITIONS),
            "thresholds": [vars(one) for one in self.thresholds],
        }


def evaluate_search(
    index: Index,
    queries: Catalog | None = None,
    *,
    expand: int = 0,
    rerank: bool = False,
    seed: int = 0,
) -> IndexEvaluation:
    """Search for known things, and count what is found where.

    Without `queries` each photo is taken out by its id and searched for; copies of it, equal files
    and the same image encoded again, are neither right nor wrong. Search is exact: what a graph
    loses is for `verify`.

    Args:
        index: that is open.
        queries: a catalog of the same products or labels; None takes the index's own photos.
        expand: nearest items that each query is blended with.
        rerank: order the first candidates by shared neighbors.
        seed: of the sample, where there are more queries than are asked.

    Raises:
        SearchError: nothing says what is right, or nothing is there to be found.
    """
    asked = own_queries(index, seed=seed) if queries is None else foreign_queries(index, queries)
    best = _BestScores(asked)
    k1, k2 = neighbors_for(_photos_a_group(asked))
    ranked = rank_queries(asked, expand=expand, rerank=rerank, k1=k1, k2=k2, see=best.see)
    is_plain = not (expand or rerank)
    named = "its own photos" if queries is None else queries.name
    strangers = best.strangers(named) if is_plain else None
    families = asked.families.take(ranked.queries)
    metrics = {name: interval_of(ranked.estimate(name), families) for name in DEFINITIONS}
    steps = [f"blended with {expand} nearest"] * bool(expand)
    steps += [f"re-ranked by {k1} neighbors"] * rerank
    return IndexEvaluation(
        index=index.folder.path,
        relevant_by=asked.relevant_by,
        num_items=len(index),
        num_scored=len(ranked.queries),
        num_without=ranked.num_without,
        num_all=asked.num_all,
        failed=asked.failed,
        metrics=metrics,
        thresholds=best.thresholds(ranked.queries, strangers),
        strangers=strangers,
        how=", ".join(steps) or "plain search",
        ranked=ranked,
        queries=asked,
    )


def _photos_a_group(asked: RetrievalSet) -> float:
    """Photos in the gallery of each product, or label, that has any; the mean."""
    known = asked.gallery_groups[asked.gallery_groups >= 0]
    return len(known) / max(1, len(np.unique(known)))


class _BestScores:
    """The best score of each query: of a relevant item, and of any other."""

    def __init__(self, asked: RetrievalSet) -> None:
        self._asked = asked
        self.own = np.full(len(asked.queries), -np.inf)
        self.other = np.full(len(asked.queries), -np.inf)

    def see(self, query: int, scores: Float32[np.ndarray, "g"]) -> None:
        """Take the scores of a query, in which junk is at -inf."""
        relevant = self._asked.gallery_groups == self._asked.query_groups[query]
        self.own[query] = scores[relevant].max(initial=-np.inf)
        self.other[query] = scores[~relevant].max(initial=-np.inf)

    def strangers(self, asked: str) -> Strangers | None:
        """The best scores of queries whose product is known, without that product.

        Of queries that have nothing to find, too: strangers are no worse for it.
        """
        other = self.other[(self._asked.query_groups >= 0) & np.isfinite(self.other)]
        return Strangers(asked, self._asked.relevant_by, np.sort(other)) if len(other) else None

    def thresholds(
        self, scored: Int64[np.ndarray, "q"], strangers: Strangers | None
    ) -> tuple[Threshold, ...]:
        """Least scores for some rates of strangers, and whom else they cost."""
        own = self.own[scored]
        return tuple(
            Threshold(rate, least, float((own >= least).mean()))
            for rate in ACCEPT_RATES
            if strangers is not None
            for least in [strangers.least_score(rate)]
        )


def rank_queries(
    asked: RetrievalSet,
    *,
    expand: int = 0,
    rerank: bool = False,
    k1: int = K1,
    k2: int = K2,
    see: Callable[[int, Float32[np.ndarray, "g"]], None] | None = None,
) -> RankedQueries:
    """Search exactly for each query, and score its ranking.

    Args:
        asked: queries and gallery.
        expand: nearest items that each query is blended with.
        rerank: order the first candidates by shared neighbors.
        k1: see `shopsight.metrics.rerank`.
        k2: likewise.
        see: takes the scores of each query, in which junk is at -inf.
    """
    vectors = _expanded(asked, expand) if expand else asked.queries
    reorder = _Reordered(asked, vectors, k1, k2) if rerank else None
    found = exact_rankings(
        vectors,
        asked.gallery,
        query_groups=asked.query_groups,
        gallery_groups=asked.gallery_groups,
        junk=asked.junk,
        scored=see if reorder is None else reorder.see,
    )
    with progress.task("Searching", len(vectors), "lookups") as advance:

        def moved() -> Iterator[tuple[int, Int64[np.ndarray, "_"], int]]:
            for query, ranks, relevant in found:
                advance(1)
                yield query, ranks if reorder is None else reorder.moved(ranks), relevant

        return score_rankings(moved(), len(vectors))


def _expanded(asked: RetrievalSet, expand: int) -> Float32[np.ndarray, "q d"]:
    """Queries blended with their nearest items, without what they ignore."""
    blended = np.empty_like(asked.queries)
    for query, scores in exact_scores(asked.queries, asked.gallery, junk=asked.junk):
        near = np.argpartition(-scores, min(expand, len(scores) - 1))[:expand]
        near = near[np.isfinite(scores[near])]
        blended[query] = expanded_queries(
            asked.queries[query][None], asked.gallery[near][None], scores[near][None]
        )[0]
    return blended


class _Reordered:
    """The first candidates of a query in their new order."""

    def __init__(
        self, asked: RetrievalSet, vectors: Float32[np.ndarray, "q d"], k1: int, k2: int
    ) -> None:
        self._asked = asked
        self._vectors = vectors
        self._k1, self._k2 = k1, k2
        self._new_rank: dict[int, int] = {}

    def see(self, query: int, scores: Float32[np.ndarray, "g"]) -> None:
        """Order the first candidates anew."""
        count = min(CANDIDATES, int(np.isfinite(scores).sum()))
        first = np.argsort(-scores, kind="stable")[:count]
        if count < 2:
            self._new_rank = {}
            return
        order = reranked(self._vectors[query], self._asked.gallery[first], k1=self._k1, k2=self._k2)
        self._new_rank = {int(old) + 1: new + 1 for new, old in enumerate(order.tolist())}

    def moved(self, ranks: Int64[np.ndarray, "r"]) -> Int64[np.ndarray, "r"]:
        """Ranks of the query that was seen last; those behind the candidates stay."""
        return np.array([self._new_rank.get(rank, rank) for rank in ranks.tolist()], np.int64)


def shown_results(asked: RetrievalSet, query: int, top: int) -> Sequence[tuple[int, float, bool]]:
    """The first results of a query: position in the gallery, score, whether it is relevant."""
    scores = asked.gallery @ asked.queries[query]
    scores[asked.junk(query)] = -np.inf
    order = np.argsort(-scores, kind="stable")[:top].tolist()
    group = asked.query_groups[query]
    return [
        (item, float(scores[item]), bool(asked.gallery_groups[item] == group))
        for item in order
        if np.isfinite(scores[item])
    ]
