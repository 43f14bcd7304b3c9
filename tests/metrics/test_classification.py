"""Each metric against a slow, obvious count over plain Python lists, and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from shopsight.errors import MetricError
from shopsight.metrics import classification as c

CLASSES = 4
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
).map(lambda rows: (np.array([row[0] for row in rows]), np.array([row[1] for row in rows])))


def scored(seed: int, n: int = 50, classes: int = CLASSES) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(1, 5, size=(n, classes)).astype(np.float64)
    return rng.integers(0, classes, n), raw / raw.sum(axis=1, keepdims=True)


@given(pairs)
def test_accuracy_counts_equal_pairs(pair: tuple[np.ndarray, np.ndarray]) -> None:
    targets, predicted = pair
    hits = sum(int(t) == int(p) for t, p in zip(targets, predicted, strict=True))
    assert c.accuracy(targets, predicted) == pytest.approx(hits / len(targets))


@given(pairs)
def test_balanced_accuracy_is_the_mean_recall_of_classes_that_occur(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    targets, predicted = pair
    recalls = []
    for label in range(CLASSES):
        own = [int(p) for t, p in zip(targets, predicted, strict=True) if t == label]
        if own:
            recalls.append(own.count(label) / len(own))
    assert c.balanced_accuracy(targets, predicted) == pytest.approx(sum(recalls) / len(recalls))


@given(pairs)
def test_confusion_matrix_counts_each_image_once(pair: tuple[np.ndarray, np.ndarray]) -> None:
    targets, predicted = pair
    matrix = c.confusion_matrix(targets, predicted, classes=CLASSES)
    slow = [[0] * CLASSES for _ in range(CLASSES)]
    for target, given_class in zip(targets, predicted, strict=True):
        slow[target][given_class] += 1
    assert matrix.tolist() == slow
    assert matrix.sum() == len(targets)
    assert matrix.dtype == np.int64


@given(pairs)
def test_precision_recall_f1_follow_their_definitions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    targets, predicted = pair
    scores = c.precision_recall_f1(targets, predicted, classes=CLASSES)
    for label in range(CLASSES):
        tp = int(np.sum((targets == label) & (predicted == label)))
        found, own = int(np.sum(predicted == label)), int(np.sum(targets == label))
        precision = tp / found if found else 0.0
        recall = tp / own if own else 0.0
        f1 = 2 * precision * recall / (precision + recall) if tp else 0.0
        assert scores.precision[label] == pytest.approx(precision)
        assert scores.recall[label] == pytest.approx(recall)
        assert scores.f1[label] == pytest.approx(f1)
        assert (scores.support[label], scores.predicted[label]) == (own, found)


@given(pairs)
def test_means_of_precision_recall_f1_are_scikit_learns(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    targets, predicted = pair
    scores = c.precision_recall_f1(targets, predicted, classes=CLASSES)
    for average in ("macro", "weighted"):
        ours = [getattr(scores, f"{average}_{name}") for name in ("precision", "recall", "f1")]
        theirs = sk.precision_recall_fscore_support(
            targets, predicted, average=average, zero_division=0
        )[:3]
        assert ours == pytest.approx(list(theirs))


@given(st.integers(0, 1000))
def test_truth_rank_is_the_place_in_a_stable_sort(seed: int) -> None:
    targets, scores = scored(seed)
    ranks = c.truth_rank(targets, scores)
    for target, row, rank in zip(targets, scores, ranks, strict=True):
        order = sorted(range(CLASSES), key=lambda label: -row[label])
        assert order.index(int(target)) + 1 == rank
    assert ((ranks == 1) == (scores.argmax(axis=1) == targets)).all()


@given(st.integers(0, 1000), st.integers(1, CLASSES))
def test_top_k_accuracy_grows_with_k(seed: int, k: int) -> None:
    targets, scores = scored(seed)
    slow = np.mean(
        [
            int(t) in sorted(range(CLASSES), key=lambda label: -row[label])[:k]
            for t, row in zip(targets, scores, strict=True)
        ]
    )
    assert c.top_k_accuracy(targets, scores, k=k) == pytest.approx(slow)
    assert c.top_k_accuracy(targets, scores, k=CLASSES) == 1.0
    assert c.top_k_accuracy(targets, scores, k=1) == c.accuracy(targets, scores.argmax(axis=1))


@given(st.integers(0, 1000))
def test_log_loss_is_the_mean_negative_log(seed: int) -> None:
    targets, probabilities = scored(seed)
    slow = -sum(math.log(row[t]) for t, row in zip(targets, probabilities, strict=True))
    assert c.log_loss(targets, probabilities) == pytest.approx(slow / len(targets))
    theirs = sk.log_loss(targets, probabilities, labels=range(CLASSES))
    assert c.log_loss(targets, probabilities) == pytest.approx(theirs)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    certain = np.array([[1.0, 0.0]])
    assert c.log_loss(np.array([1]), certain) == pytest.approx(36.04, abs=0.01)
    assert c.log_loss(np.array([0]), certain) == 0.0


@pytest.mark.usefixtures("unchecked_types")
def test_faults_are_named() -> None:
    two, one = np.array([0, 1]), np.array([0])
    none = np.array([], dtype=np.int64)
    with pytest.raises(MetricError, match="no images"):
        c.accuracy(none, none)
    with pytest.raises(MetricError, match="2 targets do not go with 1"):
        c.balanced_accuracy(two, one)
    with pytest.raises(MetricError, match="predicted class 7 is not between 0 and 1"):
        c.confusion_matrix(two, np.array([0, 7]), classes=2)
    with pytest.raises(MetricError, match="k = 3"):
        c.top_k_accuracy(two, np.ones((2, 2)), k=3)
    with pytest.raises(MetricError, match="1 of 2 images are not numbers"):
        c.truth_rank(two, np.array([[0.0, 1.0], [np.nan, 1.0]]))
    with pytest.raises(MetricError, match=r"sum to 2\.0000"):
        c.log_loss(two, np.ones((2, 2)))
