"""Scores of labels, and neighbors of other families, against slow versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.metrics.label_quality import label_scores, rank_fractions
from shopsight.metrics.nearest import NOBODY, nearest_of_other_families
from shopsight.unit_vectors import unit_vectors


def test_scores_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.45, 0.45]])
    neighbors = np.array([[1, 2, NOBODY], [0, 2, NOBODY], [NOBODY] * 3])
    scores = label_scores(probabilities, np.array([0, 1, 2]), neighbors)
    assert scores.self_confidence == pytest.approx([0.7, 0.2, 0.45])
    assert scores.margin == pytest.approx([0.5, -0.5, 0.0])
    assert scores.suggested.tolist() == [0, 0, 1]
    # Of each class one image: what is usual is its own probability.
    ratios = probabilities / np.array([0.7, 0.2, 0.45])
    expected = [np.log(1 / 1), np.log(1 / 1), np.log(1 / (0.45 / 0.2))]
    assert ratios[0].tolist() == pytest.approx([1, 1, 0.1 / 0.45])
    assert scores.relative_margin == pytest.approx(expected, abs=1e-9)
    assert scores.neighbors.tolist() == [0.0, 0.0, 0.5]
    assert scores.neighbor_margin.tolist() == [-0.5, -0.5, 0.0]
    # Usual are .05, .05 and .5 + .05; both neighbors of the first are of other classes.
    expected = [np.log(0.05 / 0.05) - np.log(0.55 / 0.05)] * 2
    assert scores.relative_neighbor_margin == pytest.approx([*expected, 0.0])
    # Ranked apart, each is the only one of its kind.
    assert scores.rank_sums(np.array(["a", "b", "c"])).tolist() == [0.0, 0.0, 0.0]
    together = scores.rank_sums(np.zeros(3))
    assert together[1] < together[0]


def test_neighbors_against_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 4, 40)
    neighbors = rng.integers(-1, 40, (40, 7))
    scores = label_scores(rng.random((40, 4)), given, neighbors)
    for row in range(40):
        labels = [int(given[one]) for one in neighbors[row] if one >= 0]
        own = labels.count(int(given[row])) / len(labels)
        others = [labels.count(one) / len(labels) for one in range(4) if one != given[row]]
        assert scores.neighbors[row] == pytest.approx(own)
        assert scores.neighbor_margin[row] == pytest.approx(own - max(others))
    share = np.array(
        [[np.mean(given[near[near >= 0]] == k) for k in range(4)] for near in neighbors]
    )
    usual = [(share[given == k, k] + 0.05).mean() for k in range(4)]
    ratios = np.log((share + 0.05) / usual)
    for row in range(40):
        # Of classes that no neighbor has, the least usual one counts for all.
        absent = np.log(0.05) - np.log(min(usual))
        others = [ratios[row, k] for k in range(4) if k != given[row] and share[row, k] > 0]
        expected = ratios[row, given[row]] - max(*others, absent)
        assert scores.relative_neighbor_margin[row] == pytest.approx(expected)


def test_ranks_of_equal_values_are_shared() -> None:
    assert rank_fractions(np.array([3.0, 1.0, 1.0, 2.0, 1.0])).tolist() == [
        1.0,
        0.25,
        0.25,
        0.75,
        0.25,
    ]
    assert rank_fractions(np.array([5.0])).tolist() == [0.0]


def test_neighbors_are_of_other_families() -> None:
    rng = np.random.default_rng(0)
    queries = unit_vectors(rng.normal(size=(30, 6)))
    gallery = unit_vectors(rng.normal(size=(50, 6)))
    own, others = rng.integers(0, 5, 30), rng.integers(0, 5, 50)
    found = nearest_of_other_families(
        queries, gallery, query_family=own, gallery_family=others, k=4
    )
    for row, vector in enumerate(queries):
        allowed = [place for place in range(50) if others[place] != own[row]]
        slow = sorted(allowed, key=lambda place: -float(vector @ gallery[place]))[:4]
        assert found[row].tolist() == slow


def test_too_few_neighbors() -> None:
    vectors = unit_vectors(np.eye(3))
    family = np.array([0, 0, 1])
    found = nearest_of_other_families(
        vectors, vectors, query_family=family, gallery_family=family, k=5
    )
    assert found[0].tolist() == [2, NOBODY, NOBODY, NOBODY, NOBODY]
    alone = nearest_of_other_families(
        vectors, vectors, query_family=np.zeros(3, int), gallery_family=np.zeros(3, int), k=2
    )
    assert (alone == NOBODY).all()
