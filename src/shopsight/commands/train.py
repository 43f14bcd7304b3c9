"""Train: from DATA and a recipe to a run folder with a bundle and a report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from shopsight.audit.gate import GateRules
from shopsight.audit.row_decisions import with_new_labels
from shopsight.cache_place import cache_folder_is_chosen, use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.seal import is_marked_cache, is_sealed_recipe
from shopsight.commands.calibrate import calibrate_trained
from shopsight.commands.recipe_trust import check_recipe, refuse_reaching
from shopsight.commands.recipes import recipe_with
from shopsight.config.defaults import DEFAULT_RECIPE
from shopsight.config.recipe import Recipe
from shopsight.datasets.open import open_catalog, unused_options
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import ConfigError
from shopsight.evaluation.evaluate import evaluate_run, score_of_run
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import write_run_evaluations
from shopsight.evaluation.run_images import accept_changes, check_run_images
from shopsight.evaluation.score import Evaluation
from shopsight.io.own_folder import refuse_links_out
from shopsight.memory import memory_budget_is_chosen, use_memory_budget
from shopsight.output_locks import only_writer_of_folder
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder
from shopsight.runtime import sigterm_interrupts
from shopsight.text import command_line
from shopsight.training.finetune import world_of
from shopsight.training.fit import fit
from shopsight.training.fit import resume as resume_stages
from shopsight.training.folds import fit_folds, resume_folds
from shopsight.training.peers import current_peers, joined


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: the run folder; `run / "model"` is the bundle that `shopsight.load` opens.
        seconds: wall and CPU seconds by stage.
        evaluations: by part: "val" and "test", or with folds "out-of-fold".
        report: the one-file report; None where no image validates or tests.
        rank: which of several training processes this one is; only 0 has evaluations.
    """

    run: Path
    seconds: dict[str, dict[str, float]]
    evaluations: dict[str, Evaluation]
    report: Path | None
    rank: int = 0

    @property
    def model(self) -> Path:
        """The bundle."""
        return RunFolder(self.run).model

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "run": str(self.run),
            "model": str(self.model),
            "seconds": self.seconds,
            "report": None if self.report is None else str(self.report),
            "evaluations": {part: found.to_json() for part, found in self.evaluations.items()},
        }


def train(
    data: str | Path | Catalog | None = None,
    *,
    out: str | Path,
    read: ReadOptions | None = None,
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    backbone: str | None = None,
    epochs: int | None = None,
    time_limit_s: float | None = None,
    tune_s: float | None = None,
    seed: int | None = None,
    folds: int | None = None,
    fold: int | None = None,
    attributes: Sequence[str] | Literal["auto"] = (),
    settings: Sequence[str] = (),
    trust_recipe: bool = False,
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
    fail_on: Collection[str] = (),
    decisions: str | Path | None = None,
) -> TrainResult:
    """Audit, split, train, evaluate on val and test, and write a bundle and a report.

    Interrupted at any moment, `resume(out)` continues to the same result.

    Args:
        data: a folder, a table, the name of a data set, or a catalog; None takes the data set
            that the recipe names.
        out: the run folder to make.
        read: how DATA is read; it overrides the recipe's `[data]` section, and labels to drop
            add up.
        recipe: the name of a shipped recipe, a file, or a `Recipe`.
        backbone: LIBRARY:NAME; None keeps the recipe's, as for the next five.
        epochs: passes over the training images.
        time_limit_s: plan as many epochs, at most `epochs`, as fit in these seconds.
        tune_s: first race for the settings of `tune.keys`, at most so many seconds; those that
            `settings` name stay as they are.
        seed: for the split and for training.
        folds: train this many networks, each tested on the fold that it never saw.
        fold: train only the network that is tested on this fold, counted from 0.
        attributes: columns that are predicted beside the label, or "auto"; none keeps the recipe's.
        settings: any other leaf of the recipe, as "optimizer.lr=3e-4".
        trust_recipe: take a recipe file also where it names files, folders, addresses or a tracker.
        accept: kinds of audit findings to train in spite of.
        exclude: kinds of audit findings to fix by leaving images out; see `FIXABLE_KINDS`.
        fail_on: kinds of audit findings, or "warning", that stop training beside errors.
        decisions: a CSV such as that of `duplicates`; rows that it marks drop are left out.

    Raises:
        ShopsightError: anything that would make the training fail or its score wrong; all of it
            before the first step.
    """
    leaves = {
        "model.backbone": backbone,
        "training.epochs": epochs,
        "training.time_limit_s": time_limit_s,
        "tune.time_s": tune_s,
        "seed": seed,
        "folds.count": folds,
    }
    given = [*(f"{key}={value}" for key, value in leaves.items() if value is not None), *settings]
    if not trust_recipe:
        check_recipe(recipe, given, read=read, needs_data=data is None)
    chosen = _without_fixed(recipe_with(recipe, given), settings)
    if attributes:
        chosen = with_attributes(chosen, attributes)
    listed = None if decisions is None else Path(decisions)
    rules = GateRules(accept=accept, exclude=exclude, fail_on=fail_on, decisions=listed)
    return _train(data, chosen, out, read=read, fold=fold, rules=rules)


