"""What training does with a catalog besides its network: targets, sampling, probe, calibration.

Features and logits are drawn: what a photo or a network costs is not measured here. Where a
function no longer is what it was, the work is the same question asked of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
from scale.data import catalog_of, several_of
from scaling import Function, classes_of

WIDTH = 64
VALIDATION = 0.1
BATCH = 64
SEVERAL = 3


def codes_of(rows: int) -> np.ndarray:
    """Classes, commoner and rarer ones."""
    skewed = np.random.default_rng(0).beta(0.8, 1.4, rows)
    return (skewed * classes_of(rows)).astype(np.int64)


def targets(catalog: Any) -> object:
    """The labels as numbers, as a training keeps them: before, the table of the probe as well."""
    found = catalog.targets(catalog.labels)
    probe = import_module("shopsight.training.probe")
    return probe.one_hot(found, catalog.labels) if hasattr(probe, "one_hot") else found


def sampling(catalog: Any) -> object:
    """Counts of the classes, and an epoch that draws all of them alike."""
    from shopsight.loading.class_sampling import ClassSampling

    labels = catalog.labels
    chosen = ClassSampling(catalog.targets(labels), num_classes=len(labels), sampling="balanced")
    return chosen.sample(seed=0, epoch=0)


def batches(catalog: Any) -> object:
    """Dense targets of the batches of an epoch."""
    from shopsight.targets import dense_rows

    found, labels = catalog.targets(catalog.labels), len(catalog.labels)
    order = np.random.default_rng(0).permutation(len(catalog))
    for first in range(0, len(order), BATCH):
        dense_rows(found, order[first : first + BATCH], num_classes=labels)
    return found


def features_of(rows: int) -> tuple[Any, np.ndarray]:
    import torch

    features = torch.from_numpy(np.random.default_rng(1).random((rows, WIDTH), np.float32))
    return features, codes_of(rows)


def a_pass(given: tuple[Any, np.ndarray]) -> object:
    """One pass of the probe over a hundredth of the images, of 64 features each."""
    import torch

    from shopsight.training.probe import _loss_with_gradient
    from shopsight.training.standard_rows import StandardRows

    features, codes = given
    classes = classes_of(len(codes))
    part = slice(0, max(len(codes) // 100, 100))
    weight = torch.full((len(codes[part]),), 1 / len(codes[part]))
    rows = StandardRows(features[part], codes[part], weight, num_classes=classes)
    solution = torch.zeros(rows.width + 1, classes, requires_grad=True)
    return _loss_with_gradient(solution, rows, 1e-3, None)


def validation_of(rows: int, *, several: bool = False) -> tuple[Any, int]:
    """The validation images of so many, and the number of their classes."""
    catalog = several_of(rows) if several else catalog_of(rows)
    part = catalog.take(np.arange(max(int(VALIDATION * rows), BATCH)))
    return part, catalog.labels


def logits(images: int, classes: int) -> Iterator[np.ndarray]:
    """Drawn again and again, so that they cost nothing themselves."""
    drawn = np.random.default_rng(2).standard_normal((4 * BATCH, classes), np.float32)
    for first in range(0, images, BATCH):
        count = min(BATCH, images - first)
        start = (first // BATCH * 7) % (3 * BATCH)
        yield drawn[start : start + count]


def calibration(given: tuple[Any, Any]) -> object:
    """Temperature (and thresholds) of the validation images, from batches of their logits."""
    part, labels = given
    passing = logits(len(part), len(labels))
    finish = import_module("shopsight.training.finish")
    if hasattr(finish, "calibrate"):
        return finish.calibrate(np.concatenate(list(passing)), part, labels)
    return import_module("shopsight.training.calibrate").calibrate(passing, part, labels)


def several(build: Callable[..., Any]) -> Callable[[int], Any]:
    return lambda rows: build(rows, several=True)


FUNCTIONS = (
    Function("targets", catalog_of, targets),
    Function("targets, several labels", several_of, targets),
    Function("sampling of classes", catalog_of, sampling),
    Function("sampling, several labels", several_of, sampling),
    Function(
        "dense targets of an epoch's batches",
        catalog_of,
        batches,
        why="batches of 10,000 classes are wider than those of 100",
    ),
    Function("probe, a pass over 1 %", features_of, a_pass, why="images times classes"),
    Function(
        "calibration",
        validation_of,
        calibration,
        why="images times classes, until the sample is full",
    ),
    Function(
        "calibration, several labels",
        several(validation_of),
        calibration,
        why="images times labels",
    ),
)
