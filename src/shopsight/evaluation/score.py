"""From predictions to scores with their intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation.answered import Answered, answered
from shopsight.evaluation.attribute_scores import AttributeScore, attribute_scores
from shopsight.evaluation.decisions import UNKNOWN, Decisions
from shopsight.evaluation.fold_scores import FoldScore, FoldScores
from shopsight.evaluation.headline import (
    ACCURACY,
    MEAN_AVERAGE_PRECISION,
    headline_estimate,
    headline_interval,
)
from shopsight.evaluation.left_out import LeftOut
from shopsight.evaluation.path_scores import LevelConfusion, level_confusions, path_intervals
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.product_scores import ProductScores, product_scores
from shopsight.evaluation.train_overlap import TrainOverlap
from shopsight.metrics import influence, multilabel
from shopsight.metrics.calibration_check import CalibrationCheck, calibration_check
from shopsight.metrics.classification import ClassScores, precision_recall_f1
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.metrics.label_calibration import label_calibration_check
from shopsight.metrics.multilabel import MultilabelScores
from shopsight.metrics.shares import Ends, share_intervals
from shopsight.text import counted, listed

AVERAGES = (
    "macro_precision",
    "macro_recall",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
)
"""Of `ClassScores`: metrics without an interval."""
MOST_CONFUSIONS = 10_000
"""Pairs of classes in the JSON of an evaluation."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good the model is on one part of a catalog.

    Attributes:
        headline: the metric to quote: "accuracy", or "mean_average_precision" where an image
            can have several labels.
        metrics: every metric by name; fractions of 1, losses in nats.
        intervals: 95 % intervals by families, see `shopsight.metrics.estimates`; of a metric that
            can have none here, the value and the reason.
        per_class: label, images, predicted, precision, recall, recall_low, recall_high (by
            families; NaN below five of them, unless each image is one), f1, and with several
            labels average_precision; NaN where a class has no images.
        confusion: label, predicted, images: the pairs that occur; empty with several labels.
        levels: where labels are paths, the confusions of each coarser level.
        calibration: confidence against accuracy, and what chance alone gives; with several labels
            of every pair of an image and a label.
        counts: images, correct, labels, families.
        seen: which of the images the model was trained on; None where that was not looked up.
            Those that it was trained on are left out of all else, unless there are no others.
        left_out: of other data than a run's, the files that could not be scored.
        folds: of a K-fold run, the score of each fold.
        report: the page that was written; None where none was.
        decisions: what these images decided about the model.
        by_product: the score with one answer per product; None where images do not show products
            of several photos.
        attributes: the score of each attribute that the model has.
        answered: how many images are answered, and how often rightly; None where the model never
            says "unknown".
    """

    headline: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    per_class: pl.DataFrame
    confusion: pl.DataFrame
    calibration: CalibrationCheck
    counts: dict[str, int]
    predictions: Predictions
    seen: TrainOverlap | None = None
    left_out: LeftOut | None = None
    folds: FoldScores | None = None
    report: Path | None = None
    decisions: Decisions = UNKNOWN
    levels: tuple[LevelConfusion, ...] = ()
    by_product: ProductScores | None = None
    attributes: tuple[AttributeScore, ...] = ()
    answered: Answered | None = None

    @property
    def split(self) -> str:
        return self.predictions.split

    @property
    def not_measured(self) -> tuple[str, ...]:
        """Classes of the model without an image here: no macro average has them."""
        return tuple(self.per_class.filter(pl.col("images") == 0)["label"])

    @property
    def not_measured_note(self) -> str:
        """A sentence about them; empty where every class is measured."""
        labels = self.not_measured
        if not labels:
            return ""
        what = f"{len(labels):,} of {counted(self.per_class.height, 'class')}"
        return (
            f"{what} not measured: no image here, so in no macro average, e.g. "
            f"{listed(labels, most=3)}"
        )

    @property
    def score(self) -> Interval:
        """The headline metric with its interval."""
        return self.intervals[self.headline]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the rows of the predictions; NaN becomes None.

        Of the confusion matrix the `MOST_CONFUSIONS` pairs with the most images, and how many there
        are beside them: the predictions have them all.
        """
        return {
            "data": self.predictions.data,
            "synthetic": self.predictions.synthetic,
            "split": self.split,
            "headline": self.headline,
            "counts": self.counts,
            "seen": self.seen and self.seen.to_json(),
            "left_out": self.left_out and self.left_out.to_json(),
            "folds": self.folds and self.folds.to_json(),
            "decisions": self.decisions.to_json(),
            "by_product": self.by_product and self.by_product.to_json(),
            "not_measured": list(self.not_measured),
            "metrics": {
                name: {"value": value} | self._interval_json(name)
                for name, value in self.metrics.items()
            },
            "per_class": [_plain(row) for row in self.per_class.to_dicts()],
            "confusion": self.confusion.head(MOST_CONFUSIONS).to_dicts(),
            "confusion_left_out": self._confusion_left_out(),
            **self._levels_json(),
            **self._attributes_json(),
            **({"answered": self.answered.to_json()} if self.answered else {}),
            "calibration": self.calibration.to_json(self.predictions.labels),
        }

    def _confusion_left_out(self) -> dict[str, int]:
        """How many pairs are not in the JSON, and their images."""
        left_out = self.confusion.slice(MOST_CONFUSIONS)
        return {"pairs": left_out.height, "images": int(left_out["images"].sum())}

    def _levels_json(self) -> dict[str, Any]:
        if not self.levels:
            return {}
        return {"levels": [one.to_json(MOST_CONFUSIONS) for one in self.levels]}

    def _attributes_json(self) -> dict[str, Any]:
        return {"attributes": [one.to_json() for one in self.attributes]} if self.attributes else {}

    def _interval_json(self, name: str) -> dict[str, Any]:
        return self.intervals[name].to_json() if name in self.intervals else {}


