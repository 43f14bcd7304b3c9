from __future__ import annotations

import numpy as np
import pytest

from shopsight.words.pairs import ImageSpread, WordPairs, centered_cosines, class_texts
from shopsight.words.word_table import open_word_table

pytest.importorskip("wordllama")
pytest.importorskip("tokenizers")


def test_texts_are_means_of_their_tokens() -> None:
    table = open_word_table()
    ids = table.tokenizer.encode("red dress", add_special_tokens=False).ids
    mean = table.vectors[ids].mean(axis=0)
    (found,) = table.embed(["red dress"])
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    empty, blank = table.embed(["", "  "])
    assert not empty.any()
    assert not blank.any() or np.linalg.norm(blank) == pytest.approx(1, abs=1e-5)
    assert table.embed([]).shape == (0, 256)


def test_words_are_written_in_the_form_that_is_cut_least() -> None:
    table = open_word_table()
    for plural, singular in (("Dresses", "dress"), ("SHOE", "shoe"), ("berries", "berry")):
        near = table.embed([plural, singular])
        pieces = [
            len(table.tokenizer.encode(w, add_special_tokens=False).ids) for w in (plural, singular)
        ]
        if pieces[1] < pieces[0]:
            assert near[0] @ near[1] == pytest.approx(1, abs=1e-5), plural


def test_a_known_word_gives_its_direction_and_synonyms_are_one_class() -> None:
    table = open_word_table()
    names = ["shoe, sneaker", "banana", "car, automobile"]
    rows = np.eye(3, 8, dtype=np.float32)
    pairs = WordPairs.of_classes(names, rows, table)
    assert len(pairs) == 3
    found = pairs.directions_of(table.embed(["banana", "sneaker", ""]))
    centered = rows - rows.mean(axis=0)
    assert np.argmax(found[0] @ centered.T) == 1
    assert np.argmax(found[1] @ centered.T) == 0
    assert not found[2].any()
    one = class_texts(["shoe, sneaker"], table)[0]
    assert one @ table.embed(["sneaker"])[0] > 0.5


def test_cosines_are_from_the_center() -> None:
    rng = np.random.default_rng(0)
    images, center = rng.normal(size=(5, 4)).astype(np.float32), np.full(4, 0.3, np.float32)
    direction = np.array([[0.0, 1.0, 0.0, 0.0]], np.float32)
    found = centered_cosines(direction, images, center)
    moved = images - center
    np.testing.assert_allclose(found[0], moved[:, 1] / np.linalg.norm(moved, axis=1), atol=1e-5)


def test_a_catalogs_labels_join_words_to_images() -> None:
    table = open_word_table()
    means = np.array([[1.0, 0.2, 0.0], [0.0, 0.2, 1.0]], np.float32)
    pairs = WordPairs.of_images(["sofa", "lamp"], means, ImageSpread.of(means), table)
    (couch,) = pairs.directions_of(table.embed(["couch"]))
    assert couch @ (means[0] - means[1]) > 0


def test_discriminants_are_those_of_the_shrunken_covariance() -> None:
    rng = np.random.default_rng(0)
    images = (rng.normal(size=(40, 6)) * [5, 1, 1, 1, 0.5, 0.1]).astype(np.float32)
    means = images[:20].reshape(4, 5, 6).mean(axis=1)
    spread = ImageSpread.of(images)
    shrunken = np.cov(images, rowvar=False, bias=True)
    ridge = (1 + 6 / 40) * np.trace(shrunken) / 6
    exact = np.linalg.inv(shrunken + ridge * np.eye(6)) @ (means - images.mean(axis=0)).T
    found = spread.discriminants(means)
    lengths = np.linalg.norm(exact, axis=0)
    np.testing.assert_allclose(
        found / np.linalg.norm(found, axis=1)[:, None], (exact / lengths).T, atol=1e-5
    )


def test_discriminants_see_past_what_varies_in_all_images() -> None:
    """Two kinds differ in one direction, and light differs in another one, twenty times as much."""
    rng = np.random.default_rng(1)
    kinds = np.repeat([-1.0, 1.0], 100)
    light = rng.normal(scale=20, size=200)
    images = np.stack([light, kinds], axis=1).astype(np.float32)
    means = np.stack([images[kinds < 0][:10].mean(axis=0), images[kinds > 0][:10].mean(axis=0)])
    spread = ImageSpread.of(images)

    def right(directions: np.ndarray) -> float:
        return float(
            (((images - spread.center) @ directions.T).argmax(axis=1) == (kinds > 0)).mean()
        )

    assert right(means - spread.center) < 0.7
    assert right(spread.discriminants(means)) > right(means - spread.center)


def test_of_few_or_equal_images_discriminants_are_the_means() -> None:
    rng = np.random.default_rng(2)
    few = rng.normal(size=(3, 500)).astype(np.float32)
    spread = ImageSpread.of(few)
    moved = few - spread.center
    found = spread.discriminants(few)
    cosines = np.einsum("nd,nd->n", moved, found) / (
        np.linalg.norm(moved, axis=1) * np.linalg.norm(found, axis=1)
    )
    assert (cosines > 0.95).all()
    one = ImageSpread.of(np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(one.discriminants(np.eye(3, dtype=np.float32)), np.eye(3) - 1)
