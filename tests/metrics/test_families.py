"""Which images vary together."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.errors import MetricError
from shopsight.metrics.families import Families, connected


def test_links_of_several_kinds_join() -> None:
    groups = np.array([0, 0, 1, 1, -1, -1, 2])
    copies = np.array([5, 6, 6, 7, 8, 8, 9])
    families = Families.linked(7, [groups, copies])
    assert families.of_image.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert (families.count, families.sizes.tolist()) == (3, [4, 2, 1])
    assert not families.are_images


def test_without_links_each_image_is_alone() -> None:
    for families in (
        Families.alone(4),
        Families.linked(4, []),
        Families.linked(4, [np.full(4, -1)]),
    ):
        assert families.of_image.tolist() == [0, 1, 2, 3]
        assert families.are_images
        assert families.effective_count == 4


def test_families_are_numbered_by_their_first_rows() -> None:
    assert connected(5, [np.array([9, 3, 9, 3, 0])]).tolist() == [0, 1, 0, 1, 2]
    assert Families.by(np.array(["b", "a", "b"])).of_image.tolist() == [1, 0, 1]


def test_a_large_family_counts_as_fewer() -> None:
    """40 of 100 images in one family, the rest alone: 100^2 / (40^2 + 60)."""
    sizes = np.concatenate([np.zeros(40, int), np.arange(1, 61)])
    assert Families.by(sizes).effective_count == pytest.approx(10_000 / 1_660)


def test_values_are_summed_within_families() -> None:
    families = Families.by(np.array([0, 1, 0]))
    assert families.sums(np.array([1.0, 2.0, 4.0])).tolist() == [5.0, 2.0]
    with pytest.raises(MetricError, match="2 values do not go with 3 images"):
        families.sums(np.array([1.0, 2.0]))
