from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopsight.errors import MetricError
from shopsight.metrics.retrieval import (
    DEFINITIONS,
    RankedQueries,
    exact_rankings,
    query_metrics,
    score_rankings,
)


def slow(
    scores: np.ndarray, query_groups: list[int], gallery_groups: list[int], junk: list[set[int]]
) -> list[dict[str, float] | None]:
    """The definitions in plain loops, one query after another."""
    found: list[dict[str, float] | None] = []
    for query, row in enumerate(scores):
        left = [item for item in range(len(row)) if item not in junk[query]]
        ranking = sorted(left, key=lambda item, row=row: (-row[item], item))
        right = [gallery_groups[item] == query_groups[query] for item in ranking]
        total = sum(right)
        if not total:
            found.append(None)
            continue
        precisions = [sum(right[: rank + 1]) / (rank + 1) for rank, hit in enumerate(right) if hit]
        places = [rank + 1 for rank, hit in enumerate(right) if hit]
        found.append(
            {
                "recall_at_1": float(any(right[:1])),
                "recall_at_5": float(any(right[:5])),
                "recall_at_10": float(any(right[:10])),
                "mean_average_precision": sum(precisions) / total,
                "mean_average_precision_at_10": sum(
                    p for p, place in zip(precisions, places, strict=True) if place <= 10
                )
                / min(total, 10),
                "contest_map_at_1000": sum(
                    p for p, place in zip(precisions, places, strict=True) if place <= 1000
                )
                / total,
                "mean_precision_at_5": sum(right[:5]) / 5,
                "mean_reciprocal_rank": 1 / places[0],
            }
        )
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 90), st.integers(1, 4))
def test_metrics_are_those_of_their_definitions(
    seed: int, num_queries: int, num_items: int, num_groups: int
) -> None:
    rng = np.random.default_rng(seed)
    # Few values, so that many scores are equal; products of integers are exact.
    queries = rng.integers(-2, 3, (num_queries, 3)).astype(np.float32)
    gallery = rng.integers(-2, 3, (num_items, 3)).astype(np.float32)
    query_groups = rng.integers(0, num_groups, num_queries)
    gallery_groups = rng.integers(0, num_groups + 1, num_items)
    junk = [set(rng.choice(num_items, rng.integers(0, 3)).tolist()) for _ in range(num_queries)]
    found = score_rankings(
        exact_rankings(
            queries,
            gallery,
            query_groups=query_groups,
            gallery_groups=gallery_groups,
            junk=lambda query: np.array(sorted(junk[query]), np.int64),
        ),
        num_queries,
    )
    expected = slow(queries @ gallery.T, query_groups.tolist(), gallery_groups.tolist(), junk)
    scored = [one for one in expected if one is not None]
    assert found.num_without == len(expected) - len(scored)
    for name in DEFINITIONS:
        np.testing.assert_allclose(found.values[name], [one[name] for one in scored], atol=1e-12)


def test_the_divisor_of_precision_at_k_is_what_can_be_found() -> None:
    # One of two relevant items at rank 1, the other beyond.
    values = query_metrics(np.array([1, 200]), 2)
    assert values["mean_average_precision_at_10"] == 0.5
    assert values["mean_average_precision"] == pytest.approx((1 + 2 / 200) / 2)
    # Of twenty relevant items, ten fill the first ten places.
    assert query_metrics(np.arange(1, 21), 20)["mean_average_precision_at_10"] == 1.0


def test_a_query_of_no_known_group_is_not_scored() -> None:
    points = np.eye(3, dtype=np.float32)
    groups = np.array([-1, 0, 7])
    rankings = exact_rankings(
        points, points, query_groups=groups, gallery_groups=np.array([-1, 0, 1])
    )
    found = score_rankings(rankings, 3)
    assert found.queries.tolist() == [1]
    assert found.num_without == 2


def test_estimates_are_means_with_an_influence_of_each_query() -> None:
    found = score_rankings(iter([(0, np.array([1]), 1), (1, np.array([4]), 1)]), 2)
    recall, precision = found.estimate("recall_at_1"), found.estimate("mean_average_precision")
    assert recall.value == 0.5
    assert precision.value == pytest.approx((1 + 0.25) / 2)
    np.testing.assert_allclose(precision.influence, [0.1875, -0.1875])
    empty = RankedQueries(np.zeros(0, np.int64), {n: np.zeros(0) for n in DEFINITIONS}, 3)
    with pytest.raises(MetricError, match="no query has a relevant item"):
        empty.estimate("recall_at_1")
