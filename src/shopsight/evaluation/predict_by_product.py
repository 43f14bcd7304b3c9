"""The answers for products, made from those for their photos while these pass by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import (
    ProductPhotos,
    are_products,
    product_photos,
    several_labels,
)
from shopsight.evaluation.answer_columns import OneLabelColumns
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.predictions_check import PHOTO_ROWS
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import PooledProduct, ProductPool, product_readout

PRODUCTS_AT_ONCE = 1024


class CatalogProducts:
    """Listens to the logits of a part's photos, and gives a table with a row per product.

    Products whose photos have several labels are left out: none of them would be right.

    Args:
        predictor: the model, with one label per image.
        part: the images.
        rows: their rows in the whole catalog.
        photos: the products of the images.
    """

    def __init__(
        self,
        predictor: Predictor,
        part: Catalog,
        rows: Int64[np.ndarray, "m"],
        photos: ProductPhotos,
    ) -> None:
        scored = np.flatnonzero(~several_labels(part, photos)[photos.of_photo])
        self._part, self._rows, self._scored = part, rows, scored
        self._photos = photos.take(scored)
        self._predictor, self._readout = predictor, product_readout(predictor.info)
        self._pool = ProductPool(self._photos, main_weight=self._readout.main_weight)
        self._targets = part.take(scored).targets(predictor.labels)
        self._columns = OneLabelColumns(predictor.labels)
        self._waiting = list[PooledProduct]()
        self._tables = list[pl.DataFrame]()

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        part: Catalog,
        rows: Int64[np.ndarray, "m"],
        copies: Int64[np.ndarray, "m"] | None,
    ) -> CatalogProducts | None:
        """None where there are no products of several photos, or images have several labels."""
        if predictor.info.multilabel:
            return None
        photos = product_photos(part, copies)
        if photos is None or not are_products(part, photos):
            return None
        return cls(predictor, part, rows, photos)

    def listening(
        self, logits: Iterable[Float32[np.ndarray, "b c"]]
    ) -> Iterator[Float32[np.ndarray, "b c"]]:
        """The same batches, of all images in their order."""
        done = 0
        for some in logits:
            images = np.arange(done, done + len(some))
            places = np.searchsorted(self._scored, images)
            found = np.append(self._scored, -1)[places] == images
            for pooled in self._pool.add(places[found], some[found]):
                self._waiting.append(pooled)
                if len(self._waiting) == PRODUCTS_AT_ONCE:
                    self._settle()
            done += len(some)
            yield some

    def predictions(self, *, split: str, catalog: Catalog) -> Predictions:
        """A row per product in the order of their first photos, when all batches have passed."""
        if self._waiting:
            self._settle()
        return Predictions(
            table=pl.concat(self._tables, rechunk=True).sort("row"),
            labels=self._predictor.labels,
            multilabel=False,
            split=split,
            data=catalog.name,
            synthetic=catalog.synthetic,
        )

    def _settle(self) -> None:
        means = np.stack([one.mean for one in self._waiting])
        counted = np.array([one.num_counted for one in self._waiting])
        firsts = np.array([one.photos[0] for one in self._waiting])
        probabilities = self._readout.probabilities(means, counted)
        answers = self._columns.columns(self._targets[firsts], slice(0, len(firsts)), probabilities)
        self._tables.append(pl.concat([self._known(firsts), answers], how="horizontal"))
        self._waiting.clear()

    def _known(self, firsts: Int64[np.ndarray, "p"]) -> pl.DataFrame:
        """What is known of products without a model."""
        mains = [self._main(one.photos) for one in self._waiting]
        rows = [self._rows[self._scored[one.photos]].tolist() for one in self._waiting]
        names = [self._photos.names[one.number] for one in self._waiting]
        table = self._part.table
        return pl.DataFrame(
            {
                "row": self._rows[self._scored[firsts]],
                "image": table["image"][self._scored[np.array(mains)]],
                "group": pl.Series(names, dtype=pl.String),
                "label": table["label"][self._scored[firsts]],
                "photos": [one.num_counted for one in self._waiting],
                PHOTO_ROWS: pl.Series(rows, dtype=pl.List(pl.Int64)),
            }
        )

    def _main(self, photos: Int64[np.ndarray, "m"]) -> int:
        is_first: Bool[np.ndarray, "m"] = self._photos.is_first[photos]
        return int(photos[int(np.argmax(is_first))])
