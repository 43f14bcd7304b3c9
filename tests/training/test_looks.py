from __future__ import annotations

import numpy as np
import pytest

from shopsight.metrics.families import Families
from shopsight.training import looks as module
from shopsight.training.looks import looks_of


def visits(per_visit: int, *, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Features, classes and visits of photos: three visits to the shop for each class."""
    rng = np.random.default_rng(seed)
    visit = np.repeat(np.arange(3 * classes), per_visit)
    centers = rng.standard_normal((3 * classes, 16)) * 3
    features = centers[visit] + rng.standard_normal((len(visit), 16)) * 0.3
    return features.astype(np.float32), visit // 3, visit


@pytest.mark.parametrize("per_visit", [2, 5])
def test_photos_of_one_visit_are_one_family(per_visit: int) -> None:
    features, classes, visit = visits(per_visit)
    order = np.random.default_rng(1).permutation(len(visit))
    found = looks_of(features[order], classes[order], Families.alone(len(visit)))
    joined = found.of_image[:, None] == found.of_image
    assert (joined == (visit[order][:, None] == visit[order])).all()


def test_alike_photos_of_two_classes_stay_apart_unless_they_are_a_family() -> None:
    features, _, visit = visits(4)
    classes = np.arange(len(visit)) % 2
    found = looks_of(features, classes, Families.alone(len(visit)))
    for one in range(found.count):
        assert len(set(classes[found.of_image == one])) == 1
    linked = Families.by(np.where(np.arange(len(visit)) < 2, 0, np.arange(len(visit))))
    assert len(set(looks_of(features, classes, linked).of_image[:2])) == 1


def test_a_class_of_few_photos_can_be_divided() -> None:
    features = np.ones((5, 4), np.float32)
    found = looks_of(features, np.array([0, 0, 0, 1, 1]), Families.alone(5))
    assert found.count == 5
    # A network may see nothing at all in some.
    features = np.zeros((8, 4), np.float32)
    features[:2] = 1.0
    assert looks_of(features, np.zeros(8, np.int64), Families.alone(8)).count <= 3


def test_large_classes_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 30)
    features, classes, _ = visits(20, classes=2)
    found = looks_of(features, classes, Families.alone(len(classes)))
    assert found.num_images == 120
    # Each piece of 30 photos has six looks at most.
    assert found.sizes.max() <= 30
    assert 12 <= found.count <= 24
