"""Sparse labels and scores in pieces against scikit-learn, derivatives and the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score

from shopsight.errors import MetricError
from shopsight.memory import use_memory_budget
from shopsight.metrics import weighted
from shopsight.metrics.calibration import reliability_bins
from shopsight.metrics.influence import influence_difference, influence_interval
from shopsight.metrics.intervals import Interval, bootstrap, difference_of
from shopsight.metrics.label_calibration import label_reliability
from shopsight.metrics.label_ranking import rank_labels

seeds = st.integers(0, 10_000)


@dataclass
class InMemory:
    """Scores as a table "n c"; notes which labels are asked for."""

    table: Float32[np.ndarray, "n c"]
    widest: int = 0

    @property
    def num_images(self) -> int:
        return len(self.table)

    @property
    def num_labels(self) -> int:
        return self.table.shape[1]

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        self.widest = max(self.widest, last - first)
        return np.ascontiguousarray(self.table[:, first:last].T)


def drawn(seed: int, n: int, classes: int, *, digits: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that know something of them, many of them equal."""
    rng = np.random.default_rng(seed)
    targets = rng.random((n, classes)) < rng.uniform(0.05, 0.6, classes)
    scores = np.round(0.3 * targets + 0.7 * rng.random((n, classes)), digits)
    return targets, scores.astype(np.float32)


@given(seeds, st.integers(1, 60), st.integers(1, 5))
def test_average_precision_is_scikit_learns(seed: int, n: int, classes: int) -> None:
    targets, scores = drawn(seed, n, classes)
    found = rank_labels(csr_array(targets), InMemory(scores)).average_precision
    for label, own in enumerate(targets.T):
        if own.any():
            expected = average_precision_score(own, scores[:, label])
            assert found[label] == pytest.approx(expected)
        else:
            assert np.isnan(found[label])


@given(seeds)
def test_the_influence_is_the_derivative(seed: int) -> None:
    targets, scores = drawn(seed, 12, 3)
    statistic = weighted.mean_average_precision(targets, scores)
    found = rank_labels(csr_array(targets), InMemory(scores))
    step = 1e-5
    weights = np.vstack([np.ones((12, 12)) + sign * step * np.eye(12) for sign in (1, -1)])
    ends = statistic(weights).reshape(2, 12)
    if targets.any():
        assert found.influence == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
        assert found.influence.sum() == pytest.approx(0.0, abs=1e-9)
        assert found.mean_average_precision == pytest.approx(statistic(np.ones((1, 12)))[0])
    else:
        assert np.isnan(found.mean_average_precision)


def width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_is_as_wide_as_the_bootstraps(grouped: bool) -> None:
    targets, scores = drawn(0, 600, 40, digits=3)
    groups = np.repeat(np.arange(300), 2) if grouped else None
    if grouped:
        # Images of one group share their labels and scores: they count as one.
        targets, scores = (np.repeat(table[::2], 2, axis=0) for table in (targets, scores))
    found = rank_labels(csr_array(targets), InMemory(scores))
    fast = influence_interval(found.mean_average_precision, found.influence, groups=groups)
    statistic = weighted.mean_average_precision(targets, scores)
    slow = bootstrap(statistic, 600, groups=groups, proportion=True, resamples=1000)
    assert fast.value == pytest.approx(slow.value)
    assert width(fast) == pytest.approx(width(slow), rel=0.12)
    other = np.round(np.clip(scores + np.random.default_rng(1).random(scores.shape) * 0.4, 0, 1), 3)
    behind = rank_labels(csr_array(targets), InMemory(other.astype(np.float32)))
    difference = influence_difference(
        behind.mean_average_precision - found.mean_average_precision,
        behind.influence - found.influence,
        groups=groups,
    )
    second = weighted.mean_average_precision(targets, other.astype(np.float32))
    paired = bootstrap(difference_of(second, statistic), 600, groups=groups, resamples=1000)
    assert difference.value == pytest.approx(paired.value)
    assert width(difference) == pytest.approx(width(paired), rel=0.12)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    targets, scores = drawn(3, 40_000, 3, digits=4)
    truth = rank_labels(csr_array(targets), InMemory(scores)).mean_average_precision
    covered = 0
    for first in range(0, 40_000, 200):
        rows = slice(first, first + 200)
        found = rank_labels(csr_array(targets[rows]), InMemory(scores[rows]))
        interval = influence_interval(found.mean_average_precision, found.influence)
        covered += interval.low <= truth <= interval.high
    assert 180 <= covered <= 198, "95 % of 200 is 190, give or take 3 standard errors"


def test_what_never_varies_has_a_width_and_models_that_agree_may_differ() -> None:
    perfect = influence_interval(1.0, np.zeros(60))
    assert (perfect.high, perfect.low) == (1.0, pytest.approx(0.94, abs=0.005))
    same = influence_difference(0.0, np.zeros(60))
    assert same.high == pytest.approx(1 - 0.05 ** (1 / 60))


@given(seeds, st.integers(1, 30), st.integers(1, 4))
def test_reliability_is_that_of_all_pairs(seed: int, n: int, classes: int) -> None:
    targets, scores = drawn(seed, n, classes)
    found = label_reliability(csr_array(targets), InMemory(scores), bins=7)
    expected = reliability_bins(scores.ravel(), targets.ravel(), bins=7)
    assert found.count.tolist() == expected.count.tolist()
    assert found.confidence == pytest.approx(expected.confidence, nan_ok=True)
    assert found.accuracy == pytest.approx(expected.accuracy, nan_ok=True)


def test_labels_are_read_in_pieces_of_the_memory_budget() -> None:
    targets, scores = drawn(1, 1000, 50)
    whole, pieces = InMemory(scores), InMemory(scores)
    expected = rank_labels(csr_array(targets), whole)
    with use_memory_budget(1000 * 4 * 8 * 7 / 1e9):
        found = rank_labels(csr_array(targets), pieces)
    assert (whole.widest, pieces.widest) == (50, 7)
    assert found.average_precision.tolist() == expected.average_precision.tolist()
    assert found.influence == pytest.approx(expected.influence, abs=1e-15)


def test_what_does_not_fit_is_refused() -> None:
    targets, scores = drawn(1, 6, 3)
    with pytest.raises(MetricError, match=r"shape \(6, 3\) do not go with \(5, 3\)"):
        rank_labels(csr_array(targets), InMemory(scores[:5]))
    with pytest.raises(MetricError, match="no images"):
        rank_labels(csr_array(targets[:0]), InMemory(scores[:0]))
    scores[2, 1] = np.nan
    with pytest.raises(MetricError, match="scores of 1 of 6 images are not numbers"):
        rank_labels(csr_array(targets), InMemory(scores))
    scores[2, 1] = 1.5
    with pytest.raises(MetricError, match="not between 0 and 1"):
        label_reliability(csr_array(targets), InMemory(scores), bins=5)
