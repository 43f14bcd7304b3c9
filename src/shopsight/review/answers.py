"""What a model answers for each product, and whether it had learned from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from shopsight.catalog.product_photos import ProductPhotos
from shopsight.inference.product_pool import PooledProduct, ProductPool, ProductReadout

Judge = Literal["out of fold", "not seen", "seen"]
"""By whom a product is judged.

"out of fold": a network, or a head on a frozen backbone, that did not train on it. "not seen": the
run's own network, which did not train on it. "seen": a new head that did not, on a backbone that
did; its answers are too close to what the product was labeled.
"""


@dataclass(frozen=True, eq=False)
class ProductAnswers:
    """Answers for p products, over c labels.

    Attributes:
        labels: in the order of the probabilities.
        names: the keys of the products.
        probabilities: calibrated for products.
        judges: by whom.
        family: equal for products that are right or wrong together.
        given: the label that each was trained with.
        first_photo: the row of its main photo in the catalog.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    probabilities: Float32[np.ndarray, "p c"]
    judges: tuple[Judge, ...]
    family: Int64[np.ndarray, "p"]
    given: tuple[str, ...]
    first_photo: Int64[np.ndarray, "p"]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class PooledAnswers:
    """What the photos of some products say together.

    Attributes:
        product: the number of each product among all.
        probabilities: calibrated for products.
        first_photo: the row of each product's main photo.
    """

    product: Int64[np.ndarray, "p"]
    probabilities: Float64[np.ndarray, "p c"]
    first_photo: Int64[np.ndarray, "p"]


def pool_photos(
    photos: ProductPhotos,
    rows: Int64[np.ndarray, "m"],
    logits: Float32[np.ndarray, "m c"],
    readout: ProductReadout,
) -> PooledAnswers:
    """Pool the logits of photos to the answers of their products.

    Args:
        photos: of all products.
        rows: which photos the logits are of; of a product all, or none.
        logits: of these.
        readout: how means of logits are read.
    """
    some = photos.take(rows)
    found = list(_pooled(some, logits, readout.main_weight))
    firsts = np.array([_main_photo(some, one) for one in found], np.int64)
    probabilities = (
        readout.probabilities(
            np.stack([one.mean for one in found]), np.array([one.num_counted for one in found])
        )
        if found
        else np.empty((0, logits.shape[1]))
    )
    return PooledAnswers(photos.of_photo[rows[firsts]], probabilities, rows[firsts])


def _pooled(
    photos: ProductPhotos, logits: Float32[np.ndarray, "m c"], main_weight: float
) -> Iterator[PooledProduct]:
    pool = ProductPool(photos, main_weight=main_weight)
    yield from pool.add(np.arange(len(logits)), logits)


def _main_photo(photos: ProductPhotos, pooled: PooledProduct) -> int:
    return int(pooled.photos[int(np.argmax(photos.is_first[pooled.photos]))])
