"""The temperature against a fine grid, and its error against repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import log_loss

from shopsight.errors import MetricError
from shopsight.metrics.calibration import sigmoid, softmax
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import (
    LOG_TEMPERATURE_SIGMA,
    Temperature,
    doubt_after,
    fit_temperature,
)
from shopsight.targets import Targets


def value_of(logits: np.ndarray, targets: Targets) -> float:
    return fit_temperature(logits, targets).value


def sampled_logits(seed: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sharp by `temperature`, with targets sampled from the true softmax."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(3000, 5)) * 2
    targets = np.array([rng.choice(5, p=p) for p in softmax(true)])
    return (true * temperature).astype(np.float32), targets


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    logits, targets = sampled_logits(0, temperature)
    fitted = value_of(logits, targets)
    assert fitted == pytest.approx(temperature, rel=0.08)
    assert fitted == value_of(logits, targets)
    grid = np.geomspace(0.05, 20, 400)
    losses = [log_loss(targets, softmax(logits, temperature=t), labels=range(5)) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


def test_the_temperature_with_several_labels_is_the_grids() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(2000, 3)) * 2
    targets = (rng.random(true.shape) < sigmoid(true)).astype(np.float32)
    fitted = value_of(true * 2.5, csr_array(targets))
    grid = np.geomspace(0.05, 20, 400)
    losses = [log_loss(targets.ravel(), sigmoid(true * 2.5, temperature=t).ravel()) for t in grid]
    assert fitted == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


def test_a_few_images_without_mistakes_do_not_make_sure() -> None:
    # Their log loss alone is least at T = 0, where every confidence is 1.
    few = value_of(np.eye(4) * 5, np.arange(4))
    assert 0.9 < few < 1.0
    many = value_of(np.tile(np.eye(4) * 5, (5000, 1)), np.tile(np.arange(4), 5000))
    assert 0.05 <= many < few / 2
    wrong = value_of(np.tile(np.eye(4) * -5, (500, 1)), np.tile(np.arange(4), 500))
    assert 5 < wrong <= 20


def test_the_prior_counts_for_less_the_more_images_there_are() -> None:
    # One mistake in four: the log loss alone is least where exp(2/T) / (exp(2/T) + 1) = 3/4.
    logits, targets = np.tile([2.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    alone = 2 / np.log(3)
    fitted = [
        value_of(np.tile(logits, (times, 1)), np.tile(targets, times))
        for times in (1, 10, 100, 10_000)
    ]
    assert fitted == sorted(fitted)
    assert 1 < fitted[0] < alone
    assert fitted[-1] == pytest.approx(alone, rel=1e-3)


def test_a_single_image_with_several_labels_has_a_temperature() -> None:
    # L(b) = ln(1 + e^2b) - 2b + ln(1 + e^-b) + b, over two labels: right on the first label, wrong
    # on the second. The prior adds (ln T)^2 / (2 * .5^2).
    fitted = value_of(np.array([[2.0, -1.0]]), csr_array([[1, 1]]))
    grid = np.geomspace(0.05, 20, 4000)
    losses = np.logaddexp(0, 2 / grid) - 2 / grid + np.logaddexp(0, -1 / grid) + 1 / grid
    losses = losses / 2 + 2 * np.log(grid) ** 2
    assert fitted == pytest.approx(grid[losses.argmin()], rel=0.002)


def test_few_images_leave_doubt() -> None:
    assert doubt_after(0) == 0.0
    assert doubt_after(7) == pytest.approx(1 / 9)
    assert doubt_after(998) == pytest.approx(0.001)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(MetricError, match="do not go with"):
        fit_temperature(np.ones((2, 3)), csr_array(np.ones((2, 2))))
    with pytest.raises(MetricError, match="do not go with"):
        fit_temperature(np.ones((0, 3)), csr_array((0, 3)))


def test_the_error_is_that_of_repeated_samples() -> None:
    # 1,000 images: the prior hardly counts, and ln T scatters by its standard error.
    found = [fit_temperature(*sampled_logits(seed, 1.5)) for seed in range(60)]
    spread = np.std([np.log(one.value) for one in found], ddof=1)
    assert np.mean([one.log_error for one in found]) == pytest.approx(spread, rel=0.2)
    inside = sum(one.low <= 1.5 <= one.high for one in found)
    assert 53 <= inside <= 60, "95 % of 60 is 57, less 2.4 standard errors"


def test_copies_of_an_image_are_one_image() -> None:
    logits, targets = sampled_logits(3, 1.0)
    logits, targets = logits[:300], targets[:300]
    once = fit_temperature(logits, targets)
    six = fit_temperature(
        np.repeat(logits, 6, axis=0),
        np.repeat(targets, 6),
        Families.by(np.repeat(np.arange(300), 6)),
    )
    assert six.families == once.families == 300
    assert six.log_error == pytest.approx(once.log_error, rel=0.1)
    as_if_alone = fit_temperature(np.repeat(logits, 6, axis=0), np.repeat(targets, 6))
    assert as_if_alone.log_error < 0.5 * six.log_error


def test_images_without_a_mistake_leave_the_error_of_the_prior() -> None:
    found = fit_temperature(np.tile(np.eye(4) * 20, (5, 1)), np.tile(np.arange(4), 5))
    assert found.log_error == pytest.approx(LOG_TEMPERATURE_SIGMA, rel=0.02)
    assert fit_temperature(np.ones((1, 2)), np.array([0])).log_error == LOG_TEMPERATURE_SIGMA


def test_few_families_widen_the_error() -> None:
    logits, targets = sampled_logits(4, 1.0)
    errors = [
        fit_temperature(logits, targets, Families.by(np.arange(3000) % count)).log_error
        for count in (3, 10, 3000)
    ]
    assert errors == sorted(errors, reverse=True)


def test_labels_of_an_image_that_are_copies_tell_nothing_new() -> None:
    rng = np.random.default_rng(5)
    true = rng.normal(size=(800, 1)) * 2
    held = rng.random(true.shape) < sigmoid(true)
    one = fit_temperature(true, csr_array(held.astype(np.uint8)))
    eight = fit_temperature(np.tile(true, 8), csr_array(np.tile(held, 8).astype(np.uint8)))
    assert eight.value == pytest.approx(one.value)
    assert eight.log_error == pytest.approx(one.log_error, rel=0.1)
    other = rng.normal(size=(800, 8)) * 2
    alone = fit_temperature(other, csr_array((rng.random(other.shape) < sigmoid(other)) * 1))
    assert alone.log_error < 0.5 * one.log_error


def test_the_interval_is_of_the_logarithm() -> None:
    found = Temperature(2.0, 0.1, 50)
    assert (found.low, found.high) == (
        pytest.approx(2 * np.exp(-0.196), rel=1e-4),
        pytest.approx(2 * np.exp(0.196), rel=1e-4),
    )
    assert found.to_json() == {
        "value": 2.0,
        "low": found.low,
        "high": found.high,
        "families": 50,
    }
