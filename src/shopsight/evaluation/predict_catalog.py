"""Run a model over the images of a catalog: the table of what it says about each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, Int64

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.errors import CatalogError
from shopsight.evaluation.answer_columns import NAMED, OneLabelColumns, named_labels
from shopsight.evaluation.attribute_columns import AttributeColumns
from shopsight.evaluation.predict_by_product import CatalogProducts
from shopsight.evaluation.predictions import ALL_ROWS, Predictions, part_rows
from shopsight.evaluation.predictions_check import SCORE_ROW
from shopsight.evaluation.score_files import ScoreWriter, new_score_file
from shopsight.evaluation.unknown_columns import UnknownColumns
from shopsight.inference.batches import batch_size_of, reads_pinned
from shopsight.inference.best_labels import best_labels
from shopsight.inference.engine import Outputs
from shopsight.inference.predictor import Predictor
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.classification import negative_log
from shopsight.progress import task
from shopsight.runtime import retain_freed_memory
from shopsight.targets import Targets, dense_rows, several_labels

BATCH_IMAGES = 64
BATCHES_AT_ONCE = 128
MOST_SCORES_IN_TABLE = 1 << 26
"""Of a catalog: 270 MB as fp32. More of them go into a file."""


def predict_catalog(
    predictor: Predictor,
    catalog: Catalog,
    *,
    split: str,
    source: PixelSource | None = None,
    outputs: Iterable[Outputs] | None = None,
    batch_size: int | None = None,
    copies: Int64[np.ndarray, "m"] | None = None,
) -> Predictions:
    """Run the model over the images of one part, each once.

    Where they show products of several photos, the answers for these are in `by_product`.

    Args:
        predictor: the model.
        catalog: labeled images.
        split: "train", "val", "test", or "all" for every row.
        source: of the whole catalog's images; None decodes the files.
        outputs: embeddings and logits of the part's images in their order, in batches, where they
            are already known; None computes them.
        batch_size: images predicted at once; None: as many as fill the engine.
        copies: of the part's images, equal for copies of one; None: none is one.

    Raises:
        CatalogError: the part is empty, or a label is missing or unknown to the model.
        ImageError: a file that cannot be decoded, by name; no other image takes its place.
    """
    rows = _rows_of(catalog, split)
    part = catalog.take(rows)
    truth = _truth(part, predictor)
    if outputs is None:
        outputs = _computed(predictor, part, rows, source, batch_size)
    attributes = None
    if predictor.attributes is not None:
        attributes = AttributeColumns(predictor.attributes, part)
        outputs = attributes.listening(outputs)
    known = None
    if predictor.unknown is not None:
        known = UnknownColumns(predictor.unknown.part)
        outputs = known.listening(outputs)
    logits: Iterable[Float32[np.ndarray, "b c"]] = (logits for _, logits in outputs)
    multilabel = predictor.info.multilabel
    products = CatalogProducts.of(predictor, part, rows, copies)
    if products is not None:
        logits = products.listening(logits)
    # By the whole catalog, so that the parts of K folds are alike.
    filed = multilabel and len(catalog) * len(predictor.labels) > MOST_SCORES_IN_TABLE
    with ExitStack() as stack:
        stack.enter_context(retain_freed_memory())
        writer = None
        if filed:
            writer = stack.enter_context(new_score_file(len(rows), len(predictor.labels)))
        advance = stack.enter_context(task(f"Predicting {split}", total=len(rows)))
        answers = _joined(_answers(predictor, truth, logits, writer, advance))
    assert len(answers) == len(rows), "each image once"
    head = _known(part, rows, multilabel=multilabel)
    if filed:
        head = head.with_columns(pl.Series(SCORE_ROW, np.arange(len(rows))))
    if attributes is not None:
        answers = answers.hstack(attributes.columns(answers["predicted"]))
    if known is not None:
        answers = answers.hstack(known.columns())
    by_product = None
    if products is not None:
        by_product = products.predictions(split=split, catalog=catalog)
    return Predictions(
        table=pl.concat([head, answers], how="horizontal"),
        labels=predictor.labels,
        multilabel=multilabel,
        split=split,
        data=catalog.name,
        synthetic=catalog.synthetic,
        score_files=() if writer is None else (writer.file,),
        by_product=by_product,
        attributes=() if attributes is None else attributes.attributes,
    )


def _rows_of(catalog: Catalog, split: str) -> Int64[np.ndarray, "rows"]:
    """The rows of one part, at least one."""
    rows = part_rows(catalog, split)
    if len(rows):
        return rows
    parts = catalog.table["split"].drop_nulls().unique().to_list() if split != ALL_ROWS else []
    raise CatalogError(
        f"there are no {split} images",
        where=catalog.name,
        fix=" or ".join(f"--split {part}" for part in SPLITS if part in parts) or None,
    )


def _known(part: Catalog, rows: Int64[np.ndarray, "rows"], *, multilabel: bool) -> pl.DataFrame:
    """What is known of each image without a model: these rows of the whole catalog."""
    known = [name for name in ("image", "group", "label") if name in part.table.columns]
    table = part.table.select(known).insert_column(0, pl.Series("row", rows, dtype=pl.Int64))
    if multilabel and not part.multilabel:
        table = table.with_columns(pl.concat_list("label"))
    return table


def _answers(
    predictor: Predictor,
    truth: Targets,
    logits: Iterable[Float32[np.ndarray, "b c"]],
    writer: ScoreWriter | None,
    advance: Callable[[int], None],
) -> Iterator[pl.DataFrame]:
    """What the model says of each batch; the scores of many labels go to the writer."""
    if predictor.info.multilabel:
        table: _SeveralLabels | OneLabelColumns = _SeveralLabels(
            predictor, with_scores=writer is None
        )
    else:
        table = OneLabelColumns(predictor.labels)
    done = 0
    for some in logits:
        probabilities = predictor.probabilities(some)
        yield table.columns(truth, slice(done, done + len(some)), probabilities)
        if writer is not None:
            writer.add(probabilities)
        done += len(some)
        advance(len(some))


def _joined(batches: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All batches below one another.

    Many at a time: thousands of tables of 64 rows take more memory than what is in them.
    """
    remaining = iter(batches)
    pieces = []
    while some := list(islice(remaining, BATCHES_AT_ONCE)):
        pieces.append(pl.concat(some, rechunk=True))
    return pl.concat(pieces, rechunk=True)


