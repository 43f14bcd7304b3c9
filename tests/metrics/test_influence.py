"""Metrics as estimates against scikit-learn: values, and derivatives by an image's weight."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn import metrics as sk

from shopsight.errors import MetricError
from shopsight.metrics import influence
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families

CLASSES, IMAGES, STEP = 4, 14, 1e-5
Weighted = Callable[[np.ndarray], float]


def single(rng: np.random.Generator) -> dict[str, tuple[Estimate, Weighted]]:
    """Metrics of one label an image, and scikit-learn's of images that weigh so much."""
    targets, predicted = (rng.integers(0, CLASSES, IMAGES) for _ in range(2))
    present, families = np.unique(targets), Families.alone(IMAGES)
    classes = {"num_classes": CLASSES}
    return {
        "accuracy": (
            Estimate.share(targets == predicted),
            lambda w: sk.accuracy_score(targets, predicted, sample_weight=w),
        ),
        "balanced": (
            influence.balanced_accuracy(targets, predicted, families, **classes),
            lambda w: sk.balanced_accuracy_score(targets, predicted, sample_weight=w),
        ),
        "f1": (
            influence.macro_f1(targets, predicted, families, **classes),
            lambda w: sk.f1_score(
                targets, predicted, labels=present, average="macro", sample_weight=w
            ),
        ),
    }


def several(rng: np.random.Generator) -> dict[str, tuple[Estimate, Weighted]]:
    """Metrics of several labels an image, some images and answers without any."""
    targets, predicted = (rng.random((IMAGES, CLASSES)) < p for p in (0.3, 0.4))
    targets[0] = predicted[0] = False
    targets[1, 0] = True
    sparse = [csr_array(table.astype(np.int8)) for table in (targets, predicted)]
    labels = np.flatnonzero(targets.any(axis=0))

    def f1(average: str, **more: object) -> Weighted:
        return lambda w: sk.f1_score(targets, predicted, average=average, sample_weight=w, **more)

    return {
        "macro": (
            influence.multilabel_macro_f1(*sparse, Families.alone(IMAGES)),
            f1("macro", labels=labels),
        ),
        "micro": (influence.multilabel_micro_f1(*sparse), f1("micro")),
        "samples": (influence.samples_f1(*sparse), f1("samples", zero_division=1)),
    }


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1))
def test_values_and_influence_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        # Of classes that are predicted and do not occur, which scikit-learn leaves out too.
        warnings.simplefilter("ignore", UserWarning)
        for name, (found, weighted) in (single(rng) | several(rng)).items():
            assert found.value == pytest.approx(weighted(np.ones(IMAGES))), name
            for image in range(IMAGES):
                up, down = np.ones(IMAGES), np.ones(IMAGES)
                up[image] += STEP
                down[image] -= STEP
                slope = (weighted(up) - weighted(down)) / (2 * STEP)
                assert found.influence[image] == pytest.approx(slope, abs=1e-6), name
            assert found.influence.sum() == pytest.approx(0, abs=1e-12), name


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_images_and_names_of_families_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, predicted = (rng.integers(0, CLASSES, 60) for _ in range(2))
    family, order = rng.integers(0, 12, 60), rng.permutation(60)
    renamed = rng.permutation(12)[family]
    for metric in (influence.balanced_accuracy, influence.macro_f1):
        first, second = (
            interval_of(metric(t, p, families, num_classes=CLASSES), families)
            for t, p, families in (
                (targets, predicted, Families.by(family)),
                (targets[order], predicted[order], Families.by(renamed[order])),
            )
        )
        assert (first.low, first.high) == pytest.approx((second.low, second.high))


def test_a_class_of_one_image_is_not_certain() -> None:
    targets = np.array([0] * 50 + [1] * 49 + [2])
    predicted = targets.copy()
    predicted[[0, 60]] = 2
    families = Families.alone(100)
    found = influence.balanced_accuracy(targets, predicted, families, num_classes=3)
    # Of the class of one image, r = (1 + v) / 2 and r (1 - r) / 9 is added.
    smooth = (1 + found.value) / 2
    assert found.extra_variance == pytest.approx(smooth * (1 - smooth) / 9, rel=0.02)
    assert found.note == "1 class of fewer than 5 images: rough"
    interval = interval_of(found, families)
    assert interval.low < 0.9
    assert interval.note == found.note


def test_an_image_without_labels_that_is_given_none_is_right() -> None:
    none, one = np.zeros((5, 2), np.int8), np.zeros((5, 2), np.int8)
    one[0, 0] = 1
    assert influence.samples_f1(csr_array(none), csr_array(none)).value == 1
    assert influence.samples_f1(csr_array(one), csr_array(none)).value == pytest.approx(0.8)
    with pytest.raises(MetricError, match="do not go with"):
        influence.samples_f1(csr_array(one), csr_array(none[:4]))
