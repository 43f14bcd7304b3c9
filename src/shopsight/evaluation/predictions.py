"""What a model said about each labeled image: the table behind every score.

Scores, reports and comparisons are computed from this table alone, so predictions of K folds put
together, or of a run from last year, are scored by the same code.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64

from shopsight.catalog.catalog import METADATA_KEY, SPLITS, Catalog
from shopsight.config.sections import CacheSettings
from shopsight.errors import CatalogError, CompareError
from shopsight.files import atomic_file, damage_named
from shopsight.inference.batches import batch_size_of, reads_pinned
from shopsight.inference.best_labels import best_labels
from shopsight.inference.predictor import Predictor
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.classification import negative_log, truth_rank
from shopsight.progress import task
from shopsight.runtime import retain_freed_memory
from shopsight.targets import Targets, dense_rows, several_labels

ALL_ROWS = "all"
BATCH_IMAGES = 64
# Labels named per image in the table, best first.
NAMED = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row per image, in the catalog's order.

    Columns of `table`: `row` (of the catalog), `image`, `group` (where the catalog has it),
    `label`, `predicted`, `confidence` (of the best label), `correct`, `loss` (nats), `top_labels`
    and `top_probabilities` (the best five). With one label per image also `rank` (of the true
    label, from 1); with several, `label` and `predicted` are lists, `correct` means the same
    set, and `scores` holds the probability of every label in the order of `labels`. Of a K-fold
    run also `fold`, whose network predicted the row.

    Attributes:
        split: the part of the catalog: "train", "val", "test", "all", or "out-of-fold".
        data: the catalog's name; synthetic: its images were rendered, not photographed.
    """

    table: pl.DataFrame
    labels: tuple[str, ...]
    multilabel: bool
    split: str
    data: str
    synthetic: bool = False

    def __len__(self) -> int:
        return self.table.height

    def label_index(self, column: str) -> Int64[np.ndarray, "n"]:
        """Class indices of `label` or `predicted`; for one label per image."""
        index = pl.Series(range(len(self.labels)), dtype=pl.Int64)
        codes = self.table[column].replace_strict(pl.Series(self.labels), index)
        return codes.to_numpy().astype(np.int64)

    def label_table(self, column: str) -> Bool[np.ndarray, "n c"]:
        """Which labels `label` or `predicted` holds; for several labels per image."""
        index_of = {label: index for index, label in enumerate(self.labels)}
        hot = np.zeros((len(self), len(self.labels)), dtype=bool)
        for row, names in enumerate(self.table[column].to_list()):
            hot[row, [index_of[name] for name in names]] = True
        return hot

    def scores(self) -> Float32[np.ndarray, "n c"]:
        """The probability of every label; for several labels per image."""
        return self.table["scores"].to_numpy().astype(np.float32).reshape(len(self), -1)

    def groups(self) -> Int64[np.ndarray, "n"] | None:
        """A number per image, equal within a group; an image without a group is its own."""
        if "group" not in self.table.columns or self.table["group"].null_count() == len(self):
            return None
        alone = pl.format("\x00{}", pl.int_range(pl.len()))
        named = self.table.select(pl.coalesce(pl.col("group"), alone)).to_series()
        return named.rank("dense").to_numpy().astype(np.int64)

    def with_rows(self, rows: Int64[np.ndarray, "n"]) -> Predictions:
        """The same of a catalog whose row `rows[i]` was row i of the one that was predicted."""
        row = pl.Series("row", rows[self.table["row"].to_numpy()], dtype=pl.Int64)
        return replace(self, table=self.table.with_columns(row))

    def write(self, path: Path | str) -> None:
        """Write as Parquet, whole; `Predictions.read` gives it back."""
        about = {
            "labels": self.labels,
            "multilabel": self.multilabel,
            "split": self.split,
            "data": self.data,
            "synthetic": self.synthetic,
        }
        with atomic_file(path) as part:
            self.table.write_parquet(part, metadata={METADATA_KEY: json.dumps(about)})

    @classmethod
    def read(cls, path: Path | str) -> Predictions:
        """Read what `write` wrote.

        Raises:
            CatalogError: the file is missing, or no file of predictions.
        """
        path = Path(path)
        if not path.is_file():
            raise CatalogError(
                "no such predictions", where=str(path), fix="shopsight evaluate RUN writes them"
            )
        with damage_named(path, fix="shopsight evaluate RUN   (writes them anew)"):
            # Bytes, as a file that is mapped cannot be replaced on Windows.
            data = io.BytesIO(path.read_bytes())
            noted = pl.read_parquet_metadata(data).get(METADATA_KEY)
            about = {} if noted is None else json.loads(noted)
            if "split" not in about or "labels" not in about:
                raise CatalogError("not predictions that shopsight wrote", where=str(path))
            return cls(
                table=pl.read_parquet(data),
                labels=tuple(about["labels"]),
                multilabel=about["multilabel"],
                split=about["split"],
                data=about["data"],
                synthetic=about["synthetic"],
            )

    @classmethod
    def concat(cls, parts: Sequence[Predictions], *, split: str = "out-of-fold") -> Predictions:
        """Predictions of several models, each about its own rows, as one, sorted by row.

        The index of a part among the parts becomes its rows' `fold`.

        Raises:
            CompareError: the labels differ, or a row was predicted twice.
        """
        first = parts[0]
        if any(p.labels != first.labels or p.multilabel != first.multilabel for p in parts):
            raise CompareError("predictions over different labels cannot be put together")
        numbered = [
            part.table.with_columns(fold=pl.lit(number, pl.Int64))
            for number, part in enumerate(parts)
        ]
        table = pl.concat(numbered).sort("row")
        twice = table.filter(pl.col("row").is_duplicated())["image"].unique(maintain_order=True)
        if len(twice):
            raise CompareError(f"{len(twice)} images are in two folds", details=twice.to_list())
        return replace(first, table=table, split=split)


