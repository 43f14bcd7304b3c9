"""The verbs: one function = one command, keyword-only, typed results.

`DATA` is whatever `open_catalog` reads: a folder, a table, a named data set, or a `Catalog`. How
it is read (columns, dropped labels, ...) is said once, to `open_catalog`, whose result every verb
takes. Importing this module is cheap: each verb imports what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shopsight.errors import ConfigError

if TYPE_CHECKING:
    from shopsight.audit.audit import AuditReport
    from shopsight.catalog.catalog import Catalog
    from shopsight.catalog.split import SplitReport
    from shopsight.config.recipe import Recipe
    from shopsight.evaluation.compare import Comparison
    from shopsight.evaluation.evaluate import Evaluation
    from shopsight.evaluation.recommend import Recommendation
    from shopsight.inference.inputs import ImageInputs
    from shopsight.inference.predictor import Prediction, Predictor
    from shopsight.profiling.profile import Profile

DEFAULT_RECIPE = "balanced"
PROBE_RECIPE = "fast"


@dataclass(frozen=True)
class SplitResult:
    """Attributes:
    catalog: with a `split` column, or with K folds a `fold` column.
    proof: what was counted on it: images and classes per part, groups and duplicates shared.
    """

    catalog: Catalog
    proof: SplitReport


@dataclass(frozen=True)
class TrainResult:
    """Attributes:
    run: the run folder; `run / "model"` is the bundle that `shopsight.load` opens.
    seconds: wall and CPU seconds by stage.
    evaluations: by part: "val" and "test", or with folds "out-of-fold". Empty in all but the
        first of several training processes.
    report: the one-file report.
    """

    run: Path
    seconds: dict[str, dict[str, float]]
    evaluations: dict[str, Evaluation]
    report: Path

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "model": str(self.run / "model"),
            "seconds": self.seconds,
            "report": str(self.report),
            "evaluations": {part: found.to_json() for part, found in self.evaluations.items()},
        }


def open_catalog(
    data: str | Path | Catalog,
    *,
    image: str | None = None,
    label: str | None = None,
    group: str | None = None,
    images_root: str | Path | None = None,
    label_pattern: str | None = None,
    label_separator: str | None = None,
    root: str | Path | None = None,
    label_map: str | Path | None = None,
    drop: Collection[str] = (),
) -> Catalog:
    """Read a folder, a table or a named data set as a catalog.

    What was guessed is told by `shopsight.progress.notify` and kept in `Catalog.overrides`.

    Raises:
        CatalogError: there is nothing there, or it cannot be read as images with labels.
        SourceError: a named data set is neither at hand nor within reach.
    """
    from shopsight.datasets.open import open_catalog as open_source

    return open_source(
        data,
        image=image,
        label=label,
        group=group,
        images_root=images_root,
        label_pattern=label_pattern,
        label_separator=label_separator,
        root=root,
        label_map=label_map,
        drop=tuple(drop),
    )


def audit(
    data: str | Path | Catalog, *, out: str | Path | None = None, threads: int | None = None
) -> AuditReport:
    """Look at every image once and list what would corrupt a score.

    With `out`, writes audit.html, findings.csv and audit.json there.
    """
    from shopsight.audit.audit import audit as look

    report = look(open_catalog(data), threads=threads)
    if out is not None:
        report.write(out)
    return report


def split(
    data: str | Path | Catalog,
    *,
    out: str | Path | None = None,
    val: float = 0.1,
    test: float = 0.1,
    folds: int = 0,
    seed: int = 0,
) -> SplitResult:
    """Split by class; groups, and duplicates that the audit finds, stay on one side.

    Files that cannot be read are left out by name. A split that DATA brings is kept. With
    `folds`, every image gets a fold instead. `out` is a .csv or .parquet that `train` takes.

    Raises:
        SplitError: a class cannot be in every part.
    """
    from shopsight.audit.audit import audit as look
    from shopsight.audit.findings import BLOCKING_KINDS
    from shopsight.audit.gate import gate
    from shopsight.catalog.split import fold_catalog, split_catalog

    catalog = open_catalog(data)
    report = look(catalog)
    # Nothing is trained here: what leaks or contradicts is for the proof and for `train` to tell.
    passed = gate(catalog, report, accept=BLOCKING_KINDS)
    duplicate_group = report.duplicate_group[passed.rows]
    if folds:
        done, proof = fold_catalog(
            passed.catalog, folds=folds, seed=seed, duplicate_group=duplicate_group
        )
    else:
        done, proof = split_catalog(
            passed.catalog, val=val, test=test, seed=seed, duplicate_group=duplicate_group
        )
    if out is not None:
        done.write(out)
    return SplitResult(done, proof)


def train(
    data: str | Path | Catalog | None = None,
    *,
    out: str | Path,
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    backbone: str | None = None,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    seed: int | None = None,
    folds: int | None = None,
    fold: int | None = None,
    settings: Sequence[str] = (),
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> TrainResult:
    """Audit, split, train, evaluate on val and test, and write a bundle and a report.

    Args:
        data: None takes the data set that the recipe names.
        backbone, epochs, time_limit_s, seed, folds: what people change most of a recipe.
        fold: of the K folds, train only the one that is tested on this fold.
        settings: any other leaf of the recipe, as "optimizer.lr=3e-4".
        accept: kinds of audit findings to train in spite of.
        leave_out: kinds to mend by leaving files out: "split-leak", "label-conflict".

    Raises:
        ShopsightError: anything that would make the training fail or its score wrong; all of it
            before the first step.
    """
    from shopsight.training.fit import fit
    from shopsight.training.folds import fit_folds

    overrides = {
        "model.backbone": backbone,
        "training.epochs": epochs,
        "training.time_limit_s": time_limit_s,
        "seed": seed,
        "folds.count": folds,
    }
    flags = [f"{key}={value}" for key, value in overrides.items() if value is not None]
    chosen = _recipe(recipe, [*flags, *settings])
    catalog = _training_catalog(data, chosen)
    if chosen.folds.count and fold is None:
        fit_folds(catalog, chosen, out, accept=accept, exclude=exclude)
    else:
        fit(catalog, chosen, out, accept=accept, exclude=exclude, fold=fold)
    return _reported(Path(out))


def recipe_data(recipe: str | Path | Recipe, settings: Sequence[str] = ()) -> str:
    """The data set that the recipe names, which `train` takes when it is given no other.

    Raises:
        ConfigError: no such recipe, or it is for any data.
    """
    return _named_data(_recipe(recipe, settings))


def resume(run: str | Path) -> TrainResult:
    """Go on with a run that was interrupted, to the same result.

    Raises:
        TrainingError: there is no run that began.
    """
    from shopsight.training.fit import resume as run_stages
    from shopsight.training.folds import is_folds_run, resume_folds

    if is_folds_run(run):
        resume_folds(run)
    else:
        run_stages(run)
    return _reported(Path(run))


def evaluate(
    model: str | Path,
    data: str | Path | Catalog | None = None,
    *,
    split: str = "test",
    out: str | Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score a run or a bundle on its own images or on others.

    Without `data` the run's predictions, metrics and report are written anew. With it, images
    that the model was trained on are left out of the score, if there are others; `seen` of the
    result tells how many. Only a run, or the bundle in it, knows them.

    Args:
        model: a run folder, or a bundle with `data`.
        data: None takes the run's own catalog; of a K-fold run each image by the network that
            never saw it, whatever `split` says. All rows of other data count when it is not split.
        out: a report file to write, with `data`.

    Raises:
        ShopsightError: a bundle without data; a label that the model does not know; a file that
            cannot be read.
    """
    from shopsight.evaluation.evaluate import evaluate as score
    from shopsight.evaluation.evaluate import write_evaluation
    from shopsight.evaluation.report import write_evaluation_report, write_report
    from shopsight.evaluation.train_overlap import run_of

    run = Path(model) if (Path(model) / "catalog.parquet").is_file() else None
    if data is None and run is None:
        raise ConfigError(
            "is no run folder, and a bundle has no images of its own",
            where=str(model),
            fix=f"shopsight evaluate {model} DATA",
        )
    if data is not None:
        catalog = open_catalog(data)
        part = split if "split" in catalog.table.columns else "all"
        evaluation = score(load(model, device=device), catalog, split=part, run=run_of(model))
        if out is not None:
            write_evaluation_report(evaluation, catalog, out, model=model)
        return evaluation
    assert run is not None
    recipe = _recipe_of(run)
    if recipe.folds.count:
        (evaluation,) = _out_of_fold(run).values()
    else:
        predictor = load(model, device=device)
        evaluation = score(predictor, _catalog_of(run), split=split, settings=recipe.evaluation)
    write_evaluation(run, evaluation)
    write_report(run)
    return evaluation


