"""How good a model is by product: one answer from all photos of each, beside the one per photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import are_products, product_photos
from shopsight.errors import ConfigError
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.predictions_check import PHOTO_ROWS
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.intervals import Interval
from shopsight.text import counted, decimal_text

if TYPE_CHECKING:
    from shopsight.evaluation.score import Evaluation


@dataclass(frozen=True, eq=False)
class ProductScores:
    """The score of products.

    Attributes:
        evaluation: as of images, with a product in the place of an image; intervals are by
            families of products.
        num_several: products of several photos, copies of one photo counted once.
        num_photos: photos of all scored products.
        num_conflicts: products that are not scored, because their photos have several labels.
        gain: accuracy of these photos where each gets its product's label, less that of their own
            answers.
        num_known: products with the name of one that the model was trained on: the same product
            by other photos, or another shop's of the same name.
    """

    evaluation: Evaluation
    num_several: int
    num_photos: int
    num_conflicts: int
    gain: Interval
    num_known: int = 0

    @property
    def num_products(self) -> int:
        """Products that are scored."""
        return len(self.evaluation.predictions)

    @property
    def note(self) -> str:
        """What is counted, in a sentence."""
        left_out = ""
        if self.num_conflicts:
            left_out = (
                f"; not scored: {counted(self.num_conflicts, 'product')} whose photos have "
                "different labels"
            )
        return (
            f"{counted(self.num_products, 'product')} of {counted(self.num_photos, 'photo')}, "
            f"{self.num_several:,} of them with several{left_out}{self._known}"
        )

    @property
    def _known(self) -> str:
        if not self.num_known:
            return ""
        return (
            f"; {counted(self.num_known, 'product')} named as one that the model was trained on, "
            "by other photos"
        )

    @property
    def gain_line(self) -> str:
        """What one answer per product changes, over the same photos."""
        points = decimal_text(100 * self.gain.value, 1)
        if self.gain.is_known:
            low, high = (decimal_text(100 * end, 1) for end in (self.gain.low, self.gain.high))
            points = f"{points} points ({low} to {high})"
        else:
            points = f"{points} points (no interval: {self.gain.reason})"
        return (
            f"photos with their product's label instead of their own: accuracy changes by {points}"
        )

    def to_json(self) -> dict[str, Any]:
        """The counts, the gain, and the scores."""
        return {
            "products": self.num_products,
            "several_photos": self.num_several,
            "photos": self.num_photos,
            "several_labels": self.num_conflicts,
            "named_as_trained_on": self.num_known,
            "gain": self.gain.to_json(),
            **self.evaluation.to_json(),
        }


def product_scores(predictions: Predictions, evaluation: Evaluation) -> ProductScores:
    """The scores of products with their counts.

    Args:
        predictions: of photos.
        evaluation: of the products that they show.
    """
    products = evaluation.predictions.table
    labels = predictions.table.drop_nulls("group").group_by("group").agg(pl.col("label").n_unique())
    photos = products.select("correct", pl.col(PHOTO_ROWS).alias("row")).explode("row")
    own = predictions.table.select("row", own="correct").with_row_index("photo")
    both = own.join(photos, on="row", how="inner", maintain_order="left")
    gain = difference_of(
        Estimate.share(both["correct"].to_numpy()),
        Estimate.share(both["own"].to_numpy()),
        predictions.families().take(both["photo"].to_numpy().astype(np.int64)),
    )
    return ProductScores(
        evaluation=evaluation,
        num_several=int((products["photos"] > 1).sum()),
        num_photos=len(both),
        num_conflicts=int((labels["label"] > 1).sum()),
        gain=gain,
    )


def check_products(catalog: Catalog, *, multilabel: bool) -> None:
    """Refuse what cannot be scored by product, before a model is run.

    Raises:
        ConfigError: images have several labels, or nothing says which show one product.
    """
    if multilabel:
        why = "an image may have several labels: products are scored with one label each"
    else:
        photos = product_photos(catalog)
        if photos is None:
            raise ConfigError(
                "no column says which photos show one product",
                where="--by product",
                fix="--group COLUMN   (names the product)\n--by image",
            )
        if are_products(catalog, photos):
            return
        several = bool((photos.sizes > 1).any())
        why = (
            "most groups of several photos have several labels: they are no products"
            if several
            else "no product has several photos: by product is by image"
        )
    raise ConfigError(why, where="--by product", fix="--by image")
