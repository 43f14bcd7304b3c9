"""The thresholds of several labels: against every cut there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from shopsight.errors import MetricError
from shopsight.metrics import thresholds as m
from shopsight.metrics.multilabel import multilabel_scores

seeds = st.integers(0, 1000)


def scored(seed: int, n: int = 25, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """0/1 targets (the last class never occurs) and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, classes)) < 0.3).astype(np.uint8)
    targets[:, -1] = 0
    return targets, (np.round(rng.random((n, classes)) * 0.6 + targets * 0.3, 1))


def best_thresholds(
    targets: np.ndarray,
    probabilities: np.ndarray,
    *,
    fewest: int = m.FEWEST_POSITIVES,
    batch: int = 100,
) -> np.ndarray:
    """Of probabilities, given as logits are: some images at a time."""
    search = m.ThresholdSearch(targets.sum(0).astype(np.int64), len(targets), fewest=fewest)
    for first in range(0, len(targets), batch):
        rows = slice(first, first + batch)
        table = csr_array(targets[rows].astype(np.uint8))
        search.add(table, probabilities[rows].astype(np.float32))
    return search.best(lambda scores: scores.astype(np.float64))


def slow_best_f1(wanted: np.ndarray, probabilities: np.ndarray) -> float:
    """Over every cut that makes a difference."""
    reached = []
    for cut in set(probabilities.tolist()):
        given = [p >= cut for p in probabilities]
        hits = sum(bool(w) and g for w, g in zip(wanted, given, strict=True))
        reached.append(2 * hits / (sum(given) + wanted.sum()))
    return float(max(reached))


@given(seeds, st.integers(2, 40))
def test_thresholds_reach_the_best_f1_of_any_cut(seed: int, n: int) -> None:
    targets, probabilities = scored(seed, n=n)
    thresholds = best_thresholds(targets, probabilities, fewest=1)
    reached = multilabel_scores(csr_array(targets), csr_array(probabilities >= thresholds)).f1
    for c in np.flatnonzero(targets.any(axis=0)):
        assert reached[c] == pytest.approx(slow_best_f1(targets[:, c], probabilities[:, c]))
    assert thresholds[-1] == 0.5, "no image carries the last class"


def test_a_threshold_lies_between_the_probabilities_that_it_separates() -> None:
    targets = np.array([[1], [1], [0], [0]])
    parted = best_thresholds(targets, np.array([[0.4], [0.3], [0.2], [0.1]]), fewest=1)
    assert parted == pytest.approx([0.25])
    around = best_thresholds(targets, np.array([[0.9], [0.6], [0.2], [0.1]]), fewest=1)
    assert around.tolist() == [0.5], "what parts them already is left as it is"
    equal = best_thresholds(targets, np.full((4, 1), 0.7), fewest=1)
    assert equal.tolist() == [0.5]


def test_a_class_of_few_images_keeps_its_threshold() -> None:
    targets = np.zeros((40, 2))
    targets[:9, 0] = targets[:10, 1] = 1
    probabilities = np.where(targets > 0, 0.2, 0.1)
    assert best_thresholds(targets, probabilities) == pytest.approx([0.5, 0.15])


def test_of_equally_good_cuts_the_one_nearest_to_a_half_is_taken() -> None:
    # F1 is 2 * 1 / (1 + 2) after the first and 2 * 2 / (4 + 2) after the fourth.
    targets = np.array([[1], [0], [0], [1], [0]])
    low = np.array([[0.45], [0.3], [0.28], [0.25], [0.1]])
    assert best_thresholds(targets, low, fewest=1) == pytest.approx([0.375])
    high = np.array([[0.9], [0.7], [0.65], [0.6], [0.55]])
    assert best_thresholds(targets, high, fewest=1) == pytest.approx([0.575])


def test_a_probability_of_exactly_the_usual_threshold_reaches_it() -> None:
    targets = np.array([[1], [1], [0], [0]])
    probabilities = np.array([[0.9], [0.5], [0.2], [0.1]])
    assert best_thresholds(targets, probabilities, fewest=1).tolist() == [0.5]
    # Where the image at exactly .5 lacks the label, the threshold has to lie above it.
    lacking = best_thresholds(np.array([[1], [0]]), np.array([[0.9], [0.5]]), fewest=1)
    assert lacking == pytest.approx([0.7])


def test_f1_counts_the_images_before_the_cut_exactly() -> None:
    # 2 hits / (rank + positives): 2/4 after the first image, 6/13 after the tenth. With one image
    # more in each denominator it would be 2/5 and 6/14, and the other cut would win.
    targets = np.array([1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0])[:, None]
    probabilities = np.array([0.9, *np.linspace(0.4, 0.1, 10)])[:, None]
    assert best_thresholds(targets, probabilities, fewest=1).tolist() == [0.5]


def test_the_highest_logits_of_a_label_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((3000, 5)) < [0.01, 0.02, 0.05, 0.1, 0.0]).astype(np.uint8)
    scores = rng.random((3000, 5)) * 0.7 + 0.3 * targets
    whole = best_thresholds(targets, scores, batch=3000)
    monkeypatch.setattr(m, "FEWEST_WAITING", 1000)
    assert best_thresholds(targets, scores, batch=64).tolist() == whole.tolist()
    search = m.ThresholdSearch(targets.sum(0).astype(np.int64), len(targets))
    for first in range(0, 3000, 64):
        rows = slice(first, first + 64)
        search.add(csr_array(targets[rows]), scores[rows].astype(np.float32))
    kept = sum(len(labels) for labels, _, _ in search._kept)
    assert kept < 2 * (9 * int(targets.sum()) + 5) + 64 * 5 < targets.size


def test_a_cut_at_the_last_logit_that_was_kept_is_none() -> None:
    # All three images have the label, but so few are kept that the cut below them is not known.
    search = m.ThresholdSearch(np.array([10]), 10_000)
    targets = csr_array(np.repeat([[1], [0]], [10, 9990], axis=0).astype(np.uint8))
    search.add(targets, np.linspace(0.9, 0.1, 10_000, dtype=np.float32)[:, None])
    found = search.best(lambda scores: scores.astype(np.float64))
    assert found == pytest.approx([0.9 - 9.5 * 0.8 / 9999], abs=1e-6)


def test_targets_and_logits_belong_together() -> None:
    search = m.ThresholdSearch(np.array([1]), 1)
    with pytest.raises(MetricError, match="do not go with"):
        search.add(csr_array([[1]]), np.zeros((2, 1), np.float32))
    with pytest.raises(MetricError, match="not numbers"):
        search.add(csr_array([[1]]), np.full((1, 1), np.nan, np.float32))