def load(model: str | Path, *, device: str = "auto", verify: bool = True) -> Predictor:
    """Open a bundle, or the one in a run folder; `shopsight.load` is the same.

    Raises:
        BundleError: it is incomplete, changed, or computes something else on this machine.
    """
    from shopsight.inference.load import load as open_bundle

    return open_bundle(model, device=device, verify=verify)


def predict(
    model: str | Path | Predictor,
    images: ImageInputs,
    *,
    top: int = 5,
    batch_size: int = 32,
    on_error: Literal["report", "raise"] = "report",
    device: str = "auto",
) -> Iterator[Prediction]:
    """Label paths, folders, bytes, PIL images or arrays, while they stream; order is kept.

    `shopsight.inference.writers` writes predictions to a file, and sorts images into folders.

    Raises:
        BundleError: the model cannot be opened.
        ImageError: an image cannot be read and `on_error` is "raise".
    """
    predictor = load(model, device=device) if isinstance(model, str | Path) else model
    return predictor.predict(images, top=top, batch_size=batch_size, on_error=on_error)


def compare(
    runs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    split: str | None = None,
    measure: bool = True,
    device: str = "auto",
) -> Comparison:
    """Put finished runs beside each other: scores with paired differences, and cost.

    With `out`, writes compare.html, compare.csv and compare.json there.

    Args:
        split: whose predictions: "test", "val", "out-of-fold"; None takes "test", or
            "out-of-fold" of K-fold runs.
        measure: profile each model, and time it on `device`.

    Raises:
        CompareError: fewer than two runs, or they were tested on different images.
    """
    from shopsight.evaluation.compare import compare_runs
    from shopsight.evaluation.compare_page import write_comparison

    comparison = compare_runs(runs, split=split, measure=measure, device=device)
    if out is not None:
        write_comparison(out, comparison)
    return comparison


