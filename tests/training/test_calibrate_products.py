"""The temperature of products: fitted on those of several photos, near photos' where few are."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import log_softmax

from shopsight.catalog.catalog import Catalog
from shopsight.training.calibrate import calibrate

LABELS = ("a", "b", "c", "d")


def drawn(
    num_products: int, photos: int, *, seed: int = 0, scale: float = 3.0
) -> tuple[Catalog, np.ndarray]:
    """Photos whose logits are what is true of them, by a noise of their own."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, num_products).repeat(photos)
    logits = scale * (np.eye(4)[truth] + rng.normal(size=(len(truth), 4)))
    table = pl.DataFrame(
        {
            "image": [f"{number}.jpg" for number in range(len(truth))],
            "label": [LABELS[number] for number in truth],
            "group": [str(number // photos) for number in range(len(truth))],
        }
    )
    return Catalog(table, "shop"), logits.astype(np.float32)


def test_products_are_surer_than_photos_and_right_about_it() -> None:
    catalog, logits = drawn(600, 3)
    found = calibrate([logits], catalog, LABELS)
    assert found.by_product is not None
    assert found.by_product.products == 600
    # Noise of variance 1 in a mean of three has a third of it.
    assert found.by_product.temperature / found.temperature < 0.5
    other, others = drawn(600, 3, seed=1)
    means = others.reshape(600, 3, 4).mean(axis=1)
    truth = other.targets(LABELS)[::3]

    def loss(temperature: float) -> float:
        return float(-log_softmax(means / temperature, axis=1)[np.arange(600), truth].mean())

    fitted = loss(found.by_product.temperature)
    assert fitted < loss(found.temperature)
    best = min(loss(temperature) for temperature in np.geomspace(0.1, 10, 200))
    assert fitted < best + 0.01


def test_batches_change_nothing() -> None:
    catalog, logits = drawn(40, 3)
    whole = calibrate([logits], catalog, LABELS)
    assert calibrate(np.array_split(logits, 17), catalog, LABELS) == whole


def test_few_products_keep_the_temperature_of_photos() -> None:
    catalog, logits = drawn(300, 1)
    one = catalog.with_table(
        catalog.table.with_columns(
            group=pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("0")).otherwise("group"),
            label=pl.when(pl.int_range(pl.len()) == 1).then(pl.first("label")).otherwise("label"),
        )
    )
    found = calibrate([logits], one, LABELS)
    assert found.by_product is not None
    assert found.by_product.products == 1
    assert 0.6 < found.by_product.temperature / found.temperature < 1.7


def test_nothing_is_fitted_without_products_of_several_photos() -> None:
    catalog, logits = drawn(50, 1)
    assert calibrate([logits], catalog, LABELS).by_product is None
    without = catalog.with_table(catalog.table.drop("group"))
    assert calibrate([logits], without, LABELS).by_product is None
    # Copies of one photo are one photo.
    catalog, logits = drawn(50, 2)
    copies = np.arange(100) // 2
    assert calibrate([logits], catalog, LABELS, copies=copies).by_product is None


def test_products_of_several_labels_are_not_fitted_on() -> None:
    catalog, logits = drawn(50, 2)
    odd = catalog.with_table(
        catalog.table.with_columns(
            label=pl.when(pl.int_range(pl.len()) == 0)
            .then(pl.lit("a"))
            .when(pl.int_range(pl.len()) == 1)
            .then(pl.lit("b"))
            .otherwise("label")
        )
    )
    found = calibrate([logits], odd, LABELS)
    assert found.by_product is not None
    assert found.by_product.products == 49
