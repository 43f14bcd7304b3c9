"""Fine-tuning with Lightning's Trainer: devices, loggers, resuming, and batches that fit."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.devices import pick_device, supports_channels_last
from shopsight.errors import ConfigError, HeldFileError, ShopsightError, TrainingError
from shopsight.files import make_folder
from shopsight.models.depthwise import depthwise_in_fp32, restore_depthwise
from shopsight.models.product_model import ProductModel
from shopsight.runs.history import read_history, write_history
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import is_out_of_memory
from shopsight.text import command_line
from shopsight.training.checkpoint_state import not_of_this_run
from shopsight.training.checkpoints import (
    CheckpointFiles,
    LastCheckpoint,
    resume_point,
)
from shopsight.training.distributed import World, find_world
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import pick_precision
from shopsight.training.rank_environment import RankEnvironment, WorkerRank
from shopsight.training.trackers import loggers

LIGHTNING_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# The strategies of Lightning that share no weights and start no processes of their own.
STRATEGIES = (
    "auto",
    "ddp",
    "ddp_find_unused_parameters_false",
    "ddp_find_unused_parameters_true",
)
# Progress is shown by `shopsight.progress`.
_QUIET: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}


def training_device(recipe: Recipe, own: WorkerRank | None = None) -> torch.device:
    """The device of a training process, by `hardware.accelerator`.

    Args:
        recipe: its `[hardware]` section says which.
        own: which of several training processes asks.

    Raises:
        ConfigError: this machine has no such device.
    """
    device = pick_device(
        recipe.hardware.accelerator,
        where="hardware.accelerator",
        fix="shopsight doctor   (lists the devices), or --set hardware.accelerator=auto",
    )
    if own is None or own.size == 1 or device.type == "cpu":
        return device
    with quiet_lightning():
        trainer = Trainer(**_machines(recipe, device, own), **_QUIET, logger=False)
    return trainer.strategy.root_device


@dataclass(frozen=True)
class Hardware:
    """What a recipe trains on.

    Attributes:
        device: of the first process; see `training_device`.
        devices: their number on each node.
        nodes: number of machines.
    """

    device: torch.device
    devices: int
    nodes: int

    @property
    def world_size(self) -> int:
        """Number of training processes, one for each device."""
        return self.devices * self.nodes


def check_hardware(recipe: Recipe) -> Hardware:
    """Check the strategy, and count the devices with Lightning.

    Raises:
        ConfigError: the machine has no such accelerator.
        TrainingError: it has not so many devices; the strategy is none of `STRATEGIES`; or
            BatchNorm cannot be synchronized.
    """
    device = training_device(recipe)
    hardware = recipe.hardware
    if device.index is not None and hardware.devices not in (1, "1"):
        raise ConfigError(
            f"{device} is one device, but hardware.devices = {hardware.devices!r}",
            where="hardware.accelerator",
            fix=f"--set hardware.accelerator={device.type}, or --set hardware.devices=1",
        )
    if not recipe.training.finetunes:
        # Nothing of Lightning is used, and the first process does all.
        devices = hardware.devices
        return Hardware(device, devices if isinstance(devices, int) else 1, hardware.num_nodes)
    _check_strategy(hardware.strategy)
    try:
        with quiet_lightning():
            trainer = Trainer(
                **_machines(recipe, device, WorkerRank()),
                **_QUIET,
                logger=False,
                enable_checkpointing=False,
            )
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        raise TrainingError(
            f"cannot train on devices = {hardware.devices!r}: {error}",
            where="hardware",
            fix="shopsight doctor   (lists the devices), or --set hardware.devices=1",
        ) from error
    found = Hardware(device, trainer.num_devices, trainer.num_nodes)
    if hardware.sync_batchnorm and device.type == "cpu" and found.world_size > 1:
        raise TrainingError(
            "BatchNorm over processes needs GPUs",
            where="hardware.sync_batchnorm",
            fix="--set hardware.sync_batchnorm=false",
        )
    return found


def _check_strategy(name: str) -> None:
    if name.lower() in STRATEGIES:
        return
    sharded = any(kind in name.lower() for kind in ("fsdp", "deepspeed", "parallel"))
    why = (
        "it shards the weights, and its checkpoints are pickles, which shopsight does not open"
        if sharded
        else f"shopsight trains with {', '.join(STRATEGIES)}"
    )
    raise TrainingError(
        f"hardware.strategy = {name!r} cannot be used: {why}",
        where="hardware.strategy",
        fix="--set hardware.strategy=ddp",
    )


def world_of(recipe: Recipe) -> World:
    """The processes that were started, compared with the devices of the recipe.

    Raises:
        ConfigError, TrainingError: see `check_hardware` and `find_world`.
    """
    hardware = check_hardware(recipe)
    return find_world(os.environ, devices=hardware.devices, nodes=hardware.nodes)


def finetune(module: ClassifierTraining, run: RunFolder, own: WorkerRank | None = None) -> None:
    """Train until the planned last epoch, from the last checkpoint where there is one.

    Leaves `checkpoints/best.safetensors`, `final.safetensors` and `last.json` (with its tensor
    file), `metrics.csv`, and TensorBoard events.

    Args:
        module: the network and what it is trained on.
        run: where results go.
        own: which of several training processes this is; None: the only one.

    Raises:
        TrainingError: the loss is no longer finite, or the checkpoint is unusable.
        torch.OutOfMemoryError: the batch does not fit; see `shopsight.runtime.is_out_of_memory`.
    """
    recipe = module.recipe
    make_folder(run.checkpoints)
    own = own or WorkerRank()
    device = training_device(recipe)
    precision = pick_precision(recipe.training.precision, device)
    optimize_network(module.model, recipe, device, precision)
    # Lightning keeps the modes that it finds: this is what holds frozen parts still.
    module.train()
    with quiet_lightning():
        trainer = _trainer(recipe, run, device, precision, own)
        epochs = sum(row.stage == "finetune" for row in read_history(run.metrics_file))
        resume = resume_point(run.last_checkpoint, epochs=epochs)
        if resume is not None:
            progress.notify(f"resuming from {resume}")
        try:
            with _taken_up(module) if resume is not None else nullcontext():
                trainer.fit(module, ckpt_path=resume)
        except SystemExit:
            if not trainer.interrupted:
                raise
            # On Ctrl-C Lightning ends the process and turns a second one off: ours to decide.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
        finally:
            module.close_progress()
        _keep_final(module, run)
    restore_depthwise(module.model)


@contextmanager
def _taken_up(module: ClassifierTraining) -> Iterator[None]:
    """Name the checkpoint in the error of what fails before the second epoch.

    Lightning and torch take what it holds (counters, learning rates, averages of gradients) as it
    comes. Where somebody has edited it, each fails in its own way: while it is taken up, in a step,
    at the end of the epoch.
    """
    try:
        yield
    except (ShopsightError, OSError):
        raise
    except Exception as error:
        if module.epochs_begun > 1 or is_out_of_memory(error):
            raise
        raise not_of_this_run(module, error) from error


def optimize_network(
    model: ProductModel, recipe: Recipe, device: torch.device, precision: str
) -> None:
    """Have the network train as fast as it can: its tensors' memory layout, and `torch.compile`.

    The steps that `shopsight.training.time_budget` measures are prepared by it too. Compiled, the
    names of the state dict stay.

    Args:
        model: the network, changed in place.
        recipe: `training.channels_last` and `training.compile` decide.
        device: where it trains.
        precision: "32", "bf16" or "16".
    """
    if recipe.training.channels_last and supports_channels_last(device):
        model.to(memory_format=torch.channels_last)
    if device.type == "cpu" and precision == "bf16":
        depthwise_in_fp32(model)
    if recipe.training.compile is True:
        # torch counts how often a function was compiled anew, for another network or image size,
        # and gives up after a few times: what it compiled for an earlier network is dropped.
        torch._dynamo.reset()
        # Each by itself: training calls them one after another, for it needs the embedding.
        model.backbone.compile()
        model.head.compile()


def _keep_final(module: ClassifierTraining, run: RunFolder) -> None:
    if module.average is not None:
        module.average.swap(module.model)
    module.write_weights(run.final_weights_file)
    if module.history and module.trainer.is_global_zero:
        _write_whole_history(module, run)


def _write_whole_history(module: ClassifierTraining, run: RunFolder) -> None:
    """Write what could not be written while a spreadsheet had the file open."""
    try:
        write_history(run.metrics_file, module.history)
    except HeldFileError as error:
        resuming = command_line(["shopsight", "train", "--resume", run.path])
        raise HeldFileError(
            error.what,
            where=error.where,
            details=error.details,
            fix=f"close it there, then {resuming}   (nothing is trained again)",
        ) from error


def _machines(recipe: Recipe, device: torch.device, own: WorkerRank) -> dict[str, Any]:
    """The Trainer's arguments about machines."""
    hardware = recipe.hardware
    return {
        "accelerator": device.type,
        "devices": hardware.devices if device.index is None else [device.index],
        # A single process has nobody to share with.
        "strategy": hardware.strategy.lower() if own.size > 1 else "auto",
        "num_nodes": hardware.num_nodes,
        "sync_batchnorm": hardware.sync_batchnorm,
        # One process stays one process, whatever cluster variables the shell has.
        "plugins": [CheckpointFiles(), RankEnvironment(own)],
    }


