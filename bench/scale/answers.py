"""What a model's answers go through: the best labels, files, copies, scores, report, comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from scale.data import labels_of, scratch
from scaling import Function, classes_of

SEVERAL_LABELS = 10_000
LABELS_PER_IMAGE = 3
BATCH_IMAGES = 256


@dataclass
class Answering:
    """A predictor whose network costs nothing: all images are hats and shoes."""

    labels: tuple[str, ...] = ("hat", "shoe")

    def __post_init__(self) -> None:
        self.info = SimpleNamespace(model_dump_json=lambda: "a fake")
        self.engine = SimpleNamespace(name="none")

    def predict(self, images: Iterator[Any], **_: object) -> Iterator[Any]:
        from shopsight.inference.predictor import Prediction

        for one in images:
            yield Prediction(one.source, self.labels, (0.75, 0.25), ("hat",), row=one.row)


def names_of(rows: int) -> Iterator[Any]:
    from shopsight.inference.image_stream import NamedImage

    for row in range(rows):
        name = f"https://images.example/{row % 977}/{row}.jpg"
        yield NamedImage(name, name, row=row)


def written_as(suffix: str) -> Any:
    def work(rows: int) -> None:
        from shopsight.commands.predict import predict

        for _ in predict(Answering(), names_of(rows), out=scratch(f"found{suffix}")):
            pass

    return work


def same_names_of(rows: int) -> Path:
    """A shop's photos, each of them `1.jpg` in a folder of its own."""
    folder = scratch("photos")
    for row in range(rows):
        product = folder / f"{row % 977}" / f"{row}"
        product.mkdir(parents=True)
        (product / "1.jpg").write_bytes(b"\xff\xd8\xff%d" % row)
    return folder


def sorted_by_label(folder: Path) -> None:
    from shopsight.commands.predict import predict
    from shopsight.inference.image_stream import NamedImage

    images = (NamedImage(str(path), str(path)) for path in folder.rglob("*.jpg"))
    for _ in predict(Answering(), images, sort_into=scratch("sorted")):
        pass


def logits_of(rows: int) -> tuple[int, np.ndarray]:
    classes = SEVERAL_LABELS
    return rows, np.random.default_rng(0).normal(size=(BATCH_IMAGES, classes)).astype(np.float32)


def best_of(given: tuple[int, np.ndarray]) -> None:
    """The best five of 10,000 labels."""
    from shopsight.inference.agreement import Readout
    from shopsight.inference.best_labels import best_labels

    rows, logits = given
    for start in range(0, rows, BATCH_IMAGES):
        best_labels(Readout().probabilities(logits[: rows - start]), 5)