def score(
    predictions: Predictions,
    settings: EvaluationSettings | None = None,
    *,
    decisions: Decisions = UNKNOWN,
) -> Evaluation:
    """Every metric of these predictions.

    Args:
        predictions: of one part of a catalog.
        settings: None takes the defaults of a recipe.
        decisions: what the images decided about the model.

    Raises:
        MetricError: there are no predictions.
    """
    settings = settings or EvaluationSettings()
    found = (_score_several if predictions.multilabel else _score_one)(predictions, settings)
    found = replace(
        found,
        folds=_fold_scores(predictions),
        decisions=decisions,
        attributes=attribute_scores(predictions),
        answered=answered(predictions),
    )
    if predictions.by_product is None:
        return found
    products = score(predictions.by_product, settings, decisions=decisions)
    return replace(found, by_product=product_scores(predictions, products))


def _fold_scores(predictions: Predictions) -> FoldScores | None:
    table = predictions.table
    if "fold" not in table.columns or table["fold"].n_unique() < 2:
        return None
    folds = []
    for fold in table["fold"].unique().sort().to_list():
        part = replace(predictions, table=table.filter(pl.col("fold") == fold).drop("fold"))
        folds.append(FoldScore(fold, len(part), headline_interval(part)))
    return FoldScores(tuple(folds))


def _score_one(predictions: Predictions, settings: EvaluationSettings) -> Evaluation:
    labels, table = predictions.labels, predictions.table
    classes = len(labels)
    targets, predicted = predictions.label_index("label"), predictions.label_index("predicted")
    confidence, correct = table["confidence"].to_numpy(), table["correct"].to_numpy()
    families = predictions.families()
    calibration = calibration_check(
        confidence,
        correct,
        predicted,
        families,
        num_classes=classes,
        bins=settings.calibration_bins,
    )
    intervals = _intervals_of_one(predictions, settings)
    scores = precision_recall_f1(targets, predicted, num_classes=classes)
    metrics = {name: interval.value for name, interval in intervals.items()}
    metrics["calibration_error"] = calibration.error
    metrics |= {name: getattr(scores, name) for name in AVERAGES}
    confusion = (
        table.group_by("label", "predicted")
        .agg(pl.len().cast(pl.Int64).alias("images"))
        .sort("images", "label", "predicted", descending=[True, False, False])
    )
    return Evaluation(
        headline=ACCURACY,
        metrics=metrics,
        intervals=intervals,
        per_class=_per_class(
            labels,
            scores,
            share_intervals(targets, correct, families.of_image, num_rows=classes),
        ),
        confusion=confusion,
        calibration=calibration,
        counts=_counts(predictions),
        predictions=predictions,
        levels=level_confusions(predictions, confusion),
    )


