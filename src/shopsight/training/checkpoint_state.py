"""What a checkpoint holds that Lightning does not know of, and whether it is of this training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from shopsight.errors import ShopsightError, TrainingError, first_line
from shopsight.runs.history import EpochRow
from shopsight.text import command_line
from shopsight.training.over_ranks import stack_over_ranks, world_size
from shopsight.training.random_states import random_states, restore_random_states

if TYPE_CHECKING:
    from shopsight.training.kept_training import KeptTraining

STATE_KEY = "shopsight"


def saved_state(module: KeptTraining) -> dict[str, Any]:
    """What a checkpoint gets; asked for in every process.

    Args:
        module: between two steps.
    """
    states = random_states(module.device)
    average = module.average
    return {
        "history": [vars(row) for row in module.history],
        "best": module.best,
        "best_epoch": module.best_epoch,
        "average": average.state_dict() if average is not None else None,
        "stopped": module.trainer.should_stop,
        "random": {name: stack_over_ranks(module, state) for name, state in states.items()},
    }


def take_state(module: KeptTraining, checkpoint: Mapping[str, Any]) -> None:
    """Take back what `saved_state` gave, but the states of random generators.

    Args:
        module: changed in place.
        checkpoint: Lightning's, with the state under `STATE_KEY`.

    Raises:
        TrainingError: the checkpoint is of another network, or of another number of processes;
            or it is none of ours.
    """
    try:
        _check_shapes(module, checkpoint["state_dict"])
        _check_optimizers(module, checkpoint["optimizer_states"])
        own = checkpoint[STATE_KEY]
        _check_world(module, len(own["random"]["torch"]))
        module.history = [EpochRow.from_json(row) for row in own["history"]]
        score, loss = own["best"]
        module.best = float(score), float(loss)
        module.best_epoch = int(own["best_epoch"])
        if module.average is not None:
            module.average.load_state_dict(own["average"])
    except ShopsightError:
        raise
    except Exception as error:
        raise not_of_this_run(module, error) from error


def continue_randomness(module: KeptTraining, state: Mapping[str, Any]) -> None:
    """Set this process's random generators to where they were.

    Args:
        module: that trains.
        state: of a checkpoint.
    """
    own = {name: rows[module.global_rank] for name, rows in state["random"].items()}
    restore_random_states(own, module.device)


def _check_world(module: KeptTraining, saved: int) -> None:
    """Refuse to go on with other batches, learning rates and steps than the run began with."""
    world = world_size(module)
    if saved != world:
        raise TrainingError(
            f"{saved} processes trained until here, which {world} cannot continue",
            where=str(module.run_folder.last_checkpoint),
            fix=f"start {saved} processes, on any number of nodes",
        )


def _check_shapes(module: KeptTraining, found: Mapping[str, Tensor]) -> None:
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    if wanted != {name: value.shape for name, value in found.items()}:
        raise not_of_this_run(module)


def _check_optimizers(module: KeptTraining, found: Sequence[Mapping[str, Any]]) -> None:
    """Refuse averages of gradients that have no parameter's shape; torch compares none."""
    shapes = {(), (1,), *(tuple(value.shape) for value in module.parameters())}
    kept = [value for one in found for state in one["state"].values() for value in state.values()]
    if not {tuple(value.shape) for value in kept if isinstance(value, Tensor)} <= shapes:
        raise not_of_this_run(module)


def not_of_this_run(module: KeptTraining, error: Exception | None = None) -> TrainingError:
    """The error of a checkpoint that is not this training's, or that somebody has edited.

    Args:
        module: that should take it up.
        error: what taking it up raised.
    """
    run = module.run_folder
    return TrainingError(
        f"the checkpoint is not of this run, which trains {module.recipe.model.backbone}, or was "
        "edited",
        where=str(run.last_checkpoint),
        details=[] if error is None else [f"{type(error).__name__}: {first_line(error)}"],
        fix=f"delete the files last* in {run.checkpoints}, then repeat the fine-tuning from its "
        f"first epoch: {command_line(['shopsight', 'train', '--resume', run.path])}",
    )
