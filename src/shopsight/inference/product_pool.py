"""One answer for several photos of a product.

The score of a label is the weighted mean of its log-probabilities over the product's photos,

    s_k = sum_i w_i ln p_ik,    ln p_ik = z_ik - ln sum_j exp z_ij,

whose second term is the same for all labels: the probabilities of a product are the softmax of the
weighted mean of logits, divided by a temperature of its own. It is lower than that of photos, since
a mean of several answers is right more often than they are, and no surer by itself. A product with
one photo keeps the temperature and the doubt of photos, and with them the answer for that photo.

The main photo weighs more than each other one (`ProductCalibration.main_weight`). Copies of one
photo share the weight of one. A photo that cannot be read leaves its weight to the others; without
the main photo, the first of them takes its place.

Source: Kittler et al. 1998, "On combining classifiers", for the product rule and its normalization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from shopsight.bundle.format import BundleInfo
from shopsight.bundle.product_calibration import MAIN_WEIGHT
from shopsight.catalog.product_photos import ProductPhotos
from shopsight.errors import ConfigError
from shopsight.inference.agreement import Readout


@dataclass(frozen=True, eq=False)
class PooledProduct:
    """The photos of one product that could be read.

    Attributes:
        number: of the product, see `ProductPhotos`.
        photos: which photos, in their order.
        weights: of each, sum 1.
        logits: of each.
        mean: their weighted mean.
        num_counted: photos, with copies counted once.
    """

    number: int
    photos: Int64[np.ndarray, "m"]
    weights: Float64[np.ndarray, "m"]
    logits: Float32[np.ndarray, "m c"]
    mean: Float64[np.ndarray, "c"]
    num_counted: int


class ProductPool:
    """Collects the logits of photos, and gives each product when its last photo has come.

    Args:
        photos: of all products.
        main_weight: how much a main photo counts.
    """

    def __init__(self, photos: ProductPhotos, *, main_weight: float = MAIN_WEIGHT) -> None:
        self._photos = photos
        self._main_weight = main_weight
        self._missing = photos.sizes
        self._waiting: dict[int, list[tuple[int, Float32[np.ndarray, "c"]]]] = {}

    def add(
        self, photos: Int64[np.ndarray, "b"], logits: Float32[np.ndarray, "b c"]
    ) -> Iterator[PooledProduct]:
        """Add photos that could be read, and give the products that are complete."""
        for photo, row in zip(photos.tolist(), logits, strict=True):
            product = int(self._photos.of_photo[photo])
            self._waiting.setdefault(product, []).append((photo, row))
            yield from self._come(product)

    def skip(self, photo: int) -> Iterator[PooledProduct]:
        """Pass over a photo that could not be read; its product may be complete by that.

        Of a product whose photos are all skipped, nothing is given.
        """
        yield from self._come(int(self._photos.of_photo[photo]))

    def _come(self, product: int) -> Iterator[PooledProduct]:
        self._missing[product] -= 1
        if self._missing[product] or product not in self._waiting:
            return
        found = sorted(self._waiting.pop(product), key=lambda one: one[0])
        rows = np.array([photo for photo, _ in found], np.int64)
        logits = np.stack([row for _, row in found])
        weights, counted = photo_weights(
            self._photos.is_first[rows], self._photos.copy[rows], main_weight=self._main_weight
        )
        # Of one photo the mean is that photo, to the bit.
        mean = logits[0].astype(np.float64) if counted == 1 else weights @ logits.astype(np.float64)
        yield PooledProduct(product, rows, weights, logits, mean, counted)


def photo_weights(
    is_first: Bool[np.ndarray, "m"], copy: Int64[np.ndarray, "m"], *, main_weight: float
) -> tuple[Float64[np.ndarray, "m"], int]:
    """The weights of one product's photos, and how many photos they are without copies.

    Args:
        is_first: whether a photo has position 1; where none has, the first is the main photo.
        copy: equal for copies of one photo.
        main_weight: how much the main photo counts.
    """
    _, index, sizes = np.unique(copy, return_inverse=True, return_counts=True)
    weight = np.ones(len(sizes))
    weight[index[int(np.argmax(is_first))]] = main_weight
    each = (weight / sizes)[index]
    return each / each.sum(), len(sizes)


@dataclass(frozen=True, eq=False)
class ProductReadout:
    """How the mean logits of products are read.

    Attributes:
        photo: of a product with one photo, and of a photo.
        several: of a product with several.
        main_weight: how much a main photo counts.
        is_calibrated: whether validation products decided about it.
    """

    photo: Readout
    several: Readout
    main_weight: float = MAIN_WEIGHT
    is_calibrated: bool = False

    def probabilities(
        self, means: Float64[np.ndarray, "p c"], counted: Int64[np.ndarray, "p"]
    ) -> Float64[np.ndarray, "p c"]:
        """Calibrated probabilities of products.

        Args:
            means: see `PooledProduct.mean`.
            counted: likewise `num_counted`.
        """
        found = np.empty(means.shape)
        alone = counted == 1
        found[alone] = self.photo.probabilities(means[alone])
        found[~alone] = self.several.probabilities(means[~alone])
        return found


def product_readout(info: BundleInfo) -> ProductReadout:
    """How a bundle's answers for several photos are read.

    Where nothing was fitted on products, the temperature is that of photos, and too high.

    Raises:
        ConfigError: an image may have several labels.
    """
    if info.multilabel:
        raise ConfigError(
            "an image may have several labels: products are scored with one label each",
            where="--by product",
            fix="--by image",
        )
    photo = Readout(info.temperature, info.doubt)
    fitted = info.by_product
    if fitted is None:
        return ProductReadout(photo, photo)
    several = Readout(fitted.temperature, info.doubt)
    return ProductReadout(photo, several, fitted.main_weight, is_calibrated=True)
