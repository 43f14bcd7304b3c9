"""The score of an epoch: images that ask for others of their class."""

from __future__ import annotations

import numpy as np
import pytest

from shopsight.errors import SplitError
from shopsight.training.retrieval_score import (
    MOST_IMAGES,
    RetrievalSet,
    check_retrieval,
    retrieval_figures,
)


class NoPixels:
    size_px = 8
    mode = "off"

    def __len__(self) -> int:
        return 0

    def gather(self, rows: np.ndarray) -> np.ndarray:
        raise AssertionError("no pixel is needed")


def images(classes: list[int], copies: list[int] | None = None) -> RetrievalSet:
    own = np.arange(len(classes)) if copies is None else np.array(copies)
    shown = np.array(classes, np.int64)
    return RetrievalSet(NoPixels(), np.arange(len(shown)), shown, own)  # type: ignore[arg-type]


def unit(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(np.array(degrees, np.float32))
    return 3.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_each_image_asks_for_the_others_of_its_class() -> None:
    # 0 finds 10 first; 10 finds 0 first; 40 finds 45 first, which finds 40; 100 has no other.
    found = retrieval_figures(unit(0, 10, 40, 45, 100), images([0, 0, 1, 1, 2]))
    assert found == {"val_map": 1.0, "val_recall_at_1": 1.0}
    # 0: 10 is wrong, 40 right at rank 2. 40: 45 right at rank... of its own: 10 is nearer than 0.
    mixed = retrieval_figures(unit(0, 10, 40, 45), images([0, 1, 0, 1]))
    assert mixed["val_recall_at_1"] == 0.0
    # Ranks of the right ones: 40 for 0 is 2nd, 45 for 10 3rd, 0 for 40 3rd, 10 for 45 2nd.
    assert mixed["val_map"] == pytest.approx(np.mean([1 / 2, 1 / 3, 1 / 3, 1 / 2]))


def test_copies_of_an_image_are_neither_right_nor_wrong() -> None:
    vectors, classes = unit(0, 0, 20, 10), [0, 0, 0, 1]
    plain = retrieval_figures(vectors, images(classes))
    junk = retrieval_figures(vectors, images(classes, copies=[7, 7, 8, 9]))
    assert plain["val_recall_at_1"] == pytest.approx(2 / 3)
    assert junk["val_recall_at_1"] == 0.0


def test_a_network_that_gives_zeros_finds_nothing_and_ends_nothing() -> None:
    found = retrieval_figures(np.zeros((4, 2), np.float32), images([0, 1, 1, 0]))
    assert 0.0 <= found["val_map"] < 1.0
    lone = retrieval_figures(unit(0, 10), images([0, 1]))
    assert lone == {"val_map": 0.0, "val_recall_at_1": 0.0}


def test_large_sets_are_cut_to_whole_classes() -> None:
    whole = images(np.repeat(np.arange(900), 10).tolist())
    cut = whole.cut(seed=0)
    assert len(cut.rows) == MOST_IMAGES
    assert set(np.bincount(cut.classes)) == {0, 10}
    assert cut.rows.tolist() == whole.cut(seed=0).rows.tolist()
    assert images([0, 0, 1]).cut(seed=0).rows.tolist() == [0, 1, 2]


def test_images_that_have_none_to_find_are_refused() -> None:
    def check(found: RetrievalSet) -> None:
        check_retrieval(found.classes, found.copies, where="photos")

    check(images([0, 0, 1]))
    for lonely in (images([0, 1, 2]), images([0, 0, 1], copies=[5, 5, 6])):
        with pytest.raises(SplitError, match="no class has two images to score retrieval with"):
            check(lonely)
    for few in ([], [0, 0, 0]):
        with pytest.raises(SplitError, match=r"class.* to score retrieval with: whatever is found"):
            check(images(few))