def predicted(rows: int, *, seed: int = 0) -> Any:
    """Predictions of one label, three in four of them right, with groups of three images."""
    from shopsight.evaluation.predictions import Predictions

    rng = np.random.default_rng(seed)
    names = [f"class {one:05}" for one in range(classes_of(rows))]
    label = labels_of(rows)
    right = rng.random(rows) < 0.75
    other = pl.Series(names).gather(rng.integers(0, len(names), rows))
    guess = pl.select(pl.when(pl.Series(right)).then(label).otherwise(other)).to_series()
    number = pl.int_range(rows, eager=True)
    table = pl.DataFrame({"row": number, "label": label, "predicted": guess}).select(
        "row",
        pl.format("https://images.example/{}/{}.jpg", pl.col("row") % 977, "row").alias("image"),
        ("p" + (pl.col("row") // 3).cast(pl.String)).alias("group"),
        "label",
        "predicted",
        pl.Series("confidence", rng.random(rows), dtype=pl.Float32),
        (pl.col("label") == pl.col("predicted")).alias("correct"),
        pl.Series("rank", rng.integers(2, 9, rows), dtype=pl.Int32),
        pl.Series("loss", rng.random(rows), dtype=pl.Float32),
        pl.concat_list("predicted", *[pl.lit(one) for one in names[:4]]).alias("top_labels"),
        pl.concat_list(*[pl.lit(0.2, pl.Float32)] * 5).alias("top_probabilities"),
    )
    return Predictions(table, tuple(names), False, "test", "shop")


def kept_and_read(predictions: Any) -> None:
    path = scratch("test.parquet")
    predictions.write(path)
    type(predictions).read(path)


def scored(predictions: Any) -> object:
    from shopsight.evaluation.score import score

    return score(predictions)


def evaluated(rows: int) -> tuple[Any, Any]:
    from shopsight.catalog.catalog import Catalog
    from shopsight.config.evaluation_settings import EvaluationSettings
    from shopsight.evaluation.score import score

    predictions = predicted(rows)
    table = predictions.table.select(pl.lit("missing.jpg").alias("image"), "label", "group")
    found = score(predictions, EvaluationSettings())
    return found, Catalog(table, "shop", root=str(scratch("nothing").parent))


def reported(given: tuple[Any, Any]) -> None:
    import json

    from shopsight.evaluation.report import write_evaluation_report

    evaluation, catalog = given
    page = write_evaluation_report(evaluation, catalog, scratch("report.html"))
    text = json.dumps(evaluation.to_json())
    assert page.stat().st_size < 5_000_000
    assert len(text) < 20_000_000


def two_files(rows: int) -> list[Path]:
    paths = [scratch(f"{seed}.parquet") for seed in range(2)]
    for seed, path in enumerate(paths):
        predicted(rows, seed=seed).write(path)
    return paths


def compared(paths: list[Path]) -> object:
    from shopsight.evaluation.alignment import align_predictions
    from shopsight.evaluation.paired_scores import paired_scores
    from shopsight.evaluation.predictions import Predictions

    # Another state of the source may read all columns.
    columns = getattr(import_module("shopsight.evaluation.compare"), "COMPARED", None)
    read = [Predictions.read(path, *([columns] if columns else [])) for path in paths]
    return paired_scores(align_predictions(read, ["a", "b"]))


class MadeScores:
    """Scores of 10,000 labels that are made when they are asked for; own images lie higher."""

    num_labels = SEVERAL_LABELS

    def __init__(self, rows: int) -> None:
        from scipy.sparse import csr_array

        rng = np.random.default_rng(0)
        codes = rng.integers(0, SEVERAL_LABELS, rows * LABELS_PER_IMAGE)
        ends = np.arange(0, len(codes) + 1, LABELS_PER_IMAGE)
        self.targets = csr_array(
            (np.ones(len(codes), np.uint8), codes, ends), shape=(rows, SEVERAL_LABELS)
        )
        self.targets.sum_duplicates()
        self.targets.data[:] = 1
        self._columns = self.targets.tocsc()
        self.low = (rng.random(rows + SEVERAL_LABELS) ** 8).astype(np.float32)
        self.high = rng.random(rows).astype(np.float32)
        self.num_images = rows

    def of_labels(self, first: int, last: int) -> np.ndarray:
        shifted = np.lib.stride_tricks.sliding_window_view(self.low, self.num_images)
        piece = shifted[first:last].copy()
        for label in range(first, last):
            own = self._columns.indices[
                self._columns.indptr[label] : self._columns.indptr[label + 1]
            ]
            piece[label - first, own] = self.high[own]
        return piece


def ranked(scores: MadeScores) -> None:
    from shopsight.metrics.estimates import interval_of
    from shopsight.metrics.families import Families
    from shopsight.metrics.influence import mean_average_precision
    from shopsight.metrics.label_ranking import rank_labels

    found = rank_labels(scores.targets, scores)
    families = Families.alone(scores.num_images)
    interval_of(mean_average_precision(found, scores.targets, families), families)


def several_predicted(rows: int) -> Any:
    """Predictions of 10,000 labels, their scores in a file."""
    from shopsight.evaluation.predictions import Predictions
    from shopsight.evaluation.predictions_check import SCORE_ROW
    from shopsight.evaluation.score_files import new_score_file

    made = MadeScores(rows)
    labels = pl.Series([f"label {one:05}" for one in range(SEVERAL_LABELS)])
    codes = np.resize(made.targets.indices, (rows, LABELS_PER_IMAGE))
    lists = labels.gather(codes.ravel()).reshape(codes.shape).arr.to_list()
    table = pl.DataFrame(
        {
            "row": np.arange(rows),
            "image": [f"{row}.jpg" for row in range(rows)],
            "label": lists.reshape((rows, LABELS_PER_IMAGE)).arr.to_list(),
            "predicted": lists.reshape((rows, LABELS_PER_IMAGE))
            .arr.to_list()
            .shift(7)
            .fill_null([]),
            "correct": np.random.default_rng(1).random(rows) < 0.2,
            "loss": np.random.default_rng(2).random(rows).astype(np.float32),
            SCORE_ROW: np.arange(rows),
        }
    )
    with new_score_file(rows, SEVERAL_LABELS) as writer:
        for start in range(0, rows, BATCH_IMAGES):
            images = min(BATCH_IMAGES, rows - start)
            writer.add(np.resize(made.low, (images, SEVERAL_LABELS)))
    return Predictions(table, tuple(labels), True, "test", "shop", score_files=(writer.file,))


FUNCTIONS = (
    Function("best 5 of 10,000 labels", logits_of, best_of),
    Function("predict --out .csv", int, written_as(".csv"), largest=10_000_000),
    Function("predict --out .jsonl", int, written_as(".jsonl"), largest=10_000_000),
    Function("predict --out .parquet", int, written_as(".parquet"), largest=10_000_000),
    Function("predict --sort-into, one name", same_names_of, sorted_by_label, largest=100_000),
    Function("predictions, written and read", predicted, kept_and_read),
    Function("evaluate, 10,000 classes", predicted, scored),
    Function("report and metrics.json", evaluated, reported),
    Function("compare two models", two_files, compared),
    Function("average precision, 10,000 labels", MadeScores, ranked),
    Function("evaluate, 10,000 labels", several_predicted, scored, largest=100_000),
)