def predict_catalog(
    predictor: Predictor,
    catalog: Catalog,
    *,
    split: str,
    source: PixelSource | None = None,
    logits: Iterable[Float32[np.ndarray, "b c"]] | None = None,
    batch_size: int | None = None,
) -> Predictions:
    """Run the model over the images of one part, each once.

    Args:
        predictor: the model.
        catalog: labeled images.
        split: "train", "val", "test", or "all" for every row.
        source: of the whole catalog's images; None decodes the files.
        logits: of the part's images in their order, in batches, where they are already known;
            None computes them.
        batch_size: images predicted at once; None: as many as fill the engine.

    Raises:
        CatalogError: the part is empty, or a label is missing or unknown to the model.
        ImageError: a file that cannot be decoded, by name; no other image takes its place.
    """
    rows = np.arange(len(catalog)) if split == ALL_ROWS else catalog.rows_of(split)
    if not len(rows):
        parts = catalog.table["split"].drop_nulls().unique().to_list() if split != ALL_ROWS else []
        raise CatalogError(
            f"there are no {split} images",
            where=catalog.name,
            fix=" or ".join(f"--split {part}" for part in SPLITS if part in parts) or None,
        )
    part = catalog.take(rows)
    truth = _truth(part, predictor)
    if logits is None:
        logits = _computed(predictor, part, rows, source, batch_size)
    table = _SeveralLabels(predictor) if predictor.info.multilabel else _OneLabel(predictor)
    columns: list[pl.DataFrame] = []
    done = 0
    with retain_freed_memory(), task(f"Predicting {split}", total=len(rows)) as advance:
        for some in logits:
            probabilities = predictor.probabilities(some)
            columns.append(table.columns(truth, slice(done, done + len(some)), probabilities))
            done += len(some)
            advance(len(some))
    assert done == len(rows), "each image once"
    known = [name for name in ("image", "group", "label") if name in part.table.columns]
    head = part.table.select(known).insert_column(0, pl.Series("row", rows, dtype=pl.Int64))
    if predictor.info.multilabel and not part.multilabel:
        head = head.with_columns(pl.concat_list("label"))
    return Predictions(
        table=pl.concat([head, pl.concat(columns)], how="horizontal"),
        labels=predictor.labels,
        multilabel=predictor.info.multilabel,
        split=split,
        data=catalog.name,
        synthetic=catalog.synthetic,
    )


