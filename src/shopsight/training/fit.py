"""From a recipe and a catalog to a run folder with a bundle in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from shopsight.audit.gate import GateRules
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.errors import TrainingError
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.runtime import retain_freed_memory, single_threaded_opencv
from shopsight.training.bundle_stage import bundle_stage
from shopsight.training.finetune import training_device, world_of
from shopsight.training.finetune_stage import finetune_stage
from shopsight.training.framing_stage import settle_framing
from shopsight.training.memory import OutOfMemoryElsewhereError, free_memory, halve_batch_size
from shopsight.training.peers import Peers, check_shared_folder, joined
from shopsight.training.precision import reproducible
from shopsight.training.prepare import prepare
from shopsight.training.probe_stage import probe_stage
from shopsight.training.training_run import TrainingRun
from shopsight.training.tune_stage import settle_tuning
from shopsight.training.workers import train_in_workers


def fit(
    catalog: Catalog | None,
    recipe: Recipe,
    out: Path | str,
    *,
    rules: GateRules | None = None,
    fold: int | None = None,
) -> None:
    """Audit, split, train and bundle; see `prepare` for what is checked first.

    Interrupted at any moment, `resume(out)` continues to the same weights.

    Args:
        catalog: labeled images; None where another process, rank 0, prepares the run.
        recipe: settings, possibly with "auto" in them.
        out: the run folder to make.
        rules: which audit findings are accepted, fixed or refused; None refuses errors.
        fold: of the K folds, the one to test on, counted from 0.

    Raises:
        ShopsightError: of the kinds that `prepare` and `finetune` name.
    """
    run = RunFolder(Path(out))

    def begin() -> None:
        assert catalog is not None
        prepare(catalog, recipe, run, rules=rules, fold=fold)

    with joined(world_of(recipe)) as peers:
        check_shared_folder(run.path, peers)
        peers.first(begin)
        run_stages(run, peers)


def resume(out: Path | str) -> None:
    """Continue a run from its last finished stage or epoch.

    Raises:
        TrainingError: the folder holds no run that was prepared.
    """
    run = RunFolder(Path(out))
    if not run.state().get("stage"):
        raise TrainingError(
            "was stopped before training began",
            where=str(run.path),
            fix="delete it and train again",
        )
    if run.reached("bundled"):
        return
    with joined(world_of(run.recipe())) as peers:
        check_shared_folder(run.path, peers)
        run_stages(run, peers)


def run_stages(run: RunFolder, peers: Peers) -> None:
    """Run the stages of a training that are not finished.

    Args:
        run: a run folder that was prepared.
        peers: the processes that were started. Rank 0 does what one process can do: the probe
            and the bundle. All of them fine-tune.
    """
    training: TrainingRun | None = None
    hardware = run.recipe().hardware

    def begin() -> bool:
        nonlocal training
        if run.reached("bundled"):
            return False
        settle_framing(run)
        settle_tuning(run)
        training = TrainingRun(run)
        return probe_stage(training)

    with (
        retain_freed_memory(),
        single_threaded_opencv(),
        reproducible(hardware, training_device(run.recipe())),
    ):
        if peers.first(begin):
            if peers.world.num_workers > 1:
                _finetune_in_workers(run, training, peers)
            else:
                assert training is not None
                finetune_stage(training)
        if training is not None:
            bundle_stage(training)


def _finetune_in_workers(run: RunFolder, training: TrainingRun | None, peers: Peers) -> None:
    """Fine-tune in a process for each device, in smaller batches until none is out of memory."""
    clock = Clock()
    if training is not None:
        # The workers of this machine need it.
        free_memory(training.device)
    try:
        while True:
            before = peers.first(lambda: run.spent_s() + clock.elapsed()[0])
            recipe = parse_recipe(peers.first(lambda: run.recipe().to_toml()), where="recipe")
            try:
                finetuned = train_in_workers(run.path, recipe, peers, spent_s=before)
                break
            except OutOfMemoryElsewhereError as error:
                peers.first(partial(run.write_recipe, halve_batch_size(recipe, error)))
    finally:
        if training is not None:
            run.add_seconds("finetune", clock)
    if training is not None:
        training.recipe = run.recipe()
        if finetuned:
            run.update_state(stage="finetuned")
