"""Statistics over weights against the plain metric of images that are repeated so often."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import metrics as sk

from shopsight.metrics import calibration, classification, multilabel, weighted
from shopsight.metrics.intervals import Statistic

CLASSES = 3
Case = tuple[Statistic, Callable[[np.ndarray], float]]


def mean_over_known_classes(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean of scikit-learn's average precision over the classes that have images."""
    known = [
        sk.average_precision_score(targets[:, c], scores[:, c])
        for c in range(targets.shape[1])
        if targets[:, c].any()
    ]
    return float(np.mean(known)) if known else float("nan")


def balanced(targets: np.ndarray, predicted: np.ndarray) -> float:
    with warnings.catch_warnings():
        # Of classes that are predicted and do not occur, which scikit-learn leaves out too.
        warnings.simplefilter("ignore", UserWarning)
        return float(sk.balanced_accuracy_score(targets, predicted))


def cases(rng: np.random.Generator, n: int) -> dict[str, Case]:
    """Each statistic with the plain metric of the images at given rows."""
    targets, predicted = rng.integers(0, CLASSES, n), rng.integers(0, CLASSES, n)
    confidence = rng.integers(0, 11, n) / 10
    correct = targets == predicted
    several = rng.random((n, CLASSES)) < 0.4
    scores = rng.integers(1, 9, (n, CLASSES)) / 10
    chosen = scores > 0.5
    return {
        "accuracy": (
            weighted.mean(correct),
            lambda rows: classification.accuracy(targets[rows], predicted[rows]),
        ),
        "balanced": (
            weighted.balanced_accuracy(targets, predicted, num_classes=CLASSES),
            lambda rows: balanced(targets[rows], predicted[rows]),
        ),
        "f1": (
            weighted.macro_f1(targets, predicted, num_classes=CLASSES),
            lambda rows: (
                classification.precision_recall_f1(
                    targets[rows], predicted[rows], num_classes=CLASSES
                ).macro_f1
            ),
        ),
        "calibration": (
            weighted.calibration_error(confidence, correct, bins=4),
            lambda rows: calibration.expected_calibration_error(
                confidence[rows], correct[rows], bins=4
            ),
        ),
        "several macro": (
            weighted.multilabel_macro_f1(csr_array(several), csr_array(chosen)),
            lambda rows: (
                multilabel.multilabel_scores(
                    csr_array(several[rows]), csr_array(chosen[rows])
                ).macro_f1
            ),
        ),
        "several micro": (
            weighted.multilabel_micro_f1(csr_array(several), csr_array(chosen)),
            lambda rows: (
                multilabel.multilabel_scores(
                    csr_array(several[rows]), csr_array(chosen[rows])
                ).micro_f1
            ),
        ),
        "map": (
            weighted.mean_average_precision(several, scores),
            lambda rows: mean_over_known_classes(several[rows], scores[rows]),
        ),
    }


@given(st.integers(0, 10_000), st.integers(1, 25))
def test_a_weight_is_a_repetition(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, size=(2, n))
    counts[:, 0] += 1
    for name, (statistic, plain) in cases(rng, n).items():
        fast = statistic(counts.astype(np.float64))
        slow = [plain(np.repeat(np.arange(n), row)) for row in counts]
        assert fast == pytest.approx(slow, nan_ok=True), name


def test_targets_may_be_numbers() -> None:
    rng = np.random.default_rng(0)
    wanted, scores = rng.random((20, 2)) < 0.4, rng.random((20, 2))
    statistic, once = weighted.mean_average_precision, np.ones((1, 20))
    as_numbers = statistic(wanted.astype(np.float32), scores)(once)
    assert as_numbers == pytest.approx(statistic(wanted, scores)(once))
