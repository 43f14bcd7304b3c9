"""Sparse labels and scores in pieces against scikit-learn, derivatives and the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score

from shopsight.errors import MetricError
from shopsight.memory import use_memory_budget
from shopsight.metrics.calibration import reliability_bins
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


@settings(max_examples=8)
@given(seeds)
def test_the_influence_is_the_derivative(seed: int) -> None:
    targets, scores = drawn(seed, 12, 3)
    found = rank_labels(csr_array(targets), InMemory(scores))
    labels = [label for label in range(3) if targets[:, label].any()]
    if not labels:
        assert np.isnan(found.mean_average_precision)
        return
    step = 1e-5
    for image in range(12):
        ends = []
        for sign in (1, -1):
            weights = np.ones(12)
            weights[image] += sign * step
            precisions = [
                average_precision_score(targets[:, c], scores[:, c], sample_weight=weights)
                for c in labels
            ]
            ends.append(np.mean(precisions))
        assert found.influence[image] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
    assert found.influence.sum() == pytest.approx(0.0, abs=1e-9)


def test_without_itself_few_images_are_not_too_good() -> None:
    # Own images at ranks 1, 3 and 4 of 6: precisions 1/1, 2/3, 3/4; without itself, the other own
    # images above count 3/2 each: 1 (none above), 1.5 / (1 + 1.5), 3 / (1 + 3).
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]], np.float32)
    targets = csr_array(np.array([[1], [0], [1], [1], [0], [0]], np.int8))
    found = rank_labels(targets, InMemory(scores))
    assert found.average_precision[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found.without_itself[0] == pytest.approx((1 + 1.5 / 2.5 + 3 / 4) / 3)
    alone = csr_array(np.array([[0], [0], [1], [0], [0], [0]], np.int8))
    assert rank_labels(alone, InMemory(scores)).without_itself[0] == 0


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
