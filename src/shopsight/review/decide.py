"""What is suggested for each product: which suggestions are filled in, which given labels doubted.

A product without a category gets the suggested one where its confidence reaches the threshold from
which suggestions are right as often as was promised (`shopsight.metrics.promised_precision`). The
threshold comes from the products with a category, each judged by a model that did not learn from
it. Given categories that are wrong count as mistakes of the model there: what is measured is rather
too low, and rises as wrong ones are corrected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from shopsight.metrics.families import Families
from shopsight.metrics.promised_precision import PromisedPrecision, promise_precision
from shopsight.review.answers import ProductAnswers
from shopsight.review.decisions import Decisions
from shopsight.review.shop_products import PRODUCT, ShopProducts

FILL, DOUBT, UNSURE, SAME, UNKNOWN = "fill", "doubt", "unsure", "same", "unknown category"
ACTIONS = (DOUBT, UNKNOWN, FILL, UNSURE, SAME)
"""What becomes of a product, in the order of the review: its given category is doubted, or is none
of the model's; a missing one is filled in, or stays empty; the model agrees."""

LEAST_PROBABILITY = 1e-12
FEW_PRODUCTS = 10
"""A category with fewer labeled products is named: of it, little is known."""


@dataclass(frozen=True, eq=False)
class Review:
    """The products of a shop, with what a model says of their categories.

    Attributes:
        promise: how often suggestions are right, and from which confidence on.
        table: the columns `product`, `title`, `given`, `suggested`, `confidence`, `loss` (of the
            given one, in nats), `agree`, `action`, `judged`, `row` (of the main photo) and `cell`
            (what is written for the suggested category; null where nothing in the export says it),
            in the order of the review.
        not_answered: products with photos of which none could be read, with the reason.
        few: labeled products of each category that has few.
        unknown: products of each given category that the model does not know.
        seen: products whose judge had learned from them.
        corrected: given categories that the user corrected.
        without_photo: products that have no photo, about which nothing is said.
    """

    promise: PromisedPrecision
    table: pl.DataFrame
    not_answered: Mapping[str, str]
    few: Mapping[str, int]
    unknown: Mapping[str, int]
    seen: int
    corrected: int = 0
    without_photo: int = 0

    def of(self, *actions: str) -> pl.DataFrame:
        """The products of which this becomes."""
        return self.table.filter(pl.col("action").is_in(actions))

    @property
    def num_missing(self) -> int:
        """Products without a category that have an answer."""
        return len(self.of(FILL, UNSURE))


def decide(
    shop: ShopProducts,
    known: ProductAnswers,
    new: ProductAnswers,
    *,
    precision: float,
    not_answered: Mapping[str, str],
    decided: Decisions,
    cells: Mapping[str, str],
) -> Review:
    """Compare what is given with what is suggested.

    Args:
        shop: the products.
        known: answers for the products that the run was made with.
        new: answers of the run's own network for the others.
        precision: what suggestions that are filled in promise.
        not_answered: products without an answer, and why.
        decided: what the user decided; corrected categories take the place of those given where it
            is measured how often suggestions are right.
        cells: what is written into the export for each label.

    Raises:
        MetricError: the precision is not between 0 and 1.
    """
    corrections = decided.corrections(dict(zip(known.names, known.given, strict=True)))
    now = dict(shop.table.select(PRODUCT, "as_run").iter_rows())
    truth = [
        corrections.get(name) or now.get(name) or trained
        for name, trained in zip(known.names, known.given, strict=True)
    ]
    promise = _promise(known, truth, precision)
    answered = {name: (new, place) for place, name in enumerate(new.names)}
    answered |= {name: (known, place) for place, name in enumerate(known.names)}
    threshold = math.inf if decided.is_all else promise.threshold
    rows = [
        _row(line, *answered[line[PRODUCT]], decided.least(line[PRODUCT], threshold), cells)
        for line in shop.table.iter_rows(named=True)
        if line[PRODUCT] in answered
    ]
    counts = Counter(truth)
    given = [label for label in now.values() if label is not None]
    return Review(
        promise=promise,
        table=_in_order(pl.DataFrame(rows, schema=_SCHEMA, orient="row")),
        not_answered=not_answered,
        few={name: counts[name] for name in known.labels if counts[name] < FEW_PRODUCTS},
        unknown=Counter(label for label in given if label not in set(known.labels)),
        seen=sum(judge == "seen" for judge in known.judges),
        corrected=len(corrections),
        without_photo=len(shop.all_products) - len(shop),
    )


_SCHEMA = {
    PRODUCT: pl.String,
    "title": pl.String,
    "given": pl.String,
    "suggested": pl.String,
    "confidence": pl.Float64,
    "loss": pl.Float64,
    "agree": pl.Boolean,
    "action": pl.String,
    "judged": pl.String,
    "row": pl.Int64,
    "cell": pl.String,
}


def _promise(known: ProductAnswers, truth: Sequence[str], precision: float) -> PromisedPrecision:
    unseen = np.array([judge != "seen" for judge in known.judges], bool)
    best = known.probabilities.argmax(axis=1)
    right: Bool[np.ndarray, "p"] = np.array(
        [known.labels[label] == name for label, name in zip(best, truth, strict=True)], bool
    )
    confidence = known.probabilities.max(axis=1, initial=0.0).astype(np.float64)
    return promise_precision(
        confidence[unseen],
        right[unseen],
        Families.by(known.family[unseen]),
        precision=precision,
    )


def _row(
    line: Mapping[str, Any],
    answers: ProductAnswers,
    place: int,
    threshold: float,
    cells: Mapping[str, str],
) -> tuple[object, ...]:
    """One product of the review."""
    probabilities: Float32[np.ndarray, "c"] = answers.probabilities[place]
    best = int(probabilities.argmax())
    suggested, confidence = answers.labels[best], float(probabilities[best])
    head = (line[PRODUCT], line["title"], line["given"], suggested, confidence)
    tail = (answers.judges[place], line["row"], cells.get(suggested))
    same = line["as_run"]
    if same is None:
        # What nothing in the export says cannot be filled in.
        fills = line["given"] is None and confidence >= threshold and suggested in cells
        return (*head, None, None, FILL if fills else UNSURE, *tail)
    if same not in answers.labels:
        return (*head, None, False, UNKNOWN, *tail)
    agree = suggested == same or suggested in line["categories"]
    loss = -math.log(max(float(probabilities[answers.labels.index(same)]), LEAST_PROBABILITY))
    return (*head, loss, agree, SAME if agree else DOUBT, *tail)


def _in_order(table: pl.DataFrame) -> pl.DataFrame:
    """Doubts by their loss, then what is filled in or stays empty by confidence, then the rest."""
    rank = pl.col("action").replace_strict({name: place for place, name in enumerate(ACTIONS)})
    return table.sort(
        rank, pl.col("loss"), pl.col("confidence"), descending=[False, True, True], nulls_last=True,
        maintain_order=True,
    )  # fmt: skip
