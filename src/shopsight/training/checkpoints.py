"""A checkpoint after every epoch, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Writes `path` after each epoch: weights, optimizer, schedule, averages, history.

    It is a `Checkpoint`, which Lightning calls after every other hook of the epoch, so that what
    the module noted at the epoch's end is in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, _module: LightningModule) -> None:
        part = self.path.with_suffix(".part")
        # All ranks take part: sharded strategies gather their weights here.
        trainer.save_checkpoint(part)
        trainer.strategy.barrier("checkpoint written")
        if trainer.is_global_zero:
            part.replace(self.path)
        trainer.strategy.barrier("checkpoint renamed")
