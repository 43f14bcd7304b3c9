"""Scores of several models on the same images: paired, and aligned image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.errors import CompareError
from shopsight.evaluation.alignment import align_predictions
from shopsight.evaluation.evaluate import evaluate
from shopsight.evaluation.paired_scores import PairedScores, paired_scores
from shopsight.evaluation.predictions import Predictions

SETTINGS = EvaluationSettings()


def some_predictions(correct: Sequence[bool], *, groups: list[str] | None = None) -> Predictions:
    count = len(correct)
    table = pl.DataFrame(
        {
            "row": range(count),
            "image": [f"{index}.jpg" for index in range(count)],
            "label": ["hat" if index % 2 else "shoe" for index in range(count)],
            "correct": list(correct),
        }
    )
    if groups:
        table = table.with_columns(pl.Series("group", groups))
    return Predictions(table, ("hat", "shoe"), False, "test", "shop")


def paired(*predictions: Predictions) -> PairedScores:
    names = [f"model {number}" for number in range(len(predictions))]
    return paired_scores(align_predictions(predictions, names))


def clearly_worse(found: PairedScores, index: int) -> bool:
    difference = found.differences[index]
    return difference is not None and difference.high < 0


def test_the_best_is_the_first_of_the_highest() -> None:
    low, high = [True] * 10 + [False] * 10, [True] * 19 + [False]
    found = paired(*map(some_predictions, (low, high, high)))
    assert found.metric == "accuracy"
    assert found.best == 1
    assert [score.value for score in found.scores] == [0.5, 0.95, 0.95]
    assert found.differences[1] is None
    assert found.differences[0] is not None
    assert found.differences[0].value == pytest.approx(-0.45)
    assert not found.grouped


def test_a_few_products_make_no_clear_difference() -> None:
    groups = [f"product {index // 3}" for index in range(60)]
    right = some_predictions([True] * 60, groups=groups)
    for products, clear in ((5, False), (6, True)):
        wrong = [False] * 3 * products + [True] * (60 - 3 * products)
        found = paired(right, some_predictions(wrong, groups=groups))
        assert clearly_worse(found, 1) is clear


def test_a_paired_difference_is_narrower_than_the_intervals() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.3
    a, b = list(~hard), list(~hard & (rng.random(400) > 0.03))
    found = paired(some_predictions(a), some_predictions(b))
    best, other = found.scores
    assert clearly_worse(found, 1)
    assert best.low < other.high  # the two intervals overlap
    difference = found.differences[1]
    assert difference is not None
    assert difference.high - difference.low < 0.5 * (best.high - best.low)


def test_groups_widen_the_intervals() -> None:
    correct = [index // 10 % 3 != 0 for index in range(300)]
    groups = [f"product-{index // 10}" for index in range(300)]
    alone = paired(*[some_predictions(correct)] * 2).scores[0]
    grouped = paired(*[some_predictions(correct, groups=groups)] * 2)
    assert grouped.grouped
    wide = grouped.scores[0]
    assert wide.high - wide.low > 2 * (alone.high - alone.low)
    assert not clearly_worse(grouped, 1)


def test_rows_in_another_order_are_matched_by_image() -> None:
    first = some_predictions([True] * 30 + [False] * 10)
    turned = first.table.reverse().with_columns(pl.Series("row", range(40)))
    difference = paired(first, replace(first, table=turned)).differences[1]
    assert difference is not None
    assert difference.value == 0.0
    # 40 images without a disagreement: none of about 3 in 40 has been seen.
    assert difference.high == pytest.approx(1 - 0.05 ** (1 / 40))


def test_several_labels_are_compared_by_average_precision(
    several: Catalog, fitted_on: object
) -> None:
    assert callable(fitted_on)
    predictions = evaluate(fitted_on(several), several, settings=SETTINGS).predictions
    truth = predictions.label_table("label").toarray().astype(np.float32)
    perfect = predictions.table.with_columns(pl.Series("scores", truth))
    found = paired(predictions, replace(predictions, table=perfect))
    assert found.metric == "mean_average_precision"
    assert found.best == 1
    assert found.scores[1].value == 1.0


def test_different_images_are_refused_by_name() -> None:
    whole = some_predictions([True] * 10)
    part = whole.table.filter(pl.col("row") != 4)
    other = part.with_columns(pl.col("image").str.replace("^7.jpg", "new.jpg"))
    with pytest.raises(CompareError) as caught:
        align_predictions([whole, replace(whole, table=other)], ["a", "b"])
    text = str(caught.value)
    assert "2 only in a, 1 only in b, 8 in both" in text
    assert "4.jpg: only a" in text
    assert "new.jpg: only b" in text


def test_other_labels_truths_and_contents_are_refused() -> None:
    first = some_predictions([True] * 6)
    names = ["a", "b"]
    with pytest.raises(CompareError, match="sock: only b"):
        align_predictions([first, replace(first, labels=("hat", "shoe", "sock"))], names)
    relabeled = replace(first, table=first.table.with_columns(label=pl.lit("hat")))
    with pytest.raises(CompareError, match=r"3 images have one label in a and another in b"):
        align_predictions([first, relabeled], names)
    hashed = [
        replace(first, table=first.table.with_columns(sha256=pl.Series(["0" * 64] * 5 + [last])))
        for last in ("a" * 64, "b" * 64)
    ]
    with pytest.raises(CompareError, match=r"1 images have one content in a"):
        align_predictions(hashed, names)
