"""Scores of paths against a slow version on sets of ancestors."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.errors import MetricError
from shopsight.label_tree import LabelTree, path_parts
from shopsight.metrics.estimates import interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.hierarchy import first_mistake, hierarchy_estimates, level_hits

LABELS = (
    "Apparel > Dresses",
    "Apparel > Shoes > Boots",
    "Apparel > Shoes > Clogs",
    "Bags",
    "Jewelry",
    "Jewelry > Rings",
    "Pets > Shoes",
)
STEP = 1e-6


def tree() -> LabelTree:
    found = LabelTree.of(LABELS)
    assert found is not None
    return found


def sample(seed: int = 0, images: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, len(LABELS), images)
    predicted = np.where(rng.random(images) < 0.6, targets, rng.integers(0, len(LABELS), images))
    return targets, predicted


def ancestors(label: str) -> set[tuple[str, ...]]:
    parts = path_parts(label)
    return {parts[:depth] for depth in range(1, len(parts) + 1)}


def slow(targets: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """The definitions word for word, over sets of ancestors; an image counts by its weight."""
    both = true = given = 0.0
    for t, p, w in zip(targets, predicted, weights, strict=True):
        truth, answer = ancestors(LABELS[t]), ancestors(LABELS[p])
        both += w * len(truth & answer)
        true += w * len(truth)
        given += w * len(answer)
    precision, recall = both / given, both / true
    found = {
        "hierarchical_precision": precision,
        "hierarchical_recall": recall,
        "hierarchical_f1": 2 * precision * recall / (precision + recall),
    }
    for level in (1, 2):
        right = [
            path_parts(LABELS[t])[:level] == path_parts(LABELS[p])[:level]
            for t, p in zip(targets, predicted, strict=True)
        ]
        found[f"level_{level}_accuracy"] = float(np.average(right, weights=weights))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_slow_version(seed: int) -> None:
    targets, predicted = sample(seed)
    found = hierarchy_estimates(tree(), targets, predicted)
    expected = slow(targets, predicted, np.ones(len(targets)))
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


def test_the_influence_is_the_derivative_by_the_weight_of_an_image() -> None:
    targets, predicted = sample(images=25)
    ones = np.ones(25)
    for name, estimate in hierarchy_estimates(tree(), targets, predicted).items():
        assert estimate.influence.sum() == pytest.approx(0, abs=1e-12)
        for image in range(25):
            more = ones.copy()
            more[image] += STEP
            change = slow(targets, predicted, more)[name] - slow(targets, predicted, ones)[name]
            assert estimate.influence[image] == pytest.approx(change / STEP, rel=1e-3, abs=1e-5)


def test_too_much_costs_precision_and_too_little_recall() -> None:
    jewelry, rings = LABELS.index("Jewelry"), LABELS.index("Jewelry > Rings")
    too_much = hierarchy_estimates(tree(), np.array([jewelry]), np.array([rings]))
    assert too_much["hierarchical_precision"].value == 0.5
    assert too_much["hierarchical_recall"].value == 1.0
    too_little = hierarchy_estimates(tree(), np.array([rings]), np.array([jewelry]))
    assert too_little["hierarchical_precision"].value == 1.0
    assert too_little["hierarchical_recall"].value == 0.5
    # The same name under another parent is another node.
    pets, clogs = LABELS.index("Pets > Shoes"), LABELS.index("Apparel > Shoes > Clogs")
    apart = hierarchy_estimates(tree(), np.array([clogs]), np.array([pets]))
    assert apart["hierarchical_f1"].value == 0.0


def test_accuracy_falls_from_level_to_level_and_ends_with_whole_labels() -> None:
    targets, predicted = sample(3)
    hits = [level_hits(tree(), targets, predicted, level=level) for level in (1, 2, 3)]
    assert (hits[0] >= hits[1]).all()
    assert (hits[1] >= hits[2]).all()
    assert (hits[2] == (targets == predicted)).all()


def test_intervals_hold_the_value_and_families_widen_them() -> None:
    targets, predicted = sample(images=60)
    alone, pairs = Families.alone(300), Families(np.repeat(np.arange(60), 5))
    once = hierarchy_estimates(tree(), np.repeat(targets, 5), np.repeat(predicted, 5))
    for estimate in once.values():
        narrow, wide = interval_of(estimate, alone), interval_of(estimate, pairs)
        assert wide.low < narrow.low < estimate.value < narrow.high < wide.high


def test_the_level_of_the_first_mistake() -> None:
    at = {label: index for index, label in enumerate(LABELS)}
    pairs = [
        ("Bags", "Jewelry", 1),
        ("Pets > Shoes", "Apparel > Shoes > Clogs", 1),
        ("Apparel > Dresses", "Apparel > Shoes > Boots", 2),
        ("Jewelry", "Jewelry > Rings", 2),
        ("Jewelry > Rings", "Jewelry", 2),
        ("Apparel > Shoes > Boots", "Apparel > Shoes > Clogs", 3),
    ]
    targets = np.array([at[true] for true, _, _ in pairs] + [0, 1, 2])
    predicted = np.array([at[given] for _, given, _ in pairs] + [0, 1, 2])
    found = first_mistake(tree(), targets, predicted, Families.alone(len(targets)))
    assert found is not None
    assert found.value == pytest.approx(np.mean([level for _, _, level in pairs]))
    assert 1 <= found.low < found.value < found.high <= 3
    few = first_mistake(tree(), targets[:2], predicted[:2], Families.alone(2))
    assert few is not None
    assert (few.value, few.reason) == (1.0, "mistakes in 2 images: 5 are needed")
    assert first_mistake(tree(), targets[6:], predicted[6:], Families.alone(3)) is None


def test_no_images_are_an_error() -> None:
    empty = np.empty(0, np.int64)
    with pytest.raises(MetricError, match="no images"):
        hierarchy_estimates(tree(), empty, empty)
