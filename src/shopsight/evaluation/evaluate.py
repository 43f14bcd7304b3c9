"""Measure a model on labeled images: a trained run on its own, or any model on a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from shopsight import progress
from shopsight.audit.file_info import Inspection, inspect_catalog
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation.copies import duplicate_groups
from shopsight.evaluation.decisions import (
    Decisions,
    decisions_of_run,
    decisions_on_other_data,
)
from shopsight.evaluation.headline import headline_value
from shopsight.evaluation.predict_catalog import predict_catalog
from shopsight.evaluation.predictions import Predictions, part_rows
from shopsight.evaluation.run_images import UNCHANGED, RunImages
from shopsight.evaluation.score import Evaluation, score
from shopsight.evaluation.train_overlap import TrainOverlap, products_trained_on, seen_in_training
from shopsight.files import write_json
from shopsight.inference.engine import Outputs
from shopsight.inference.features import run_outputs
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.io.json_files import read_json_table
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder

__all__ = ["Evaluation", "evaluate", "evaluate_run", "out_of_fold_predictions", "write_evaluation"]


def evaluate(
    predictor: Predictor,
    catalog: Catalog,
    *,
    split: str = "test",
    settings: EvaluationSettings | None = None,
    source: PixelSource | None = None,
    outputs: Iterable[Outputs] | None = None,
    run: RunFolder | None = None,
    batch_size: int | None = None,
    inspected: Inspection | None = None,
) -> Evaluation:
    """Predict every image of one part of the catalog and score the predictions.

    Args:
        predictor: the model.
        catalog: labeled images.
        split: "train", "val", "test", or "all" for every row.
        settings: None takes the defaults of a recipe.
        source: pixels of the whole catalog, for instance the epoch cache; None decodes the
            files, once.
        outputs: see `predict_catalog`.
        run: the model's own run, where the catalog is another's: images that the model was
            trained on are looked up in it, reported, and left out of the score if there are
            others.
        batch_size: images predicted at once, see `predict_catalog`.
        inspected: what is known of the part's files: copies of one image then count as one in
            the intervals. None: they are not searched for.

    Raises:
        CatalogError: the part is empty, or a label is missing or unknown to the model.
        ImageError: a file that cannot be decoded, by name; no other image takes its place.
    """
    part = catalog.take(part_rows(catalog, split))
    copies = None
    if inspected is not None and len(part):
        copies = duplicate_groups(part, inspected)
    predictions = predict_catalog(
        predictor,
        catalog,
        split=split,
        source=source,
        outputs=outputs,
        batch_size=batch_size,
        copies=copies,
    )
    if copies is not None:
        predictions = predictions.with_duplicate_groups(copies)
    if run is None:
        return score(predictions, settings)
    return _score_of_unseen(predictions, inspected or inspect_catalog(part), run, settings)


def evaluate_run(
    run: RunFolder,
    *,
    splits: Sequence[str] | None = None,
    device: str = "auto",
    cached: bool = False,
    images: RunImages = UNCHANGED,
) -> dict[str, Evaluation]:
    """Score a run on its own images; each part is predicted once and scored once.

    Nothing is written: see `shopsight.evaluation.report.write_run_evaluations`.

    Args:
        run: a finished run.
        splits: the parts of a run with one split; None takes "val" and "test", as far as the
            run has such images. A K-fold run has one part, "out-of-fold": every image, by the
            network that never saw it, whatever `splits` says.
        device: its name, see `shopsight.devices`.
        cached: take the pixels and the features that training has kept, and keep what is
            missing, instead of decoding the files.
        images: what became of the run's images, where that is accepted: those that changed are
            scored as they are now, those that vanished are left out.

    Returns:
        An evaluation per part.

    Raises:
        TrainingError: no run, or one of another version.
        BundleError: the model cannot be opened.
        CatalogError: a part is empty.
        ImageError: a file that cannot be decoded, or is not the one that the run was made with.
    """
    if run.is_folds_run():
        predictions = out_of_fold_predictions(run, device=device, cached=cached, images=images)
        return {predictions.split: score_of_run(run, predictions)}
    if splits is None:
        parts = set(run.catalog().table["split"])
        splits = [split for split in ("val", "test") if split in parts]
    found = _run_predictions(run, splits, device=device, cached=cached, images=images)
    return {split: score_of_run(run, predictions) for split, predictions in found.items()}


def score_of_run(run: RunFolder, predictions: Predictions) -> Evaluation:
    """Score what a run predicted of its own images.

    Raises:
        MetricError: there are no predictions.
    """
    recipe = run.recipe()
    decisions = decisions_of_run(
        recipe, predictions.split, predictions.data, multilabel=predictions.multilabel
    )
    return score(predictions, recipe.evaluation, decisions=decisions)


def out_of_fold_predictions(
    run: RunFolder, *, device: str = "auto", cached: bool = False, images: RunImages = UNCHANGED
) -> Predictions:
    """Every image of a K-fold run, predicted once, by the network that never saw it.

    Args:
        run: a finished K-fold run.
        device: see `evaluate_run`.
        cached: see `evaluate_run`.
        images: see `evaluate_run`.

    Raises:
        BundleError: a fold's model cannot be opened.
    """
    parts = [
        _run_predictions(fold, ("test",), device=device, cached=cached, images=images)["test"]
        for fold in run.folds()
    ]
    return Predictions.concat(parts, split=OUT_OF_FOLD)


def _run_predictions(
    run: RunFolder, splits: Sequence[str], *, device: str, cached: bool, images: RunImages
) -> dict[str, Predictions]:
    whole, predictor = run.audited_catalog(), load(run.path, device=device, engine="torch")
    there = images.rows_there(whole)
    audited = images.now(whole)
    catalog, sha256s = audited.catalog, audited.sha256.to_list()
    # Without the cache, files are compared with their hash while they are decoded.
    settings = run.recipe().pixel_cache if cached else CacheSettings(mode="off")
    source = open_cache(catalog, predictor.preprocess, settings=settings, sha256s=sha256s)
    keys = image_keys(sha256s, catalog.boxes())

    def predicted(split: str) -> Predictions:
        outputs = None
        if cached:
            outputs = run_outputs(run, predictor, source, catalog.rows_of(split), keys=keys)
        copies = audited.duplicate_group[part_rows(catalog, split)]
        found = predict_catalog(
            predictor, catalog, split=split, source=source, outputs=outputs, copies=copies
        )
        found = found.with_duplicate_groups(copies)
        # Rows are counted in the run's own catalog, whatever vanished.
        return found.with_rows(there)

    return {split: predicted(split) for split in splits}


def _score_of_unseen(
    predictions: Predictions,
    inspected: Inspection,
    run: RunFolder,
    settings: EvaluationSettings | None,
) -> Evaluation:
    seen = seen_in_training(inspected, run)
    either = seen.either
    scored = predictions
    if either.any() and not either.all():
        scored = predictions.without_rows(predictions.table["row"].filter(pl.Series(either)))
    overlap = TrainOverlap(
        images=len(predictions),
        seen=int(either.sum()),
        copies=int(seen.copies.sum()),
        score_on_all=headline_value(predictions),
    )
    if overlap.note:
        progress.notify(overlap.note)
    if either.all():
        decisions = Decisions(fitted=True)
    else:
        decisions = decisions_on_other_data(run.recipe(), predictions.data)
    found = replace(score(scored, settings, decisions=decisions), seen=overlap)
    if found.by_product is None or either.all():
        return found
    # The same products in another export, by other photos: no file is alike.
    names = found.by_product.evaluation.predictions.table["group"]
    known = replace(found.by_product, num_known=products_trained_on(names, run))
    return replace(found, by_product=known)


def write_evaluation(run: RunFolder, evaluation: Evaluation) -> None:
    """Write the part's predictions and its entry in the scores of a run folder."""
    evaluation.predictions.write(run.predictions_file(evaluation.split))
    path = run.scores_file
    written = read_json_table(path) if path.is_file() else {}
    write_json(path, {**written, evaluation.split: evaluation.to_json()})
