"""A model's answer for each product of a catalog, from all of its photos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import ProductPhotos
from shopsight.inference.best_labels import best_labels
from shopsight.inference.inputs import Prepared
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import (
    PooledProduct,
    ProductPool,
    ProductReadout,
    product_readout,
)

LONGEST_LIST = 1000
"""Photos of one product that are listed as disagreeing or unreadable, at most."""


@dataclass(frozen=True)
class OtherAnswer:
    """A photo whose own best label is not that of its product.

    Attributes:
        source: Its path or URL.
        label: The best label of this photo alone.
        probability: Of that label, calibrated for photos.
    """

    source: str
    label: str
    probability: float


@dataclass(frozen=True)
class UnreadPhoto:
    """A photo that could not be read.

    Attributes:
        source: Its path or URL.
        error: Why not.
        reason: The same in a word: "missing", "truncated", ...
    """

    source: str
    error: str
    reason: str


@dataclass(frozen=True)
class ProductPrediction:
    """The model's labels for one product.

    Attributes:
        product: Its name; None of a photo that is in no group, a product by itself.
        labels: The most probable ones, best first; empty when none of its photos could be read.
        probabilities: Of `labels`, calibrated on validation products; of a product with one photo
            on validation images, as for that photo.
        node: Where a confidence was asked for and labels are paths: the deepest path that is as
            probable, "" where not even its first name is; else None.
        node_probability: Of `node`: the sum over the labels at it and below it; 1 of "".
        decided_by: The photo that did most for the best label against the next one.
        disagreeing: Photos whose own best label is another one.
        num_photos: Photos that could be read, copies too.
        num_copies: How many of them are copies of others of this product.
        unread: Photos that could not be read.
        row: Of a table, the row of its first photo, counted from 0; else None.
    """

    product: str | None
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    node: str | None = None
    node_probability: float | None = None
    decided_by: str | None = None
    disagreeing: tuple[OtherAnswer, ...] = ()
    num_photos: int = 0
    num_copies: int = 0
    unread: tuple[UnreadPhoto, ...] = ()
    row: int | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when no photo could be read."""
        return self.labels[0] if self.labels else None

    @property
    def confidence(self) -> float | None:
        """Probability of the best label; None when no photo could be read."""
        return self.probabilities[0] if self.probabilities else None

    @property
    def error(self) -> str | None:
        """Why there is no label, else None."""
        if self.labels:
            return None
        return self.unread[0].error if self.unread else "no photos"

    def to_json(self) -> dict[str, Any]:
        """Plain values, as JSON and JSON lines hold them."""
        node = {}
        if self.node is not None and self.node_probability is not None:
            node = {"node": self.node, "node_probability": round(self.node_probability, 6)}
        return {
            "product": self.product,
            "label": self.label,
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "labels": list(self.labels),
            "probabilities": [round(value, 6) for value in self.probabilities],
            **node,
            "decided_by": self.decided_by,
            "disagreeing": [
                {
                    "image": one.source,
                    "label": one.label,
                    "probability": round(one.probability, 6),
                }
                for one in self.disagreeing
            ],
            "photos": self.num_photos,
            "copies": self.num_copies,
            "unread": [{"image": one.source, "error": one.error} for one in self.unread],
            "row": self.row,
        }


def predict_products(
    predictor: Predictor,
    catalog: Catalog,
    photos: ProductPhotos,
    *,
    top: int = 5,
    confidence: float | None = None,
    batch_size: int | None = None,
) -> Iterator[ProductPrediction]:
    """Label the products of a catalog, in the order of their first rows, while photos stream.

    Args:
        predictor: the model.
        catalog: the photos, labeled or not.
        photos: their products.
        top: how many labels to give.
        confidence: where labels are paths, give the deepest one that is so probable too.
        batch_size: images that the network sees at once; None: as many as fill the device.

    Raises:
        ConfigError: the model gives an image several labels; no labels are paths, or the
            confidence is out of range.
    """
    predictor.check_confidence(confidence)
    readout = product_readout(predictor.info)
    # The photos of a product one after another: those of one product wait at a time.
    rows = photos.rows_together()
    photos, together = photos.take(rows), catalog.take(rows)
    if not len(together):
        return
    answers = _Answers(predictor, photos, readout, top=top, confidence=confidence)
    done = 0
    for batch, (_, logits) in predictor.image_batches(together, batch_size=batch_size):
        remaining = iter(logits)
        for image in batch:
            yield from answers.add(
                done, image, None if image.error is not None else next(remaining)
            )
            done += 1


