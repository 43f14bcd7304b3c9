"""Several runs on the very same test images: which is better, by how much, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight import progress
from shopsight.bundle.read import read_bundle
from shopsight.errors import CompareError, ExtraMissingError, WeightsError
from shopsight.evaluation.alignment import align_predictions
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.evaluation.paired_scores import paired_scores, scores_alone
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.predictions_check import SCORE_ROW
from shopsight.metrics.intervals import Interval
from shopsight.models.build import build_model
from shopsight.profiling.profile import LATENCY_BATCH, THROUGHPUT_BATCH, Profile
from shopsight.profiling.speed import profile_and_time
from shopsight.progress import task
from shopsight.runs.audited_catalog import SHA256
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder

COMPARED = ("row", "image", "group", "label", "correct", "scores", SCORE_ROW)
"""Columns of predictions that a comparison reads: of a million images half of the memory."""


def unbuildable(backbones: Sequence[str], build: Callable[[str], object]) -> dict[str, str]:
    """The backbones that cannot be built here, with the reason, before hours go into the others.

    Args:
        backbones: names, see `shopsight.backbones.create`.
        build: builds one with its weights. A `WeightsError` or `ExtraMissingError` leaves it out;
            any other error is the user's to fix, and is let through.

    Raises:
        CompareError: fewer than two would be left.
    """
    left_out = {}
    for backbone in backbones:
        try:
            build(backbone)
        except (WeightsError, ExtraMissingError) as error:
            remedies = "; ".join((error.fix or "").splitlines())
            left_out[backbone] = error.what + (f" ({remedies})" if remedies else "")
            progress.notify(f"{backbone}: left out, {error.what}")
    left = len(backbones) - len(left_out)
    if left < 2:
        raise CompareError(
            f"{left} of {len(backbones)} backbones can be built here; comparing takes two",
            details=[f"{backbone}: {reason}" for backbone, reason in left_out.items()],
            fix="name another, as embedded:tf_efficientnet_lite0, whose weights come with pip",
        )
    return left_out


def compare_runs(
    runs: Sequence[Path | str],
    *,
    split: str | None = None,
    names: Sequence[str] = (),
    measure: bool = True,
    alone: bool = False,
    device: str = "auto",
    report_on: str | None = None,
) -> Comparison:
    """Compare finished runs.

    Args:
        runs: run folders.
        split: whose predictions are compared: "test", "val", "out-of-fold"; None takes "test",
            or "out-of-fold" where the runs are K-fold trainings.
        names: shown instead of the folders' names.
        measure: profile each model and time it on `device`, one after the other.
        alone: one run is enough.
        device: its name, see `shopsight.devices`.
        report_on: a part whose predictions choose nothing: each run's score on it is given
            beside the comparison; None gives none.

    Raises:
        CompareError: fewer than two runs, they were not tested on the same images, or only some
            of them are K-fold runs.
        TrainingError: a folder holds no run, or one of another version.
        CatalogError: a run has no such predictions.
        BundleError: a model cannot be read.
    """
    folders = [RunFolder(Path(run)) for run in runs]
    if len(folders) < (1 if alone else 2):
        raise CompareError("one run alone cannot be compared", fix="name two runs or more")
    names = list(names) or _distinct_names([run.path for run in folders])
    split = _split_of(folders, names, split)
    predictions = _aligned(folders, names, split)
    paired = paired_scores(predictions, names)
    reporting = [] if report_on is None else _aligned(folders, names, report_on)
    reported = scores_alone(reporting) if reporting else [None] * len(folders)
    entries = [
        _entry(*each)
        for each in zip(folders, names, paired.scores, paired.differences, reported, strict=True)
    ]
    if measure:
        entries = _measured(entries, device)
    best = entries.pop(paired.best)
    first = predictions[0]
    return Comparison(
        entries=(best, *sorted(entries, key=lambda entry: (-entry.score.value, entry.name))),
        metric=paired.metric,
        data=first.data,
        split=split,
        images=len(first),
        grouped=paired.grouped,
        synthetic=first.synthetic,
        recall=_recall(reporting or predictions, names),
        optimism=paired.optimism,
        reported_on=report_on or "",
        reported_images=len(reporting[0]) if reporting else 0,
    )


def choosing_parts(runs: Sequence[Path | str]) -> tuple[str | None, str | None]:
    """The part that chooses among runs, and the one that reports: validation, then test images.

    Of K-fold runs, and of runs without validation images, one part has to do both: it is None,
    the default of `compare_runs`, and nothing reports.
    """
    folders = [RunFolder(Path(run)) for run in runs]
    parts = ("val", "test")
    if all(run.predictions_file(part).is_file() for run in folders for part in parts):
        return parts
    return None, None


def _split_of(runs: Sequence[RunFolder], names: Sequence[str], split: str | None) -> str:
    """The part to compare: the given one, or that which all runs are scored on.

    Raises:
        CompareError: K-fold runs beside others, unless all have the predictions asked for.
    """
    if split is not None and all(run.predictions_file(split).is_file() for run in runs):
        return split
    folded = [name for name, run in zip(names, runs, strict=True) if run.is_folds_run()]
    plain = [name for name in names if name not in folded]
    if folded and plain:
        count = runs[list(names).index(folded[0])].recipe().folds.count
        raise CompareError(
            f"{folded[0]} is a K-fold run and {plain[0]} is not: one is scored on all images, "
            "out of fold, the other on its test images",
            details=[f"{name}: {'K-fold' if name in folded else 'one split'}" for name in names],
            fix=f"train {plain[0]} again with --folds {count}, or {folded[0]} without --folds",
        )
    return split or (OUT_OF_FOLD if folded else "test")


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to make them different."""
    parts = [folder.absolute().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise CompareError(
        "the same run is named twice",
        details=[str(folder) for folder in folders],
        fix="shopsight compare RUN OTHER_RUN",
    )


def _aligned(runs: Sequence[RunFolder], names: Sequence[str], split: str) -> list[Predictions]:
    return align_predictions([_predictions(run, split) for run in runs], names)


def _predictions(run: RunFolder, split: str) -> Predictions:
    """With the files' hashes, as names alone do not make images the same, and with the copies."""
    audited = run.audited_catalog()
    predictions = Predictions.read(run.predictions_file(split), COMPARED, catalog_rows=len(audited))
    rows = predictions.table["row"]
    table = predictions.table.with_columns(audited.sha256.gather(rows).alias(SHA256))
    copies = audited.duplicate_group[rows.to_numpy()]
    return replace(predictions, table=table).with_duplicate_groups(copies)


def _entry(
    run: RunFolder,
    name: str,
    score: Interval,
    difference: Interval | None,
    reported: Interval | None,
) -> Entry:
    recipe = run.recipe()
    spent = [stage for training in run.trainings() for stage in training.seconds().values()]
    return Entry(
        name=name,
        run=run.path,
        backbone=recipe.model.backbone,
        recipe=recipe.about.title,
        score=score,
        difference=difference,
        profile=None,
        training_s=sum(stage["wall"] for stage in spent) if spent else None,
        training_cpu_s=sum(stage["cpu"] for stage in spent) if spent else None,
        reported=reported,
    )


def _measured(entries: Sequence[Entry], device: str) -> list[Entry]:
    """The entries with the cost of their models, measured one after the other."""
    measured = []
    with task("Measuring models", total=len(entries), unit="models") as advance:
        for entry in entries:
            run = RunFolder(entry.run)
            profile = _profile(run, device) if run.has_model() else None
            measured.append(replace(entry, profile=profile))
            advance(1)
    return measured


def _profile(run: RunFolder, device: str) -> Profile:
    bundle = read_bundle(run.model)
    return profile_and_time(
        build_model(bundle),
        name=bundle.info.backbone,
        num_classes=len(bundle.info.labels),
        batches=(LATENCY_BATCH, THROUGHPUT_BATCH),
        device=device,
    )


def _recall(predictions: Sequence[Predictions], names: Sequence[str]) -> pl.DataFrame:
    first = predictions[0]
    if first.multilabel:
        return pl.DataFrame(schema={"label": pl.String, "images": pl.Int64})
    table = first.table.group_by("label").agg(pl.len().cast(pl.Int64).alias("images"))
    for part, name in zip(predictions, names, strict=True):
        found = part.table.group_by("label").agg(pl.col("correct").mean().alias(name))
        table = table.join(found, on="label")
    return table.sort("images", "label", descending=[True, False])
