"""What a training leaves in its run: the history, weights, checkpoints; and when it stops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from shopsight import progress
from shopsight.backbones.stages import Stages
from shopsight.config.recipe import Recipe
from shopsight.errors import HeldFileError
from shopsight.models.product_model import ProductModel
from shopsight.runs.history import EpochRow, write_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.checkpoint_state import (
    STATE_KEY,
    continue_randomness,
    saved_state,
    take_state,
)
from shopsight.training.over_ranks import is_so_anywhere
from shopsight.training.trained_parts import TrainedParts
from shopsight.training.weight_files import remove_older_epochs, write_weights

UNSCORED = (-1.0, float("inf"))
"""The best epoch where none has a score yet."""


class KeptTraining(TrainedParts):
    """A training whose history and weights lie in a run, from which it is resumed.

    Args:
        model: see `TrainedParts`.
        stages: see `TrainedParts`.
        recipe: see `TrainedParts`.
        run: the folder for weights, history and checkpoints.
        class_weights: see `TrainedParts`.
        first_rows: history before the first epoch.

    Attributes:
        history: a row for each epoch so far.
        best: score and validation loss of the best epoch so far; the score is the accuracy on
            validation images, or the mean average precision of retrieval.
        best_epoch: its number, counted from 0.
    """

    def __init__(
        self,
        model: ProductModel,
        stages: Stages,
        recipe: Recipe,
        run: RunFolder,
        *,
        class_weights: Float[Tensor, " classes"] | None,
        first_rows: list[EpochRow],
    ) -> None:
        super().__init__(model, stages, recipe, class_weights=class_weights)
        self.run_folder = run
        self.history = first_rows
        self.best = UNSCORED
        self.best_epoch = 0
        self._resumed: dict[str, Any] | None = None

    # -- an epoch --------------------------------------------------------------------------

    def _keep_epoch(self, epoch: int) -> None:
        """Write the weights of this epoch, and remove those that are too old to be kept."""
        count = self.recipe.training.keep_epochs
        if not count:
            return
        with self.averaged():
            self.write_weights(self.run_folder.epoch_weights_file(epoch))
        if self.trainer.is_global_zero:
            remove_older_epochs(self.run_folder, epoch, count=count)

    def report(self, row: EpochRow) -> None:
        """Say an epoch's figures, log them, and write the history."""
        progress.notify(row.line())
        for logger in self.trainer.loggers:
            logger.log_metrics(row.figures(), step=row.epoch)
        if self.trainer.is_global_zero:
            try:
                write_history(self.run_folder.metrics_file, self.history)
            except HeldFileError as error:
                # Opened in a spreadsheet. `finetune` writes it once more at its end.
                progress.notify(f"{error.where}: {error.what}; training continues without it")

    def stop_early(self, row: EpochRow, *, deadline: float | None) -> None:
        """Decide whether training continues, by the time and by the epochs without a better one.

        Args:
            row: the last epoch.
            deadline: time (`time.monotonic`) after which no further epoch begins.
        """
        patience = self.recipe.training.patience
        # Without anything that scores epochs, none is better or worse.
        waited = self.current_epoch - self.best_epoch if self.best != UNSCORED else 0
        if is_so_anywhere(self, patience is not None and waited >= patience):
            progress.notify(f"stopped after epoch {row.epoch}: no better epoch in {patience}")
            self.trainer.should_stop = True
        if is_so_anywhere(self, deadline is not None and time.monotonic() > deadline):
            left = self.recipe.training.epochs - row.epoch
            if left:
                progress.notify(
                    f"stopped after epoch {row.epoch}: time limit, {left} epochs undone"
                )
            self.trainer.should_stop = True

    def write_weights(self, path: Path) -> None:
        """Write the model's present weights; the first process does."""
        if self.trainer.is_global_zero:
            write_weights(path, self.model)

    # -- checkpoints -----------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of; called in every process."""
        checkpoint[STATE_KEY] = saved_state(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added.

        Raises:
            TrainingError: the checkpoint is not of this training.
        """
        take_state(self, checkpoint)
        self._resumed = checkpoint[STATE_KEY]

    def on_train_start(self) -> None:
        """Take up, when resuming, what must be the last thing to be restored."""
        if self._resumed is None:
            return
        continue_randomness(self, self._resumed)
        # Killed after early stopping, before the stage was finished: no further epochs.
        self.trainer.should_stop = self._resumed["stopped"]
        self._resumed = None