def _intervals_of_one(
    predictions: Predictions, settings: EvaluationSettings
) -> dict[str, Interval]:
    table, classes = predictions.table, len(predictions.labels)
    targets, predicted = predictions.label_index("label"), predictions.label_index("predicted")
    families, correct = predictions.families(), table["correct"].to_numpy()
    estimates = {ACCURACY: Estimate.share(correct)}
    # Where k reaches all classes, top-k accuracy is 1 and says nothing.
    if (k := min(settings.top_k, classes - 1)) > 1:
        estimates[f"top_{k}_accuracy"] = Estimate.share(table["rank"].to_numpy() <= k)
    estimates |= {
        "balanced_accuracy": influence.balanced_accuracy(
            targets, predicted, families, num_classes=classes
        ),
        "macro_f1": influence.macro_f1(targets, predicted, families, num_classes=classes),
        "log_loss": Estimate.loss(table["loss"].to_numpy(), correct),
    }
    found = {name: interval_of(one, families) for name, one in estimates.items()}
    return found | path_intervals(predictions)


def _score_several(predictions: Predictions, settings: EvaluationSettings) -> Evaluation:
    targets, predicted = predictions.label_table("label"), predictions.label_table("predicted")
    families, correct = predictions.families(), predictions.table["correct"].to_numpy()
    estimates = {
        MEAN_AVERAGE_PRECISION: headline_estimate(predictions),
        "micro_f1": influence.multilabel_micro_f1(targets, predicted),
        "macro_f1": influence.multilabel_macro_f1(targets, predicted, families),
        "samples_f1": influence.samples_f1(targets, predicted),
        "subset_accuracy": Estimate.share(correct),
        "log_loss": Estimate.loss(predictions.table["loss"].to_numpy(), correct),
    }
    intervals = {name: interval_of(one, families) for name, one in estimates.items()}
    found = multilabel.multilabel_scores(targets, predicted)
    scores = predictions.scores()
    calibration = label_calibration_check(
        targets, scores, predictions.families(), bins=settings.calibration_bins
    )
    metrics = {name: interval.value for name, interval in intervals.items()}
    metrics["micro_precision"] = found.micro_precision
    metrics["micro_recall"] = found.micro_recall
    metrics["calibration_error"] = calibration.error
    return Evaluation(
        headline=MEAN_AVERAGE_PRECISION,
        metrics=metrics,
        intervals=intervals,
        per_class=_per_class(
            predictions.labels, found, _label_recalls(targets, predicted, families)
        ).with_columns(pl.Series("average_precision", predictions.ranking.average_precision)),
        confusion=pl.DataFrame(
            schema={"label": pl.String, "predicted": pl.String, "images": pl.Int64}
        ),
        calibration=calibration,
        counts=_counts(predictions),
        predictions=predictions,
    )


def _label_recalls(targets: csr_array, predicted: csr_array, families: Families) -> Ends:
    """The intervals of each label's recall: each pair of an image and its label is a trial."""
    pairs = targets.tocoo()
    image, label = pairs.coords
    hits = np.asarray(predicted.tocsr()[image, label]).ravel() > 0
    return share_intervals(label, hits, families.of_image[image], num_rows=targets.shape[1])


def _per_class(
    labels: tuple[str, ...], scores: ClassScores | MultilabelScores, recalls: Ends
) -> pl.DataFrame:
    low, high = recalls
    measured = np.where(scores.support > 0, 1.0, np.nan)
    return pl.DataFrame(
        {
            "label": labels,
            "images": scores.support.astype(np.int64),
            "predicted": scores.predicted.astype(np.int64),
            "precision": measured * scores.precision,
            "recall": measured * scores.recall,
            "recall_low": low,
            "recall_high": high,
            "f1": measured * scores.f1,
        }
    )


def _counts(predictions: Predictions) -> dict[str, int]:
    column = predictions.table["label"]
    present = column.explode() if predictions.multilabel else column
    return {
        "images": len(predictions),
        "correct": int(predictions.table["correct"].sum()),
        "labels": present.drop_nulls().n_unique(),
        "families": predictions.families().count,
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    """NaN is no JSON: None."""
    return None if isinstance(value, float) and np.isnan(value) else value