def _computed(
    predictor: Predictor,
    part: Catalog,
    rows: Int64[np.ndarray, "n"],
    source: PixelSource | None,
    batch_size: int | None,
) -> Iterator[Outputs]:
    """Embeddings and logits of the part, whose images are these rows of the source."""
    if source is None:
        source = open_cache(part, predictor.preprocess, settings=CacheSettings(mode="off"))
        rows = np.arange(len(rows))
    batches = OrderedBatches(
        source,
        rows,
        batch_size=batch_size_of(predictor.engine, batch_size, default=BATCH_IMAGES),
        pin_memory=reads_pinned(predictor.engine),
    )
    return predictor.predict_batches(batch.images.numpy() for batch in batches)


def _truth(catalog: Catalog, predictor: Predictor) -> Targets:
    truth = catalog.targets(predictor.labels)
    if not predictor.info.multilabel and several_labels(truth):
        raise CatalogError(
            "images have several labels each, but the model gives one",
            where=catalog.name,
            fix="train with --set training.loss=bce",
        )
    return truth


class _SeveralLabels:
    """Columns for labels that may hold together."""

    def __init__(self, predictor: Predictor, *, with_scores: bool) -> None:
        self._labels = np.array(predictor.labels, dtype=object)
        self._with_scores = with_scores
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
        scores = {"scores": pl.Series(probabilities.astype(np.float32))}
        return pl.DataFrame(
            {
                "predicted": pl.Series(lists, dtype=pl.List(pl.String)),
                "confidence": pl.Series(chosen[:, 0], dtype=pl.Float32),
                "correct": (given == (truth > 0)).all(axis=1),
                "loss": pl.Series(loss, dtype=pl.Float32),
                **named_labels(self._labels, best, chosen),
                **(scores if self._with_scores else {}),
            }
        )
