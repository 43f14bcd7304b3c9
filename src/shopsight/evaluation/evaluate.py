"""Measure a model on labeled images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.config.sections import EvaluationSettings
from shopsight.evaluation.predictions import Predictions, predict_catalog
from shopsight.evaluation.score import Evaluation, score
from shopsight.evaluation.train_overlap import Seen, seen_in_training
from shopsight.files import read_json, write_json
from shopsight.inference.predictor import Predictor
from shopsight.loading.cache import PixelSource

__all__ = ["Evaluation", "evaluate", "write_evaluation"]


def evaluate(
    predictor: Predictor,
    catalog: Catalog,
    *,
    split: str = "test",
    settings: EvaluationSettings | None = None,
    source: PixelSource | None = None,
    logits: Iterable[Float32[np.ndarray, "b c"]] | None = None,
    run: Path | None = None,
    batch_size: int = 64,
) -> Evaluation:
    """Predict every image of one part of the catalog and score the predictions.

    Args:
        split: "train", "val", "test", or "all" for every row.
        source: of the whole catalog's images, for instance the epoch cache; None decodes
            the files, once.
        logits: see `predict_catalog`.
        run: the model's own, where the catalog is another's: images that the model was trained
            on are looked up in it, told, and left out of the score if there are others.

    Raises:
        CatalogError: the part is empty, or a label is missing or unknown to the model.
        ImageError: a file that cannot be decoded, by name; no other image takes its place.
    """
    predictions = predict_catalog(
        predictor, catalog, split=split, source=source, logits=logits, batch_size=batch_size
    )
    if run is None:
        return score(predictions, settings)
    return _score_of_unseen(predictions, catalog, run, settings)


def _score_of_unseen(
    predictions: Predictions, catalog: Catalog, run: Path, settings: EvaluationSettings | None
) -> Evaluation:
    everything = score(predictions, settings)
    rows = predictions.table["row"].to_numpy()
    seen = seen_in_training(catalog.take(rows).refs(), run)
    if seen is None:
        progress.notify(f"{run} does not say what it was trained on: its images may be among these")
        return everything
    found, either = everything, seen.either
    if either.any() and not either.all():
        unseen = predictions.table.filter(pl.Series(~either))
        found = score(replace(predictions, table=unseen), settings)
    overlap = Seen(
        images=len(predictions),
        seen=int(either.sum()),
        copies=int(seen.copies.sum()),
        score_on_all=everything.score.value,
    )
    if overlap.note:
        progress.notify(overlap.note)
    return replace(found, seen=overlap)


def predictions_path(run: Path | str, split: str) -> Path:
    """Where a run keeps the predictions of one part."""
    return Path(run) / "predictions" / f"{split}.parquet"


def write_evaluation(run: Path | str, evaluation: Evaluation) -> None:
    """Write predictions/<split>.parquet and the part's entry in metrics.json of a run folder."""
    evaluation.predictions.write(predictions_path(run, evaluation.split))
    path = Path(run) / "metrics.json"
    written: dict[str, Any] = read_json(path) if path.is_file() else {}
    write_json(path, written | {evaluation.split: evaluation.to_json()})
