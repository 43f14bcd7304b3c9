"""Evaluate: score a model on its own images or on others, with intervals."""

from __future__ import annotations

from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.unlabeled import only_labeled
from shopsight.datasets.open import open_catalog
from shopsight.devices import pick_device
from shopsight.errors import ConfigError
from shopsight.evaluation.evaluate import evaluate as score_catalog
from shopsight.evaluation.evaluate import evaluate_run
from shopsight.evaluation.report import write_evaluation_report, write_run_evaluations
from shopsight.evaluation.score import Evaluation
from shopsight.files import check_output_path
from shopsight.inference.load import load
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import run_of
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line


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

    Without `data` the run's predictions, metrics and report are written again. With it, images
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
    # Before DATA is read: a device that is not there is known at once.
    pick_device(device)
    if data is not None:
        catalog = only_labeled(open_catalog(data, read), read).catalog
        return _evaluate_on(catalog, model, split=split, out=out, device=device)
    run = RunFolder(Path(model))
    if not run.exists():
        raise ConfigError(
            "is not a run folder, and a bundle has no images of its own",
            where=str(model),
            fix=command_line(["shopsight", "evaluate", model, "DATA"]),
        )
    evaluations = evaluate_run(run, splits=(split,), device=device)
    write_run_evaluations(run, evaluations)
    (evaluation,) = evaluations.values()
    return evaluation


def _evaluate_on(
    catalog: Catalog, model: str | Path, *, split: str, out: str | Path | None, device: str
) -> Evaluation:
    if out is not None:
        check_output_path(Path(out))
    part = split if "split" in catalog.table.columns else "all"
    predictor = load(model, device=device)
    evaluation = score_catalog(predictor, catalog, split=part, run=run_of(model))
    if out is not None:
        write_evaluation_report(evaluation, catalog, out, model=model)
    return evaluation
