"""Compare: runs, or backbones on DATA, over the same test images."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.commands.defaults import PROBE_RECIPE
from shopsight.commands.recipes import recipe_with
from shopsight.commands.train import resume, train
from shopsight.config.recipe import Recipe
from shopsight.datasets.open import open_catalog
from shopsight.evaluation.compare import Comparison, compare_runs, left_out_of
from shopsight.evaluation.compare_page import write_comparison
from shopsight.evaluation.evaluate import predictions_path
from shopsight.runs.run_folder import RunFolder
from shopsight.training.prepare import resolve


def compare(
    runs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    split: str | None = None,
    measure: bool = True,
    device: str = "auto",
) -> Comparison:
    """Put finished runs beside each other: scores with paired differences, and cost.

    Args:
        runs: two or more run folders.
        out: the folder for compare.html, compare.csv and compare.json; None writes nothing.
        split: whose predictions: "test", "val", "out-of-fold"; None takes "test", or
            "out-of-fold" of K-fold runs.
        measure: profile each model, and time it on `device`.
        device: "auto" takes CUDA when it is there, else the CPU.

    Raises:
        CompareError: fewer than two runs, or they were tested on different images.
    """
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

    A run that is there already is taken, or resumed. All backbones are built before the first
    is trained; those whose weights or libraries are missing are left out by name.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        backbones: LIBRARY:NAME each.
        out: holds one run per backbone, and the comparison.
        recipe: of every run.
        settings: further leaves of the recipe, as "training.epochs=3".
        device: where the models are timed.
        accept: as for `train`.
        exclude: as for `train`.

    Raises:
        CompareError: fewer than two of them can be built.
        ShopsightError: as `train` and `compare`.
    """
    catalog = open_catalog(data)

    def build(backbone: str) -> None:
        if not run_for(backbone, out).state_file.is_file():
            resolve(recipe_with(recipe, [f"model.backbone={backbone}", *settings]), catalog)

    names = list(dict.fromkeys(backbones))
    left_out = left_out_of(names, build)
    runs = [
        finished_run(
            catalog,
            backbone,
            out,
            recipe=recipe,
            settings=settings,
            accept=accept,
            exclude=exclude,
        )
        for backbone in names
        if backbone not in left_out
    ]
    comparison = replace(compare_runs(runs, device=device), left_out=left_out)
    write_comparison(out, comparison)
    return comparison


def run_for(backbone: str, out: str | Path) -> RunFolder:
    """The run folder of a backbone among others in `out`."""
    return RunFolder(Path(out) / re.sub(r"[^\w.-]+", "-", backbone))


def finished_run(
    catalog: Catalog,
    backbone: str,
    out: str | Path,
    *,
    recipe: str | Path | Recipe = PROBE_RECIPE,
    settings: Sequence[str] = (),
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Path:
    """Give the finished run of this backbone in `out`; train or resume it if need be."""
    run = run_for(backbone, out)
    if any(predictions_path(run.path, split).is_file() for split in ("test", "out-of-fold")):
        return run.path
    if run.state_file.is_file():
        return resume(run.path).run
    return train(
        catalog,
        out=run.path,
        recipe=recipe,
        backbone=backbone,
        settings=settings,
        accept=accept,
        exclude=exclude,
    ).run
