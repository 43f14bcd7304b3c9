"""Thresholds, curves and sets against slow versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.metrics.conformal import fewest_images, least_probability, prediction_sets
from shopsight.metrics.selective import (
    area_under_curve,
    selective_curve,
    threshold_for_accuracy,
    threshold_for_coverage,
)


def test_coverage() -> None:
    scores = np.array([0.1, 0.5, 0.9, 0.3])
    assert threshold_for_coverage(scores, 0.5) == 0.5
    assert threshold_for_coverage(scores, 0.51) == 0.3
    assert threshold_for_coverage(scores, 1.0) == 0.1
    assert threshold_for_coverage(scores, 0.01) == 0.9


def test_accuracy() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    right = np.array([True, False, True, True, False])
    assert threshold_for_accuracy(scores, right, 1.0) == 0.9
    # Three of four are right at .6, and no more below.
    assert threshold_for_accuracy(scores, right, 0.75) == 0.6
    assert threshold_for_accuracy(scores, right, 0.6) == 0.5
    assert threshold_for_accuracy(scores, ~right, 1.0) is None
    # Equal scores are answered together.
    assert threshold_for_accuracy(np.array([0.5, 0.5]), np.array([True, False]), 0.9) is None


def test_curve() -> None:
    rng = np.random.default_rng(0)
    scores, strangers = rng.random(60), rng.random(40) - 0.3
    right = rng.random(60) < scores
    curve = selective_curve(scores, right, strangers)
    for place in range(0, len(curve.thresholds), 7):
        answered = scores >= curve.thresholds[place]
        assert curve.coverage[place] == answered.mean()
        assert curve.accuracy[place] == pytest.approx(right[answered].mean())
        assert curve.accepted[place] == (strangers >= curve.thresholds[place]).mean()
    assert curve.coverage[0] == 1.0
    rows = selective_curve(scores, right, np.empty(0)).to_json()
    assert rows[0]["accepted"] is None


def test_area_of_nothing() -> None:
    assert np.isnan(area_under_curve(np.array([1.0]), np.empty(0)))


def test_sets_hold_the_label_as_often_as_asked() -> None:
    """Of images that come from one source the coverage is at least what was asked."""
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(200):
        logits = 2 * rng.normal(size=(160, 5))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets = np.array([rng.choice(5, p=row) for row in probabilities])
        least = least_probability(probabilities[:80], targets[:80], 0.9)
        assert least is not None
        sets = prediction_sets(probabilities[80:], least)
        assert sets.any(axis=1).all()
        reached.append(sets[np.arange(80), targets[80:]].mean())
    assert 0.9 <= np.mean(reached) < 0.93


@pytest.mark.parametrize(("level", "needed"), [(0.9, 9), (0.8, 4), (0.95, 19), (0.5, 1)])
def test_too_few_images_for_sets(level: float, needed: int) -> None:
    assert fewest_images(level) == needed
    probabilities, targets = np.full((needed, 2), 0.5), np.zeros(needed, int)
    assert least_probability(probabilities, targets, level) == 0.5
    assert least_probability(probabilities[1:], targets[1:], level) is None
