"""Evaluate: score a model on its own images or on others, with intervals."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

from shopsight.audit.findings import check_kinds
from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.rare_classes import apply_rare_labels
from shopsight.catalog.unlabeled import only_labeled
from shopsight.catalog.used_boxes import with_used_boxes
from shopsight.commands.early_checks import check_run
from shopsight.datasets.open import open_catalog
from shopsight.devices import pick_device
from shopsight.errors import ChangedFilesError, ConfigError, ImageError, ReadOnlyError
from shopsight.evaluation.evaluate import evaluate as score_catalog
from shopsight.evaluation.evaluate import evaluate_run
from shopsight.evaluation.left_out import DAMAGED, without_bad_files
from shopsight.evaluation.predictions import ALL_ROWS
from shopsight.evaluation.product_scores import check_products
from shopsight.evaluation.report import write_evaluation_report, write_run_evaluations
from shopsight.evaluation.run_images import CHANGED_FILE, check_run_images
from shopsight.evaluation.score import Evaluation
from shopsight.inference.load import load
from shopsight.io.own_folder import refuse_links_out
from shopsight.output_locks import only_writer_of_file, only_writer_of_folder
from shopsight.output_paths import PAGE_SUFFIXES, check_output_path, check_suffix
from shopsight.progress import notify
from shopsight.read_options import RUN_OPTIONS, ReadOptions, flag_of
from shopsight.runs.discover import run_of
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line

By = Literal["image", "product"]


def evaluate(
    model: str | Path,
    data: str | Path | Catalog | None = None,
    *,
    read: ReadOptions | None = None,
    split: str = "test",
    out: str | Path | None = None,
    accept: Collection[str] = (),
    by: By = "image",
    device: str = "auto",
) -> Evaluation:
    """Score a run or a bundle on its own images or on others.

    Without `data` the run's images are compared with the hashes in its catalog, and its
    predictions, metrics and report are written again. With it, images that the model was trained
    on are left out of the score, if there are others; `seen` of the result counts them. Only a
    run, or the bundle in it, knows them.

    Args:
        model: a run folder, or a bundle with `data`.
        data: None takes the run's own catalog; of a K-fold run each image by the network that
            never saw it, whatever `split` says. All rows of other data count when it is not split.
        read: how DATA is read; None guesses everything. Without `data` only `images_root`: where
            the run's images lie now, which the run keeps; and what else may be read for them:
            `allow_outside`, `allow_remote`, `allow_private`.
        split: "train", "val", "test", or "all".
        out: the .html file for the report. With None, DATA gets none, and a run's own report is
            written into its folder, with its predictions and scores, unless that is read-only.
        accept: without `data`, "changed-file" scores images that changed since training as they
            are now, and leaves out those that vanished. With it, "damaged" scores damaged files,
            which are left out otherwise, as those are that cannot be read.
        by: "product" needs products of several photos, and refuses what has none. Where there are
            some, `by_product` of the result has their score in either case.
        device: "auto" takes CUDA when it is there, else the CPU.

    Raises:
        ChangedFilesError: images of the run changed or vanished; nothing is written.
        LockedError: another process trains or scores the run, or writes `out`.
        ShopsightError: `out` is no name of a page; a bundle without data; a label that the model
            does not know; a file that cannot be read.
    """
    # Before DATA is read: a device that is not there is known at once, and so is where to write.
    pick_device(device)
    if split not in (*SPLITS, ALL_ROWS):
        known = " or ".join(f"--split {part}" for part in (*SPLITS, ALL_ROWS))
        raise ConfigError(f"{split!r} is not a part of a split", where="--split", fix=known)
    if out is not None:
        check_output_path(check_suffix(out, PAGE_SUFFIXES, things="reports"))
    run = RunFolder(Path(model))
    with _only_writer(run if data is None else None, out):
        if data is None:
            return _evaluate_own(
                run, read, split=split, out=out, accept=accept, by=by, device=device
            )
        check_kinds("--accept", accept, {DAMAGED})
        return _evaluate_on(
            data, read, model, split=split, out=out, accept=accept, by=by, device=device
        )


def _only_writer(run: RunFolder | None, out: str | Path | None) -> AbstractContextManager[None]:
    """Have this process alone write `out`, or the run that gets its own scores without it."""
    if out is not None:
        return only_writer_of_file(out)
    return only_writer_of_folder(run.path) if run is not None and run.exists() else nullcontext()


def _evaluate_own(
    run: RunFolder,
    read: ReadOptions | None,
    *,
    split: str,
    out: str | Path | None,
    accept: Collection[str],
    by: By,
    device: str,
) -> Evaluation:
    check_run(run.path)
    read = read or ReadOptions()
    ignored = [flag_of(name) for name in read.given() if name not in RUN_OPTIONS]
    if ignored:
        raise ConfigError(
            f"{', '.join(ignored)} would change nothing: without DATA the run's own images are "
            "scored, as it read them",
            fix=command_line(["shopsight", "evaluate", run.path, "DATA"]),
        )
    if not run.is_own():
        refuse_links_out(run.path)
    command = ["shopsight", "evaluate", run.path]
    with use_run_access(RunAccess.by_flags(read)):
        if by == "product":
            catalog = run.catalog()
            check_products(catalog, multilabel=catalog.multilabel)
        images = check_run_images(run, command=command, accept=accept, images_root=read.images_root)
        try:
            evaluations = evaluate_run(run, splits=(split,), device=device, images=images)
        except ImageError as error:
            if error.reason != "changed":
                raise
            # A file of the same size and time: only its hash gives it away.
            raise ChangedFilesError(
                error.what,
                where=error.where,
                fix=f"bring it back\n{command_line([*command, '--accept', CHANGED_FILE])}",
            ) from error
        (evaluation,) = evaluations.values()
        try:
            report = write_run_evaluations(run, evaluations, out=out, device=device)
        except ReadOnlyError as error:
            if out is not None:
                raise
            # A share that others may read: the scores are worth having all the same.
            notify(
                f"nothing was written: {error.where}: {error.what}; --out FILE writes the report "
                "elsewhere"
            )
            return evaluation
    return replace(evaluation, report=report)


def _evaluate_on(
    data: str | Path | Catalog,
    read: ReadOptions | None,
    model: str | Path,
    *,
    split: str,
    out: str | Path | None,
    accept: Collection[str],
    by: By,
    device: str,
) -> Evaluation:
    run = run_of(model)
    catalog = _with_labels_of(run, only_labeled(open_catalog(data, read), read).catalog)
    part = split if "split" in catalog.table.columns else ALL_ROWS
    predictor = load(model, device=device)
    catalog = with_used_boxes(catalog, used=predictor.preprocess.boxes)
    if by == "product":
        check_products(catalog, multilabel=predictor.info.multilabel)
    catalog, left_out, inspected = without_bad_files(catalog, split=part, accept=accept)
    scored = score_catalog(predictor, catalog, split=part, run=run, inspected=inspected)
    evaluation = replace(scored, left_out=left_out)
    if out is None:
        return evaluation
    report = write_evaluation_report(evaluation, catalog, out, model=model, predictor=predictor)
    return replace(evaluation, report=report)


def _with_labels_of(run: RunFolder | None, catalog: Catalog) -> Catalog:
    """The catalog with rare classes dropped, merged or folded as they were for the run."""
    if run is None:
        return catalog
    rare = run.state().get("rare", {})
    settled, notes = apply_rare_labels(
        catalog,
        merged=rare.get("merged", ()),
        dropped=rare.get("dropped", ()),
        folded=rare.get("folded", {}),
    )
    for line in notes:
        notify(line)
    return settled
