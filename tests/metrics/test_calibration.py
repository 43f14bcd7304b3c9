"""Reliability bins against a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.errors import MetricError
from shopsight.metrics import calibration as k

BINS = 5
judged = st.lists(
    st.tuples(st.integers(0, 20).map(lambda x: x / 20), st.booleans()), min_size=1, max_size=60
).map(lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows])))


@given(judged)
def test_bins_and_error_follow_their_definition(rows: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, correct = rows
    found = k.reliability_bins(confidence, correct, bins=BINS)
    assert found.count.sum() == len(confidence)
    error = 0.0
    for b in range(BINS):
        low, high = found.edges[b], found.edges[b + 1]
        inside = (confidence <= high) & ((confidence > low) | (b == 0))
        assert found.count[b] == inside.sum()
        if inside.any():
            assert found.confidence[b] == pytest.approx(confidence[inside].mean())
            assert found.accuracy[b] == pytest.approx(correct[inside].mean())
            gap = abs(confidence[inside].mean() - correct[inside].mean())
            error += inside.sum() / len(confidence) * gap
        else:
            assert np.isnan(found.accuracy[b])
    assert k.expected_calibration_error(confidence, correct, bins=BINS) == pytest.approx(error)


def test_a_calibrated_forecaster_has_no_error() -> None:
    confidence = np.full(1000, 0.7)
    assert k.expected_calibration_error(confidence, np.arange(1000) < 700) == pytest.approx(0.0)


def test_a_confidence_of_1_in_float32_is_in_the_last_bin() -> None:
    assert k.bin_index(np.array([1.0, 1.0 + 1e-7], np.float32), bins=3).tolist() == [2, 2]


@given(st.integers(0, 100), st.floats(0.1, 10))
def test_softmax_rows_sum_to_1_and_keep_their_order(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(6, 4)) * 100
    probabilities = k.softmax(logits, temperature=temperature)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_sigmoid_is_its_formula_and_divides_by_the_temperature() -> None:
    logits = np.array([[-2.0, 0.0, 3.0]], np.float32)
    assert k.sigmoid(logits) == pytest.approx(1 / (1 + np.exp(-logits)))
    assert k.sigmoid(logits, temperature=2.0) == pytest.approx(1 / (1 + np.exp(-logits / 2)))


def test_there_are_fifteen_bins_by_default() -> None:
    confidence, correct = np.linspace(0, 1, 100), np.arange(100) % 3 == 0
    assert len(k.reliability_bins(confidence, correct).count) == 15
    fifteen = k.expected_calibration_error(confidence, correct, bins=15)
    assert k.expected_calibration_error(confidence, correct) == fifteen
    assert k.expected_calibration_error(confidence, correct, bins=16) != fifteen


def test_errors_say_what_does_not_fit() -> None:
    with pytest.raises(MetricError, match=r"^a confidence is not between 0 and 1$"):
        k.reliability_bins(np.array([1.2]), np.array([True]))
    with pytest.raises(MetricError, match=r"^there are no images to measure on$"):
        k.expected_calibration_error(np.array([]), np.array([], dtype=bool))