def _computed(
    predictor: Predictor,
    part: Catalog,
    rows: Int64[np.ndarray, "n"],
    source: PixelSource | None,
    batch_size: int | None,
) -> Iterator[Float32[np.ndarray, "b c"]]:
    """Logits of the part, whose images are these rows of the source."""
    if source is None:
        source = open_cache(part, predictor.preprocess, settings=CacheSettings(mode="off"))
        rows = np.arange(len(rows))
    batches = OrderedBatches(
        source,
        rows,
        batch_size=batch_size_of(predictor.engine, batch_size, default=BATCH_IMAGES),
        pin_memory=reads_pinned(predictor.engine),
    )
    for _, logits in predictor.predict_batches(batch.images.numpy() for batch in batches):
        yield logits


def _truth(catalog: Catalog, predictor: Predictor) -> Targets:
    truth = catalog.targets(predictor.labels)
    if not predictor.info.multilabel and several_labels(truth):
        raise CatalogError(
            "images have several labels each, but the model gives one",
            where=catalog.name,
            fix="train with --set training.loss=bce",
        )
    return truth


class _OneLabel:
    """Columns for classes that exclude each other."""

    def __init__(self, predictor: Predictor) -> None:
        self._labels = np.array(predictor.labels, dtype=object)

    def columns(
        self, targets: Targets, rows: slice, probabilities: Float64[np.ndarray, "b c"]
    ) -> pl.DataFrame:
        truth = targets[rows]
        ranks = truth_rank(truth, probabilities)
        best = best_labels(probabilities, NAMED)
        chosen = np.take_along_axis(probabilities, best, axis=1)
        loss = negative_log(probabilities[np.arange(len(truth)), truth])
        return pl.DataFrame(
            {
                "predicted": pl.Series(self._labels[best[:, 0]].tolist(), dtype=pl.String),
                "confidence": pl.Series(chosen[:, 0], dtype=pl.Float32),
                "correct": ranks == 1,
                "rank": pl.Series(ranks, dtype=pl.Int32),
                "loss": pl.Series(loss, dtype=pl.Float32),
                **_named(self._labels, best, chosen),
            }
        )


class _SeveralLabels:
    """Columns for labels that may hold together."""

    def __init__(self, predictor: Predictor) -> None:
        self._labels = np.array(predictor.labels, dtype=object)
        self._thresholds = np.array(predictor.readout.thresholds)

    def columns(
        self, targets: Targets, rows: slice, probabilities: Float64[np.ndarray, "b c"]
    ) -> pl.DataFrame:
        truth = dense_rows(targets, rows, num_classes=probabilities.shape[1])
        given = probabilities >= self._thresholds
        best = best_labels(probabilities, NAMED)
        chosen = np.take_along_axis(probabilities, best, axis=1)
        loss = negative_log(np.where(truth > 0, probabilities, 1.0 - probabilities)).mean(axis=1)
        lists = [self._labels[row].tolist() for row in given]
        return pl.DataFrame(
            {
                "predicted": pl.Series(lists, dtype=pl.List(pl.String)),
                "confidence": pl.Series(chosen[:, 0], dtype=pl.Float32),
                "correct": (given == (truth > 0)).all(axis=1),
                "loss": pl.Series(loss, dtype=pl.Float32),
                **_named(self._labels, best, chosen),
                "scores": pl.Series(probabilities.astype(np.float32)),
            }
        )


def _named(
    labels: np.ndarray[tuple[int], np.dtype[np.object_]],
    best: Int64[np.ndarray, "b k"],
    chosen: Float64[np.ndarray, "b k"],
) -> dict[str, pl.Series]:
    return {
        "top_labels": pl.Series(labels[best].tolist(), dtype=pl.List(pl.String)),
        "top_probabilities": pl.Series(
            chosen.astype(np.float32).tolist(), dtype=pl.List(pl.Float32)
        ),
    }
