"""Reliability bins against a loop, the temperature against a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import log_loss

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


def sampled_logits(seed: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sharp by `temperature`, with targets sampled from the true softmax."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(3000, 5)) * 2
    targets = np.array([rng.choice(5, p=p) for p in k.softmax(true)])
    return (true * temperature).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    logits, targets = sampled_logits(0, temperature)
    fitted = k.fit_temperature(logits, targets)
    assert fitted == pytest.approx(temperature, rel=0.08)
    assert fitted == k.fit_temperature(logits, targets)
    grid = np.geomspace(0.05, 20, 400)
    losses = [log_loss(targets, k.softmax(logits, temperature=t), labels=range(5)) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


def test_the_temperature_with_several_labels_is_the_grids() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(2000, 3)) * 2
    targets = (rng.random(true.shape) < k.sigmoid(true)).astype(np.float32)
    fitted = k.fit_temperature(true * 2.5, csr_array(targets))
    grid = np.geomspace(0.05, 20, 400)
    losses = [log_loss(targets.ravel(), k.sigmoid(true * 2.5, temperature=t).ravel()) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


@given(st.integers(0, 100), st.floats(0.1, 10))
def test_softmax_rows_sum_to_1_and_keep_their_order(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(6, 4)) * 100
    probabilities = k.softmax(logits, temperature=temperature)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert (probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_few_images_without_mistakes_do_not_make_sure() -> None:
    # Their log loss alone is least at T = 0, where every confidence is 1.
    few = k.fit_temperature(np.eye(4) * 5, np.arange(4))
    assert 0.9 < few < 1.0
    many = k.fit_temperature(np.tile(np.eye(4) * 5, (5000, 1)), np.tile(np.arange(4), 5000))
    assert 0.05 <= many < few / 2
    wrong = k.fit_temperature(np.tile(np.eye(4) * -5, (500, 1)), np.tile(np.arange(4), 500))
    assert 5 < wrong <= 20


def test_the_prior_counts_for_less_the_more_images_there_are() -> None:
    # One mistake in four: the log loss alone is least where exp(2/T) / (exp(2/T) + 1) = 3/4.
    logits, targets = np.tile([2.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    alone = 2 / np.log(3)
    fitted = [
        k.fit_temperature(np.tile(logits, (times, 1)), np.tile(targets, times))
        for times in (1, 10, 100, 10_000)
    ]
    assert fitted == sorted(fitted)
    assert 1 < fitted[0] < alone
    assert fitted[-1] == pytest.approx(alone, rel=1e-3)


def test_sigmoid_is_its_formula_and_divides_by_the_temperature() -> None:
    logits = np.array([[-2.0, 0.0, 3.0]], np.float32)
    assert k.sigmoid(logits) == pytest.approx(1 / (1 + np.exp(-logits)))
    assert k.sigmoid(logits, temperature=2.0) == pytest.approx(1 / (1 + np.exp(-logits / 2)))


def test_a_single_image_with_several_labels_has_a_temperature() -> None:
    # L(b) = ln(1 + e^2b) - 2b + ln(1 + e^-b) + b, over two labels: right on the first label, wrong
    # on the second. The prior adds (ln T)^2 / (2 * .5^2).
    fitted = k.fit_temperature(np.array([[2.0, -1.0]]), csr_array([[1, 1]]))
    grid = np.geomspace(0.05, 20, 4000)
    losses = np.logaddexp(0, 2 / grid) - 2 / grid + np.logaddexp(0, -1 / grid) + 1 / grid
    losses = losses / 2 + 2 * np.log(grid) ** 2
    assert fitted == pytest.approx(grid[losses.argmin()], rel=0.002)


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
    with pytest.raises(MetricError, match="do not go with"):
        k.fit_temperature(np.ones((2, 3)), csr_array(np.ones((2, 2))))
    with pytest.raises(MetricError, match="do not go with"):
        k.fit_temperature(np.ones((0, 3)), csr_array((0, 3)))


def test_few_images_leave_doubt() -> None:
    assert k.doubt_after(0) == 0.0
    assert k.doubt_after(7) == pytest.approx(1 / 9)
    assert k.doubt_after(998) == pytest.approx(0.001)
