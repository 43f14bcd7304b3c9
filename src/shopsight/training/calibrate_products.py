"""The temperature of products of several photos, fitted on those of the validation part.

Products are scored by the weighted mean of their photos' logits (`shopsight.inference.
product_pool`), which is right more often than a photo's and as sure as one: at the temperature of
photos it would claim too little. What is fitted is the ratio of both temperatures, with the prior
of `shopsight.metrics.temperature` around 1: few products leave the temperature of photos.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from shopsight.bundle.product_calibration import MAIN_WEIGHT, ProductCalibration
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import (
    ProductPhotos,
    are_products,
    product_photos,
    several_labels,
)
from shopsight.inference.product_pool import ProductPool
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import fit_temperature
from shopsight.targets import stratified_sample

MOST_PRODUCTS = 10_000
MOST_LOGITS = 1 << 25
"""Of the products that are kept, at most: 268 MB."""


class ProductLogits:
    """Collects the mean logits of validation products, as their photos pass by.

    Args:
        photos: of the validation part.
        targets: the class of each photo.
        wanted: which products to keep.
    """

    def __init__(
        self,
        photos: ProductPhotos,
        targets: Int64[np.ndarray, "n"],
        wanted: Bool[np.ndarray, "p"],
    ) -> None:
        self._targets = targets
        # Of wanted products alone.
        self._rows = np.flatnonzero(wanted[photos.of_photo])
        self._pool = ProductPool(photos.take(self._rows))
        self._means = list[Float64[np.ndarray, "c"]]()
        self._firsts = list[int]()

    @classmethod
    def of(
        cls,
        images: Catalog,
        targets: Int64[np.ndarray, "n"],
        copies: Int64[np.ndarray, "n"] | None,
        *,
        num_classes: int,
    ) -> ProductLogits | None:
        """For the products of several photos with one label; None where there are none.

        Args:
            images: of the validation part.
            targets: the class of each.
            copies: equal for copies of one image; None: none is one.
            num_classes: number of classes.
        """
        photos = product_photos(images, copies)
        if photos is None or not are_products(images, photos):
            return None
        fit = np.flatnonzero((photos.sizes > 1) & ~several_labels(images, photos))
        first = np.full(len(photos), -1)
        first[photos.of_photo[::-1]] = np.arange(photos.num_photos)[::-1]
        most = min(MOST_PRODUCTS, max(1, MOST_LOGITS // num_classes))
        wanted = np.zeros(len(photos), bool)
        wanted[fit[stratified_sample(targets[first[fit]], most)]] = True
        return cls(photos, targets, wanted)

    def add(self, rows: Int64[np.ndarray, "b"], logits: Float32[np.ndarray, "b c"]) -> None:
        """Add the next images, of whatever products."""
        places = np.searchsorted(self._rows, rows)
        found = np.append(self._rows, -1)[places] == rows
        for pooled in self._pool.add(places[found], logits[found]):
            # Copies of one photo are one: photos have fitted what is said of them.
            if pooled.num_counted > 1:
                self._means.append(pooled.mean)
                self._firsts.append(int(self._rows[pooled.photos[0]]))

    def calibration(self, temperature: float, families: Families) -> ProductCalibration | None:
        """What they say; None where no product has several photos.

        Args:
            temperature: of photos.
            families: of the validation images.
        """
        if not self._means:
            return None
        firsts = np.array(self._firsts)
        fitted = fit_temperature(
            np.stack(self._means) / temperature, self._targets[firsts], families.take(firsts)
        )
        return ProductCalibration(
            temperature=fitted.value * temperature,
            main_weight=MAIN_WEIGHT,
            products=len(firsts),
        )
