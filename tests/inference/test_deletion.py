"""Which pixels a map calls strongest, and what covering them leaves."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.images.undo_preprocess import InSquare
from shopsight.inference.deletion import heat_in_square, hottest_first, top_share, with_covered

WHOLE = InSquare(0, 0, 8, 8)


def test_the_strongest_come_first_and_are_covered() -> None:
    cells = np.array([[0.0, 4.0], [1.0, -2.0]], np.float32)
    order = hottest_first(heat_in_square(cells, WHOLE, 8))
    assert sorted(order.tolist()) == list(range(64))
    square = np.zeros((8, 8, 3), np.uint8)
    color = np.array([9, 8, 7], np.uint8)
    covered = with_covered(square, order, 0.25, color=color)
    assert (covered == color).all(axis=2).sum() == 16
    assert (covered[:2, 6:] == color).all()  # The upper right corner.
    assert not (covered[4:, 4:] == color).any()
    assert not square.any()


def test_borders_that_were_added_do_not_count() -> None:
    heat = heat_in_square(np.ones((2, 2), np.float32), InSquare(0, 2, 8, 4), 8)
    assert np.isfinite(heat).sum() == 32
    assert np.isnan(heat[:2]).all()
    assert np.isnan(heat[6:]).all()


def test_an_image_thinner_than_a_pixel_keeps_one() -> None:
    heat = heat_in_square(np.ones((2, 2), np.float32), InSquare(4.6, 0, 0.2, 0.2), 8)
    assert len(hottest_first(heat)) == 1


def test_share_of_the_strongest_fifth() -> None:
    assert top_share(np.ones((10, 10), np.float32)) == pytest.approx(0.2)
    one = np.full((10, 10), -1, np.float32)
    assert top_share(one) is None
    one[3, 3] = 5
    assert top_share(one) == pytest.approx(1.0)
