"""Evaluate: score a model on its own images or on others, with intervals."""

from __future__ import annotations

from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError
from shopsight.evaluation.evaluate import evaluate as score_catalog
from shopsight.evaluation.evaluate import write_evaluation
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import write_evaluation_report, write_report
from shopsight.evaluation.score import Evaluation, score
from shopsight.evaluation.train_overlap import run_of
from shopsight.inference.features import run_logits
from shopsight.inference.load import load
from shopsight.loading.cache import image_keys, open_cache
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder

PARTS = ("val", "test")


def evaluate(
    model: str | Path,
    data: str | Path | Catalog | None = None,
    *,
    read: ReadOptions | None = None,
    split: str = "test",
    out: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score a run or a bundle on its own images or on others.

    Without `data` the run's predictions, metrics and report are written anew. With it, images
    that the model was trained on are left out of the score, if there are others; `seen` of the
    result counts them. Only a run, or the bundle in it, knows them.

    Args:
        model: a run folder, or a bundle with `data`.
        data: None takes the run's own catalog; of a K-fold run each image by the network that
            never saw it, whatever `split` says. All rows of other data count when it is not split.
        read: how DATA is read; None guesses everything.
        split: "train", "val", "test", or "all".
        out: with `data`, the .html file for the report; None writes none.
        device: "auto" takes CUDA when it is there, else the CPU.

    Raises:
        ShopsightError: a bundle without data; a label that the model does not know; a file that
            cannot be read.
    """
    if data is not None:
        return _evaluate_on(open_catalog(data, read), model, split=split, out=out, device=device)
    run = RunFolder(Path(model))
    if not run.catalog_file.is_file():
        raise ConfigError(
            "is not a run folder, and a bundle has no images of its own",
            where=str(model),
            fix=f"shopsight evaluate {model} DATA",
        )
    if run.recipe().folds.count:
        evaluation = out_of_fold(run)
    else:
        predictor = load(model, device=device)
        settings = run.recipe().evaluation
        evaluation = score_catalog(predictor, run.catalog(), split=split, settings=settings)
    write_evaluation(run.path, evaluation)
    write_report(run.path)
    return evaluation


def _evaluate_on(
    catalog: Catalog, model: str | Path, *, split: str, out: str | Path | None, device: str
) -> Evaluation:
    part = split if "split" in catalog.table.columns else "all"
    predictor = load(model, device=device)
    evaluation = score_catalog(predictor, catalog, split=part, run=run_of(model))
    if out is not None:
        write_evaluation_report(evaluation, catalog, out, model=model)
    return evaluation


def evaluate_parts(run: RunFolder) -> dict[str, Evaluation]:
    """Score a run's validation and test part, on the images that training cached."""
    recipe, catalog = run.recipe(), run.catalog()
    predictor = load(run.path, device="cpu" if recipe.hardware.accelerator == "cpu" else "auto")
    sha256s = catalog.table["sha256"].to_list()
    source = open_cache(catalog, predictor.preprocess, settings=recipe.cache, sha256s=sha256s)
    keys = image_keys(sha256s, catalog.boxes())
    scored = {}
    for part in PARTS:
        rows = catalog.rows_of(part)
        if len(rows):
            scored[part] = score_catalog(
                predictor,
                catalog,
                split=part,
                settings=recipe.evaluation,
                source=source,
                logits=run_logits(run, predictor, source, rows, keys=keys),
            )
    return scored


def out_of_fold(run: RunFolder) -> Evaluation:
    """Score all images of a K-fold run at once, each by the network that never saw it."""
    recipe = run.recipe()
    folds = [RunFolder(run.path / "folds" / str(number)) for number in range(recipe.folds.count)]
    predictions = [evaluate_parts(fold)["test"].predictions for fold in folds]
    return score(Predictions.concat(predictions), recipe.evaluation)
