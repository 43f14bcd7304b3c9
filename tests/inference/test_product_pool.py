"""One answer for several photos: the mean of log-probabilities, copies once, main photo first."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax, softmax

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import ProductPhotos, product_photos
from shopsight.inference.agreement import Readout
from shopsight.inference.product_pool import (
    PooledProduct,
    ProductPool,
    ProductReadout,
    photo_weights,
)
from shopsight.inference.product_predictions import deciding_photo

RNG = np.random.default_rng(3)


def photos_of(
    *groups: str, copies: list[int] | None = None, main: int | None = None
) -> ProductPhotos:
    columns = {"image": [f"{number}.jpg" for number in range(len(groups))], "group": groups}
    if main is not None:
        columns["position"] = [1 if number == main else 2 for number in range(len(groups))]
    found = product_photos(
        Catalog(pl.DataFrame(columns), "shop"), None if copies is None else np.array(copies)
    )
    assert found is not None
    return found


def pooled(photos: ProductPhotos, logits: np.ndarray, **options: float) -> list[PooledProduct]:
    return list(ProductPool(photos, **options).add(np.arange(len(logits)), logits))


def test_probabilities_are_those_of_the_weighted_mean_of_log_probabilities() -> None:
    logits = RNG.normal(size=(3, 4)).astype(np.float32)
    (found,) = pooled(photos_of("a", "a", "a", main=1), logits, main_weight=2.0)
    assert found.weights.tolist() == [0.25, 0.5, 0.25]
    temperature = 0.6
    slow = sum(
        weight * log_softmax(row.astype(np.float64))
        for weight, row in zip(found.weights, logits, strict=True)
    )
    readout = ProductReadout(Readout(1.1), Readout(temperature))
    fast = readout.probabilities(found.mean[None], np.array([3]))[0]
    np.testing.assert_allclose(fast, softmax(slow / temperature), rtol=1e-12)


def test_a_product_of_one_photo_has_the_answer_for_that_photo_to_the_bit() -> None:
    photo = Readout(0.7, 0.01)
    readout = ProductReadout(photo, Readout(0.3, 0.01))
    logits = RNG.normal(size=(1, 5)).astype(np.float32)
    (alone,) = pooled(photos_of("a"), logits)
    answer = readout.probabilities(alone.mean[None], np.array([alone.num_counted]))
    np.testing.assert_array_equal(answer, photo.probabilities(logits))
    # And so has one of two equal files.
    (twice,) = pooled(photos_of("a", "a", copies=[5, 5]), np.repeat(logits, 2, axis=0))
    assert twice.num_counted == 1
    answer = readout.probabilities(twice.mean[None], np.array([twice.num_counted]))
    np.testing.assert_array_equal(answer, photo.probabilities(logits))


def test_copies_share_the_weight_of_one_photo() -> None:
    weights, counted = photo_weights(np.zeros(4, bool), np.array([9, 3, 3, 3]), main_weight=1.0)
    assert counted == 2
    np.testing.assert_allclose(weights, [1 / 2, 1 / 6, 1 / 6, 1 / 6])
    # A copy of the main photo is the main photo too.
    weights, _ = photo_weights(np.array([False, True, False]), np.array([1, 2, 1]), main_weight=3.0)
    np.testing.assert_allclose(weights, [1 / 8, 3 / 4, 1 / 8])


def test_without_position_one_the_first_photo_is_the_main_one() -> None:
    weights, _ = photo_weights(np.zeros(3, bool), np.arange(3), main_weight=2.0)
    np.testing.assert_allclose(weights, [1 / 2, 1 / 4, 1 / 4])


def test_a_product_is_given_when_its_last_photo_came_or_could_not_be_read() -> None:
    photos = photos_of("a", "b", "a", "b")
    logits = RNG.normal(size=(4, 3)).astype(np.float32)
    pool = ProductPool(photos)
    assert list(pool.add(np.array([0, 1]), logits[:2])) == []
    (first,) = pool.add(np.array([2]), logits[2:3])
    assert (first.number, first.photos.tolist()) == (0, [0, 2])
    (second,) = pool.skip(3)
    assert (second.number, second.photos.tolist(), second.num_counted) == (1, [1], 1)
    np.testing.assert_array_equal(second.mean, logits[1])


def test_unreadable_photos_leave_the_others_as_if_they_were_not_there() -> None:
    logits = RNG.normal(size=(2, 3)).astype(np.float32)
    (whole,) = pooled(photos_of("a", "a"), logits)
    pool = ProductPool(photos_of("a", "a", "a", main=0))
    assert list(pool.skip(0)) == []
    (rest,) = pool.add(np.array([1, 2]), logits)
    np.testing.assert_array_equal(rest.mean, whole.mean)
    nothing = ProductPool(photos_of("a", "a"))
    assert [*nothing.skip(0), *nothing.skip(1)] == []


def test_the_photo_that_decided_did_most_for_the_best_label_against_the_next() -> None:
    logits = np.array([[2.0, 1.0, 0.0], [9.0, 9.0, 0.0], [1.0, 3.0, 0.0]], np.float32)
    (found,) = pooled(photos_of("a", "a", "a"), logits, main_weight=1.0)
    order = np.argsort(-found.mean)
    assert order[:2].tolist() == [1, 0]
    assert deciding_photo(found, order) == 2
    # Twice the weight on another photo turns it over.
    (found,) = pooled(photos_of("a", "a", "a"), logits, main_weight=4.0)
    order = np.argsort(-found.mean)
    assert order[0] == 0
    assert deciding_photo(found, order) == 0


@pytest.mark.parametrize("orders", range(5))
def test_the_order_in_which_photos_come_changes_nothing(orders: int) -> None:
    photos = photos_of("a", "b", "a", "b", "a", main=2)
    logits = RNG.normal(size=(5, 3)).astype(np.float32)
    straight = {one.number: one.mean for one in pooled(photos, logits)}
    order = np.random.default_rng(orders).permutation(5)
    mixed = {one.number: one.mean for one in ProductPool(photos).add(order, logits[order])}
    for number, mean in straight.items():
        np.testing.assert_array_equal(mixed[number], mean)