def _without_fixed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe that races for nothing that was set by hand.

    Raises:
        ConfigError: it is to race, and all that could was set.
    """
    if recipe.tune.time_s is None:
        return recipe
    fixed = {setting.partition("=")[0].strip() for setting in settings}
    keys = [key for key in recipe.tune.keys if key not in fixed]
    if not keys:
        raise ConfigError(
            f"nothing is left to race for: {', '.join(recipe.tune.keys)} were set",
            where="--tune",
            fix="leave one of them out, or --tune",
        )
    return recipe.replace(tune={"keys": keys})


def with_attributes(recipe: Recipe, columns: Sequence[str] | Literal["auto"]) -> Recipe:
    """The recipe with these columns as attributes.

    Raises:
        ConfigError: they do not go with the rest of it.
    """
    named = columns if columns == "auto" else tuple(columns)
    try:
        return recipe.replace(attributes={"columns": named})
    except ValidationError as error:
        raise ConfigError(
            "attributes cannot be trained so",
            where="--attribute",
            details=[one["msg"].removeprefix("Value error, ") for one in error.errors()],
        ) from error


def _train(
    data: str | Path | Catalog | None,
    recipe: Recipe,
    out: str | Path,
    *,
    read: ReadOptions | None,
    fold: int | None,
    rules: GateRules,
) -> TrainResult:
    """Train on DATA by a recipe that is checked, on the machines that it names."""
    # Whatever does not fit the machines is an error before the data is read.
    with (
        sigterm_interrupts(),
        use_memory_budget(_memory_of(recipe)),
        joined(world_of(recipe)) as peers,
    ):
        if peers.rank > 0:
            return train_catalog(None, recipe, out, fold=fold)
        catalog, resolved = training_data(data, recipe, read)
        if rules.decisions is not None:
            catalog = with_new_labels(rules.decisions, catalog)
        refuse_output_among_images(catalog, out)
        return train_catalog(catalog, resolved, out, fold=fold, rules=rules)


def train_catalog(
    catalog: Catalog | None,
    recipe: Recipe,
    out: str | Path,
    *,
    fold: int | None = None,
    rules: GateRules | None = None,
) -> TrainResult:
    """Train on a catalog that is already read as the recipe wants it; see `train`.

    Only rank 0 of several processes needs one.
    """
    # What was read to make the run is read on while it is trained and scored.
    with _only_training(out), use_run_access(RunAccess(made_here=True)):
        if recipe.folds.count and fold is None:
            fit_folds(catalog, recipe, out, rules=rules)
        else:
            fit(catalog, recipe, out, rules=rules, fold=fold)
        return _evaluated(RunFolder(Path(out)))


def _only_training(run: str | Path) -> AbstractContextManager[None]:
    """Have this command alone write the run; of several processes, the first one for all."""
    return only_writer_of_folder(run) if current_peers().rank == 0 else nullcontext()


def resume(
    run: str | Path,
    *,
    read: ReadOptions | None = None,
    trust_recipe: bool = False,
    accept: Collection[str] = (),
) -> TrainResult:
    """Continue a run that was interrupted, to the same result.

    The images that the run decoded are found in the cache folder that it used, unless another
    one is chosen. Before anything else they are compared with the hashes in the run's catalog. A
    run that is finished and scored stays as it is.

    Args:
        run: the run folder.
        read: `images_root`: where the run's images lie now, which the run keeps; and what may be
            read for a run that somebody else made: `allow_outside`, `allow_remote`,
            `allow_private`.
        trust_recipe: resume also a run of somebody else whose recipe names files or a tracker.
        accept: "changed-file" goes on with images that changed as they are now, and without those
            that vanished; the result is then another one.

    Raises:
        TrainingError: the folder holds no run that began.
        ChangedFilesError: images of the run changed or vanished.
        LockedError: another process trains it.
        UntrustedRecipeError: somebody else wrote its recipe, which names files or a tracker.
        CatalogError: somebody else made the run, and nothing says which images may be read.
    """
    folder = RunFolder(Path(run))
    is_own = folder.exists() and folder.is_own()
    if folder.exists() and not is_own:
        refuse_links_out(folder.path)
    if folder.exists() and not trust_recipe:
        _check_recipe_of(folder)
    images_root = None if read is None else read.images_root
    with (
        sigterm_interrupts(),
        use_run_access(RunAccess.by_flags(read, made_here=is_own)),
        use_cache_dir(_cache_of(folder) if is_own else None),
        use_memory_budget(_memory_of(folder.recipe())),
        joined(world_of(folder.recipe())) as peers,
    ):
        if images_root is None and _is_scored(folder):
            return _stored(folder)
        with _only_training(run):
            peers.first(lambda: _check_images(folder, images_root, accept))
            if folder.is_folds_run():
                resume_folds(run)
            else:
                resume_stages(run)
            return _evaluated(folder)


def _check_recipe_of(run: RunFolder) -> None:
    """Refuse what the recipe of a run would reach, unless this user's shopsight wrote it so.

    Raises:
        UntrustedRecipeError: it names weights or a tracker.
    """
    recipe = run.recipe()
    if not is_sealed_recipe(recipe, run.recipe_text()):
        # How DATA was read, and which, says nothing any more: the catalog has the images.
        command = command_line(["shopsight", "train", "--resume", run.path, "--trust-recipe"])
        refuse_reaching(recipe, run.recipe_file, own=("data", "about"), fix=command)


def _check_images(run: RunFolder, images_root: str | Path | None, accept: Collection[str]) -> None:
    command = ["shopsight", "train", "--resume", run.path]
    found = check_run_images(run, command=command, accept=accept, images_root=images_root)
    accept_changes(run, found)


def _is_scored(run: RunFolder) -> bool:
    """Whether nothing is left to do: the report is what is written last."""
    return run.reached("bundled") and run.is_evaluated() and run.report_file.is_file()


def _stored(run: RunFolder) -> TrainResult:
    """The result of a run that is finished, from what lies in it."""
    rank = current_peers().rank
    if rank > 0:
        return TrainResult(run.path, {}, {}, run.report_file, rank=rank)
    notify(f"{run.path}: this run is finished; nothing is left to resume")
    parts = [part for part in ("val", "test", OUT_OF_FOLD) if run.predictions_file(part).is_file()]
    found = {
        part: score_of_run(run, Predictions.read(run.predictions_file(part))) for part in parts
    }
    return TrainResult(run.path, run.seconds(), found, run.report_file)


def _cache_of(run: RunFolder) -> Path | None:
    state = run.state()
    named = str(state.get("cache", ""))
    # A run that was lent to somebody may come back with another folder.
    if cache_folder_is_chosen() or not is_marked_cache(named, state.get("cache_seal")):
        return None
    return Path(named) if Path(named).is_dir() else None


def _memory_of(recipe: Recipe) -> float | None:
    return None if memory_budget_is_chosen() else recipe.hardware.memory_gb


def training_data(
    data: str | Path | Catalog | None, recipe: Recipe, read: ReadOptions | None
) -> tuple[Catalog, Recipe]:
    """Read DATA as the recipe and `read` say.

    Args:
        data: None takes the data set that the recipe names.
        recipe: its `[data]` section says how DATA is read where `read` does not.
        read: overrides the recipe; labels to drop add up.

    Returns:
        The catalog, and the recipe whose `[data]` section says how it was read.

    Raises:
        CatalogError: DATA cannot be read so.
        ConfigError: there is no DATA and the recipe names no data set.
    """
    read = read or ReadOptions()
    wanted = _applicable(recipe.data, data).merged(read)
    named = _named_data(recipe) if data is None else data
    catalog = open_catalog(named, replace(wanted, drop=read.drop))
    # A recipe names labels of its own data set; on another there is nothing to drop.
    own = tuple(label for label in recipe.data.drop if label in catalog.labels)
    used = replace(wanted, drop=(*read.drop, *own))
    return open_catalog(catalog, ReadOptions(drop=own)), recipe.replace(data=asdict(used))


def _applicable(of_recipe: ReadOptions, data: str | Path | Catalog | None) -> ReadOptions:
    """Drop what the recipe says of another kind of DATA.

    A run's recipe says where its own files lay; it must train on other DATA too.
    """
    options = of_recipe.merged(None)
    if data is None:
        return options
    unused = unused_options(options, data)
    for name in unused:
        value = getattr(options, name)
        notify(f"data.{name} = {value!r} of the recipe is not used: it is about other DATA")
    return options.without(unused)


def _named_data(recipe: Recipe) -> str:
    if recipe.about.data in ("", "any"):
        raise ConfigError(
            "the recipe names no data set",
            where=recipe.about.title or "recipe",
            fix="shopsight train DATA --out RUN",
        )
    return recipe.about.data


def _evaluated(run: RunFolder) -> TrainResult:
    """Score what was trained, on its validation and test images, and write the report."""
    rank = current_peers().rank
    if rank > 0:
        return TrainResult(run.path, {}, {}, run.report_file, rank=rank)
    calibrate_trained(run)
    # On the device of `shopsight.load`, as the calibration: what is scored is what will predict.
    found = evaluate_run(run, cached=True)
    if not found:
        notify("not scored: no image validates or tests")
        return TrainResult(run.path, run.seconds(), {}, None)
    return TrainResult(run.path, run.seconds(), found, write_run_evaluations(run, found))