class _OwnSigterm(Callback):
    """Puts back the handler of SIGTERM, for which Lightning has one that asks other processes."""

    def __init__(self) -> None:
        self._own = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, _trainer: Trainer, _module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._own)


def _trainer(
    recipe: Recipe, run: RunFolder, device: torch.device, precision: str, own: WorkerRank
) -> Trainer:
    settings = recipe.training
    # A module that steps its optimizer itself also clips itself.
    by_lightning = settings.mode != "contrastive"
    return Trainer(
        **_machines(recipe, device, own),
        **_QUIET,
        precision=LIGHTNING_PRECISION[precision],  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.grad_accumulation,
        gradient_clip_val=settings.gradient_clip if by_lightning else None,
        callbacks=[_OwnSigterm(), LastCheckpoint(run.last_checkpoint)],
        logger=loggers(recipe, run),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1 << 30,
        default_root_dir=run.path,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's tips and device lists inside the block; its errors are shown."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Its advice is about its own loaders and loggers, which are not used here.
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*lr_scheduler\.step\(\).*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def deadline_of(recipe: Recipe, spent_s: float) -> float | None:
    """When the time limit is over, by `time.monotonic`; None without a limit.

    Args:
        recipe: `training.time_limit_s` is the limit.
        spent_s: seconds of it that are over.
    """
    limit = recipe.training.time_limit_s
    return None if limit is None else time.monotonic() + limit - spent_s


def selected_checkpoint(run: RunFolder, recipe: Recipe) -> Path:
    """The weight file that becomes the bundle."""
    best, final = run.best_weights_file, run.final_weights_file
    # Without validation images there is no best epoch.
    return best if recipe.training.checkpoint != "last" and best.is_file() else final