class _Answers:
    """Makes the answer of each product whose photos have come, in order."""

    def __init__(
        self,
        predictor: Predictor,
        photos: ProductPhotos,
        readout: ProductReadout,
        *,
        top: int,
        confidence: float | None,
    ) -> None:
        self._predictor, self._photos, self._readout = predictor, photos, readout
        self._top, self._confidence = min(top, len(predictor.labels)), confidence
        self._pool = ProductPool(photos, main_weight=readout.main_weight)
        self._sizes = photos.sizes
        # Of the product whose photos are coming.
        self._images: dict[int, Prepared] = {}

    def add(
        self, photo: int, image: Prepared, logits: np.ndarray | None
    ) -> Iterator[ProductPrediction]:
        self._images[photo] = image
        product = int(self._photos.of_photo[photo])
        pooled = (
            list(self._pool.skip(photo))
            if logits is None
            else list(self._pool.add(np.array([photo]), logits[None]))
        )
        if len(self._images) < self._sizes[product]:
            return
        yield self._answer(product, pooled[0] if pooled else None)
        self._images.clear()

    def _answer(self, product: int, pooled: PooledProduct | None) -> ProductPrediction:
        images = list(self._images.values())
        unread = tuple(
            UnreadPhoto(one.source, str(one.error), one.error.reason)
            for one in images
            if one.error is not None
        )
        name, row = self._photos.names[product], images[0].row
        if pooled is None:
            return ProductPrediction(name, unread=unread[:LONGEST_LIST], row=row)
        means, counted = pooled.mean[None], np.array([pooled.num_counted])
        probabilities = self._readout.probabilities(means, counted)
        best = best_labels(probabilities, max(self._top, 2))[0]
        chosen = best[: self._top]
        ((node, node_probability),) = self._predictor.deepest_nodes(probabilities, self._confidence)
        return ProductPrediction(
            product=name,
            labels=tuple(self._predictor.labels[label] for label in chosen),
            probabilities=tuple(probabilities[0, chosen].tolist()),
            node=node,
            node_probability=node_probability,
            decided_by=self._images[int(deciding_photo(pooled, best))].source,
            disagreeing=self._disagreeing(pooled, int(best[0])),
            num_photos=len(pooled.photos),
            num_copies=len(pooled.photos) - pooled.num_counted,
            unread=unread[:LONGEST_LIST],
            row=row,
        )

    def _disagreeing(self, pooled: PooledProduct, label: int) -> tuple[OtherAnswer, ...]:
        own = pooled.logits.argmax(axis=1)
        others = np.flatnonzero(own != label)[:LONGEST_LIST]
        if not len(others):
            return ()
        probabilities = self._readout.photo.probabilities(pooled.logits[others])
        return tuple(
            OtherAnswer(
                self._images[int(pooled.photos[other])].source,
                self._predictor.labels[int(own[other])],
                float(probabilities[place, own[other]]),
            )
            for place, other in enumerate(others.tolist())
        )


def deciding_photo(pooled: PooledProduct, best: np.ndarray) -> int:
    """The photo that did most for the best label against the next one; the first of equals.

    What a photo does is its part of the difference of the two labels' scores, w_i (z_i1 - z_i2).

    Args:
        pooled: the product.
        best: its labels, best first.
    """
    logits = pooled.logits.astype(np.float64)
    lead = logits[:, best[0]] - logits[:, best[1]] if len(best) > 1 else np.ones(len(logits))
    return int(pooled.photos[int(np.argmax(pooled.weights * lead))])
