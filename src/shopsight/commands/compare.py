"""Compare: runs, or backbones on DATA, over the same images."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from shopsight.audit.gate import GateRules
from shopsight.catalog.catalog import Catalog
from shopsight.commands.recipe_trust import check_recipe
from shopsight.commands.recipes import recipe_with
from shopsight.commands.train import resume, train_catalog, training_data
from shopsight.config.defaults import PROBE_RECIPE
from shopsight.config.recipe import Recipe
from shopsight.errors import TrainingError
from shopsight.evaluation.compare import choosing_parts, compare_runs, unbuildable
from shopsight.evaluation.compare_page import write_comparison
from shopsight.evaluation.comparison import Comparison
from shopsight.files import sha256_bytes
from shopsight.output_locks import only_writer_of_folder
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder
from shopsight.safe_names import safe_name
from shopsight.training.finetune import world_of
from shopsight.training.resolve import resolve
from shopsight.training.usable_images import check_trainable


def compare(
    runs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    split: str | None = None,
    measure: bool = True,
    device: str = "auto",
) -> Comparison:
    """Compare finished runs: scores with paired differences, and cost.

    Args:
        runs: two or more run folders.
        out: the folder for compare.html, compare.csv, recall.csv and compare.json; None writes
            nothing.
        split: whose predictions: "test", "val", "out-of-fold"; None takes "test", or
            "out-of-fold" of K-fold runs.
        measure: profile each model, and time it on `device`.
        device: "auto" takes CUDA when it is there, else the CPU.

    Raises:
        CompareError: fewer than two runs, or they were tested on different images.
    """
    with nullcontext() if out is None else only_writer_of_folder(out):
        comparison = compare_runs(runs, split=split, measure=measure, device=device)
        if out is not None:
            write_comparison(out, comparison)
    return comparison


def _refuse_several_processes(recipe: Recipe) -> None:
    if world_of(recipe).size > 1:
        raise TrainingError(
            "a comparison trains one network after another, and is started once",
            fix="the same command without torchrun, srun or mpirun: it starts a process for each "
            "device by itself",
        )


def _unbuildable(
    recipes: Mapping[str, Recipe], catalog: Catalog, out: str | Path
) -> dict[str, str]:
    """Build each backbone that has no run in `out` yet; those that cannot be, with the reason."""
    for name in recipes:
        run_for(name, out).check_path_length()

    def build(backbone: str) -> None:
        if not run_for(backbone, out).exists():
            resolve(recipes[backbone], catalog)

    return unbuildable(list(recipes), build)


def compare_backbones(
    data: str | Path | Catalog,
    *,
    backbones: Sequence[str],
    out: str | Path,
    read: ReadOptions | None = None,
    recipe: str | Path | Recipe = PROBE_RECIPE,
    settings: Sequence[str] = (),
    trust_recipe: bool = False,
    device: str = "auto",
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
    fail_on: Collection[str] = (),
) -> Comparison:
    """Train one run per backbone in `out` by the same recipe (a probe by default); compare them.

    The validation images choose the best, and each run's score on the test images, which choose
    nothing, is beside it; K-fold runs are compared out of fold. A run that is there already is
    taken, or resumed. All backbones are built before the first
    is trained; those whose weights or libraries are missing are left out by name.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        backbones: LIBRARY:NAME each.
        out: holds one run per backbone, and the comparison.
        read: how DATA is read, where the recipe does not say so; None adds nothing.
        recipe: for every run.
        settings: further leaves of the recipe, as "training.epochs=3".
        trust_recipe: as for `train`.
        device: where the models are timed.
        accept: as for `train`.
        exclude: as for `train`.
        fail_on: as for `train`.

    Raises:
        CompareError: fewer than two of them can be built.
        TrainingError: several processes were started for it.
        ShopsightError: as `train` and `compare`.
    """
    if not trust_recipe:
        # Each backbone takes the place of the recipe's own.
        check_recipe(recipe, ["model.backbone", *settings], read=read)
    rules = GateRules(accept=accept, exclude=exclude, fail_on=fail_on)
    catalog, common = training_data(data, recipe_with(recipe, settings), read)
    _refuse_several_processes(common)
    check_trainable(catalog, common)
    recipes = {name: recipe_with(common, [f"model.backbone={name}"]) for name in backbones}
    left_out = _unbuildable(recipes, catalog, out)
    with only_writer_of_folder(out):
        runs = [
            finished_run(catalog, one, run_for(backbone, out), rules=rules)
            for backbone, one in recipes.items()
            if backbone not in left_out
        ]
        split, report_on = choosing_parts(runs)
        comparison = compare_runs(runs, split=split, report_on=report_on, device=device)
        comparison = replace(comparison, left_out=left_out)
        write_comparison(out, comparison)
    return comparison


def run_for(backbone: str, out: str | Path) -> RunFolder:
    """Name the run folder of a backbone among others in `out`: "timm-resnet18"."""
    library, _, name = backbone.partition(":")
    plain = re.sub(r"[^\w.-]+", "-", name)
    # Names that become equal this way, such as a/b and a-b, must not share a run.
    mark = "" if plain == name else f"-{sha256_bytes(backbone.encode())[:8]}"
    return RunFolder(Path(out) / safe_name(f"{library}-{plain}{mark}"))


def finished_run(
    catalog: Catalog,
    recipe: Recipe,
    run: RunFolder,
    *,
    rules: GateRules | None = None,
) -> Path:
    """Give a finished run of this recipe on this catalog; train or resume it if need be."""
    if run.is_evaluated():
        return run.path
    if run.exists():
        return resume(run.path).run
    return train_catalog(catalog, recipe, run.path, rules=rules).run
