"""What a run's own network answers for products that it was not made with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import product_photos
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_predictions import ProductPrediction, predict_products
from shopsight.progress import notify, task
from shopsight.review.answers import Judge, ProductAnswers
from shopsight.text import counted


@dataclass(frozen=True, eq=False)
class NewAnswers:
    """Answers for products that are new to a run.

    Attributes:
        answers: of those of which a photo could be read.
        failed: the other products, with the reason.
    """

    answers: ProductAnswers
    failed: dict[str, str]


def new_answers(predictor: Predictor, photos: Catalog, known: Collection[str]) -> NewAnswers:
    """Answer for the products that the run does not know.

    Args:
        predictor: what judges them.
        photos: of all products, with `group`.
        known: products of the run.
    """
    is_new = pl.col("group").is_not_null() & ~pl.col("group").is_in(list(known))
    rows = photos.table.with_row_index("at").filter(is_new)["at"].to_numpy().astype(np.int64)
    catalog = photos.take(rows)
    grouped = product_photos(catalog) if len(rows) else None
    found: list[ProductPrediction] = []
    if grouped is not None:
        _say_addresses(catalog)
        top = len(predictor.labels)
        with task("Products", total=len(grouped), unit="products") as advance:
            for one in predict_products(predictor, catalog, grouped, top=top):
                found.append(one)
                advance(1)
    place = {label: column for column, label in enumerate(predictor.labels)}
    answered = [one for one in found if one.error is None]
    judge: Judge = "not seen"
    judges = (judge,) * len(answered)
    probabilities = np.zeros((len(answered), len(place)), np.float32)
    for number, one in enumerate(answered):
        probabilities[number, [place[label] for label in one.labels]] = one.probabilities
    return NewAnswers(
        ProductAnswers(
            labels=predictor.labels,
            names=tuple(str(one.product) for one in answered),
            probabilities=probabilities,
            judges=judges,
            family=np.arange(len(answered)),
            given=("",) * len(answered),
            first_photo=np.array([rows[one.row or 0] for one in answered], np.int64),
        ),
        {str(one.product): str(one.error) for one in found if one.error is not None},
    )


def _say_addresses(catalog: Catalog) -> None:
    remote = sum("://" in image for image in catalog.table["image"])
    if remote:
        notify(
            f"{counted(remote, 'photo')} of new products are read at their addresses "
            "(shopsight fetch keeps them; --photos CATALOG reads those)"
        )