def compare_backbones(
    data: str | Path | Catalog,
    *,
    backbones: Sequence[str],
    out: str | Path,
    recipe: str | Path | Recipe = PROBE_RECIPE,
    settings: Sequence[str] = (),
    device: str = "auto",
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Comparison:
    """Train one run per backbone in `out` by the same recipe (a probe by default); compare them.

    A run that is there already is taken, or gone on with. All backbones are built before the first
    is trained; those whose weights or libraries are out of reach are left out by name.

    Raises:
        CompareError: fewer than two of them can be built.
        ShopsightError: as `train` and `compare`.
    """
    from shopsight.evaluation.compare import compare_runs, left_out_of
    from shopsight.evaluation.compare_page import write_comparison
    from shopsight.training.prepare import resolve

    catalog = open_catalog(data)

    def build(backbone: str) -> None:
        if not (_run_for(backbone, Path(out)) / "run.json").is_file():
            resolve(_recipe(recipe, [f"model.backbone={backbone}", *settings]), catalog)

    names = list(dict.fromkeys(backbones))
    left_out = left_out_of(names, build)
    runs = [
        _trained(catalog, recipe, backbone, Path(out), settings, accept, exclude)
        for backbone in names
        if backbone not in left_out
    ]
    comparison = replace(compare_runs(runs, device=device), left_out=left_out)
    write_comparison(out, comparison)
    return comparison


def recommend(
    data: str | Path | Catalog,
    *,
    latency_ms: float,
    out: str | Path,
    backbones: Sequence[str] = (),
    device: str = "auto",
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Recommendation:
    """The backbone whose probe is the most accurate among those that are fast enough here.

    Args:
        latency_ms: for one image, on `device`.
        out: holds one run per backbone that was probed, and the comparison.
        backbones: empty considers `shopsight.evaluation.recommend.CANDIDATES`.

    Raises:
        CompareError: none could be built.
    """
    from shopsight.evaluation.compare_page import write_comparison
    from shopsight.evaluation.recommend import CANDIDATES
    from shopsight.evaluation.recommend import recommend as choose

    catalog = open_catalog(data)
    found = choose(
        list(backbones) or CANDIDATES,
        latency_ms=latency_ms,
        train=lambda backbone: _trained(
            catalog, PROBE_RECIPE, backbone, Path(out), (), accept, exclude
        ),
        classes=len(catalog.labels),
        device=device,
    )
    if found.comparison is not None:
        write_comparison(out, found.comparison)
    return found


def profile(
    backbone: str,
    *,
    size_px: int | None = None,
    classes: int | None = None,
    batches: Sequence[int] = (1, 32),
    device: str = "auto",
    precision: Literal["auto", "32", "bf16"] = "auto",
) -> Profile:
    """What a backbone costs and how much of the image each stage sees.

    Args:
        size_px: None keeps the backbone's own.
        classes: of the classifier counted in; None is 1000, or 10 for the `shopsight:` nets.
        batches: batch sizes to time; empty times nothing.
        precision: of the timing; "auto" is bf16 where the machine multiplies in it.

    Raises:
        ConfigError: no such backbone, or not at this size.
    """
    from shopsight.profiling.profile import backbone_with_classifier
    from shopsight.profiling.speed import profile_and_time

    model, classes = backbone_with_classifier(backbone, size_px=size_px, classes=classes)
    return profile_and_time(
        model,
        name=backbone,
        classes=classes,
        batches=batches,
        device=device,
        precision=precision,
    )


def _trained(
    catalog: Catalog,
    recipe: str | Path | Recipe,
    backbone: str,
    out: Path,
    settings: Sequence[str],
    accept: Collection[str],
    exclude: Collection[str],
) -> Path:
    """A finished run for this backbone in `out`, made or completed if need be."""
    run = _run_for(backbone, out)
    if any((run / "predictions" / f"{part}.parquet").is_file() for part in ("test", "out-of-fold")):
        return run
    if (run / "run.json").is_file():
        return resume(run).run
    return train(
        catalog,
        out=run,
        recipe=recipe,
        backbone=backbone,
        settings=settings,
        accept=accept,
        exclude=exclude,
    ).run


def _run_for(backbone: str, out: Path) -> Path:
    return out / re.sub(r"[^\w.-]+", "-", backbone)


def _reported(run: Path) -> TrainResult:
    """Score what was trained, on its validation and test images, and write the report."""
    from shopsight.evaluation.evaluate import write_evaluation
    from shopsight.evaluation.report import write_report
    from shopsight.runs.run_folder import RunFolder
    from shopsight.training.distributed import rank
    from shopsight.training.folds import is_folds_run

    report = run / "report.html"
    seconds = RunFolder(run).state().get("seconds", {})
    if rank() > 0:
        return TrainResult(run, seconds, {}, report)
    scored = _out_of_fold(run) if is_folds_run(run) else _parts(run)
    for evaluation in scored.values():
        write_evaluation(run, evaluation)
    return TrainResult(run, seconds, scored, write_report(run))


def _parts(run: Path) -> dict[str, Evaluation]:
    """Evaluations of a run's validation and test part, from the images that training cached."""
    from shopsight.evaluation.evaluate import evaluate as score
    from shopsight.loading.cache import open_cache

    recipe, catalog, predictor = _recipe_of(run), _catalog_of(run), load(run)
    source = open_cache(
        catalog,
        predictor.preprocess,
        settings=recipe.cache,
        sha256s=catalog.table["sha256"].to_list(),
    )
    return {
        part: score(predictor, catalog, split=part, settings=recipe.evaluation, source=source)
        for part in ("val", "test")
        if len(catalog.rows_of(part))
    }


def _out_of_fold(run: Path) -> dict[str, Evaluation]:
    """One evaluation over all images, each predicted by the network that never saw it."""
    from shopsight.evaluation.predictions import Predictions
    from shopsight.evaluation.score import score

    recipe = _recipe_of(run)
    folds = [run / "folds" / str(number) for number in range(recipe.folds.count)]
    parts = [_parts(fold)["test"].predictions for fold in folds]
    concat = Predictions.concat(parts)
    return {concat.split: score(concat, recipe.evaluation)}


def _recipe_of(run: Path) -> Recipe:
    from shopsight.runs.run_folder import RunFolder

    return RunFolder(run).recipe()


def _catalog_of(run: Path) -> Catalog:
    from shopsight.runs.run_folder import RunFolder

    return RunFolder(run).catalog()


def _training_catalog(data: str | Path | Catalog | None, recipe: Recipe) -> Catalog:
    """The catalog, as the recipe's data section wants it."""
    wanted = recipe.data
    named = _named_data(recipe) if data is None else data
    catalog = open_catalog(named, group=wanted.group, label_map=wanted.label_map)
    # A recipe names labels of its own data set; on another there is nothing to drop.
    return open_catalog(catalog, drop=[name for name in wanted.drop if name in catalog.labels])


def _recipe(recipe: str | Path | Recipe, settings: Sequence[str]) -> Recipe:
    from shopsight.config.recipe import Recipe, load_recipe, parse_recipe

    if isinstance(recipe, Recipe):
        return parse_recipe(recipe.to_toml(), overrides=settings)
    return load_recipe(recipe, settings)


def _named_data(recipe: Recipe) -> str:
    if recipe.about.data in ("", "any"):
        raise ConfigError(
            "the recipe names no data set of its own",
            where=recipe.about.title or "recipe",
            fix="shopsight train DATA --out RUN",
        )
    return recipe.about.data
