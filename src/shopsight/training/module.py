"""The Lightning module: a training step, a validation pass, and the end of an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from shopsight import progress
from shopsight.backbones.stages import Stages
from shopsight.config.recipe import Recipe
from shopsight.devices import copies_from_pinned, copy_to_device, float_accumulator
from shopsight.errors import TrainingError
from shopsight.loading.loader import Batch, OrderedBatches, TrainingBatches
from shopsight.models.product_model import ProductModel
from shopsight.runs.history import RETRIEVAL, EpochRow
from shopsight.runs.run_folder import RunFolder
from shopsight.training.kept_training import KeptTraining
from shopsight.training.over_ranks import (
    rows_of_all_ranks,
    sum_over_ranks,
    world_size,
)
from shopsight.training.retrieval_score import retrieval_figures
from shopsight.training.training_data import (
    EpochBatches,
    ProcessPart,
    TrainingData,
    searched_batches,
    size_of_epoch,
)

STEP_SEED_FACTOR = 1_000_003


class ClassifierTraining(KeptTraining):
    """Trains a `ProductModel` by a resolved recipe.

    Randomness inside the network (dropout, stochastic depth) is seeded by (seed, step, process),
    augmentation by (seed, epoch, sample): a run that is resumed equals one that was never stopped.

    Args:
        model: the network, with the weights that training begins with.
        stages: names of its backbone's parameters, from the input to the embedding.
        data: images and targets.
        recipe: resolved: no "auto" is left in it.
        run: the folder for weights, history and checkpoints.
        first_rows: history before the first epoch: the probe's row, or none.
        deadline: time (`time.monotonic`) after which no further epoch begins.

    Attributes:
        epochs_begun: by this process.
    """

    def __init__(
        self,
        model: ProductModel,
        stages: Stages,
        data: TrainingData,
        recipe: Recipe,
        run: RunFolder,
        *,
        first_rows: list[EpochRow],
        deadline: float | None = None,
    ) -> None:
        super().__init__(
            model, stages, recipe, run, class_weights=data.class_weights, first_rows=first_rows
        )
        self.data = data
        self.deadline = deadline
        self._totals = self._no_sums()
        self._val_totals = self._no_sums()
        self._found: dict[str, float] = {}
        self._bars = ExitStack()
        self._epoch_began = 0.0
        self.epochs_begun = 0

    # -- what it reads ---------------------------------------------------------------------

    def epoch_size_px(self, epoch: int) -> int:
        """Side of the training images in this epoch, counted from 0."""
        sizes = self.recipe.training.progressive_sizes_px or (self.data.source.size_px,)
        return size_of_epoch(sizes, self.recipe.training.epochs, epoch)

    def train_dataloader(self) -> EpochBatches:
        """This process's part of the training batches."""
        return EpochBatches(
            self.train_batches(size_px=self.epoch_size_px), lambda: self.current_epoch
        )

    def train_batches(self, *, size_px: int | Callable[[int], int]) -> TrainingBatches:
        """This process's part of the training batches.

        Args:
            size_px: side of the images, for all epochs or as a function of the epoch.
        """
        return self.data.training_batches(self.recipe, self._part(), size_px=size_px)

    def val_dataloader(self) -> OrderedBatches:
        """This process's part of the validation images, each of which counts once in all."""
        return self.data.validation_batches(self.recipe, self._part())

    def _part(self) -> ProcessPart:
        pins = copies_from_pinned(self.device)
        return ProcessPart(self.global_rank, world_size(self), pin_memory=pins)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _index: int) -> Batch:
        """Move the images alone: targets are looked up by row on the CPU."""
        return replace(batch, images=copy_to_device(batch.images, device))

    def targets_of(self, batch: Batch) -> Float[Tensor, "batch classes"]:
        """Targets of a batch, mixed in the same proportion as its images."""
        target = self.data.targets_of(batch)
        # A copy from pageable memory would wait for all steps before this one.
        if copies_from_pinned(self.device):
            target = target.pin_memory()
        return copy_to_device(target, self.device)

    # -- one step --------------------------------------------------------------------------

    def on_train_epoch_start(self) -> None:
        """Begin the sums and the progress bar of the epoch."""
        self.epochs_begun += 1
        self._totals = self._no_sums()
        self.objective.begin_epoch(self.current_epoch)
        self.begin_head_epochs_or_end_them()
        self._epoch_began = time.perf_counter()
        epoch, epochs = self.current_epoch, self.recipe.training.epochs
        title = f"Epoch {epoch + 1}/{epochs} at {self.epoch_size_px(epoch)} px"
        total = self.trainer.num_training_batches
        self._advance = self._bars.enter_context(
            progress.task(title, total=int(total), unit="batches")
        )

    def on_train_batch_start(self, _batch: Batch, index: int) -> None:
        """Seed the network's randomness for this step and process."""
        step = self.current_epoch * len(self.train_dataloader()) + index
        torch.manual_seed(
            self.recipe.seed * STEP_SEED_FACTOR + step * world_size(self) + self.global_rank
        )

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """The loss of one batch."""
        target = self.targets_of(batch)
        embedding, logits = self.model.embed_and_classify(batch.images)
        loss: Tensor = self.objective(embedding, logits, target)
        self._totals += self._sums(loss, embedding, logits, target)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the progress bar."""
        self._advance(1)

    @torch.no_grad()
    def _sums(self, loss: Tensor, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, right answers, images, and the objective's figures, each summed over the batch."""
        count = len(target)
        right = self.objective.right(logits, target).sum()
        figures = self.objective.measure(embedding, logits, target)
        sums = torch.stack([loss.detach() * count, right, torch.full_like(loss, count)])
        return torch.cat([sums.to(self._totals.dtype), count * figures.to(self._totals.dtype)])

    def _no_sums(self) -> Tensor:
        count = 3 + len(self.objective.figures)
        return torch.zeros(count, dtype=float_accumulator(self.device), device=self.device)

    # -- one validation pass ---------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Begin the sums, with the averaged weights in place where there are any."""
        self._val_totals = self._no_sums()
        if self.average is not None:
            self.average.swap(self.model)
        self.objective.finish_epoch(partial(sum_over_ranks, self))

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Add loss and right answers of one batch to the sums.

        The batch is empty in a process for which there was no image: see `OrderedBatches`.
        """
        if not len(batch.rows):
            return
        target = self.targets_of(batch)
        embedding, logits = self.model.embed_and_classify(batch.images)
        loss = self.objective.validation_loss(logits.float(), target)
        self._val_totals += self._sums(loss, embedding, logits.float(), target)

    def on_validation_epoch_end(self) -> None:
        """Keep the weights where the epoch is the best; put the trained weights back."""
        self._val_totals = sum_over_ranks(self, self._val_totals)
        accuracy = float(self._val_totals[1] / self._val_totals[2].clamp_min(1))
        loss = float(self._val_totals[0] / self._val_totals[2].clamp_min(1))
        self._found = self._retrieval()
        by_search = self.recipe.training.checkpoint == "retrieval"
        score = self._found.get(RETRIEVAL, accuracy) if by_search else accuracy
        # Searches alone, without a validation image, say nothing of accuracy.
        is_scored = by_search or bool(self._val_totals[2] > 0)
        if is_scored and (score, -loss) > (self.best[0], -self.best[1]):
            self.best, self.best_epoch = (score, loss), self.current_epoch
            self.write_weights(self.run_folder.best_weights_file)
        if self.average is not None:
            self.average.swap(self.model)

    def _retrieval(self) -> dict[str, float]:
        """How well images are found, by name of the figure; empty where that is not scored."""
        images = self.data.retrieval
        if images is None or len(images.rows) < world_size(self):
            return {}
        with self.trainer.precision_plugin.forward_context():
            parts = [
                self.model.embed(copy_to_device(batch.images, self.device))
                for batch in searched_batches(images, self.recipe, self._part())
            ]
        vectors = rows_of_all_ranks(self, torch.cat(parts).float(), len(images.rows))
        return retrieval_figures(vectors.cpu().numpy(), images)

    # -- the end of an epoch ---------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """Write the epoch's row of the history, and decide whether training continues.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        self._bars.close()
        if not len(self.data.val_rows) and self.data.retrieval is not None:
            self._search_without_validation()
        totals = sum_over_ranks(self, self._totals)
        if not torch.isfinite(totals).all():
            raise TrainingError(
                f"the loss became {float(totals[0] / totals[2])} in epoch {self.current_epoch + 1}",
                fix="a lower --set optimizer.lr=..., or --set training.gradient_clip=1.0",
            )
        row = self._row(totals)
        self.history = [*self.history, row]
        self._keep_epoch(row.epoch)
        self.report(row)
        self.stop_early(row, deadline=self.deadline)

    def _search_without_validation(self) -> None:
        """Score the epoch's searches: without a validation image Lightning has no such pass."""
        self.eval()
        with torch.no_grad():
            self.on_validation_epoch_start()
            self.on_validation_epoch_end()
        self.train()

    def _row(self, totals: Tensor) -> EpochRow:
        """The present epoch in the history; the sums are those of all processes."""
        val, figures = self._val_totals, self.objective.figures
        further = {
            name: float(total / totals[2]) for name, total in zip(figures, totals[3:], strict=True)
        }
        return EpochRow(
            stage="finetune",
            epoch=self.current_epoch + 1,
            size_px=self.epoch_size_px(self.current_epoch),
            lr=self._lr(),
            train_loss=float(totals[0] / totals[2]),
            train_accuracy=float(totals[1] / totals[2]),
            val_loss=float(val[0] / val[2]) if val[2] else float("nan"),
            val_accuracy=float(val[1] / val[2]) if val[2] else float("nan"),
            seconds=round(time.perf_counter() - self._epoch_began, 2),
            further=further | self._found,
        )

    def _lr(self) -> float:
        """The recipe's `optimizer.lr` as the schedule has it now."""
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
        return self.recipe.optimizer.lr * float(scheduler.lr_lambdas[0](scheduler.last_epoch))

    def close_progress(self) -> None:
        """End the epoch's progress bar, if one is open."""
        self._bars.close()
