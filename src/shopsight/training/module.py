"""The Lightning module: a training step, a validation pass, and what is kept of an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from shopsight import progress
from shopsight.backbones.stages import Stages
from shopsight.config.recipe import Recipe
from shopsight.devices import copies_from_pinned, copy_to_device, float_accumulator
from shopsight.errors import HeldFileError, ShopsightError, TrainingError, first_line
from shopsight.files import atomic_file, make_folder
from shopsight.held_files import remove_file
from shopsight.loading.loader import Batch, OrderedBatches, TrainingBatches
from shopsight.models.product_model import ProductModel
from shopsight.runs.history import RETRIEVAL, EpochRow, write_history
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line
from shopsight.training.create_objective import create_objective
from shopsight.training.ema import ModelEma
from shopsight.training.optim import (
    create_optimizer,
    may_fuse,
    parameter_groups,
    schedule_factor,
)
from shopsight.training.random_states import random_states, restore_random_states
from shopsight.training.retrieval_score import retrieval_figures
from shopsight.training.training_data import EpochBatches, TrainingData, size_of_epoch

STEP_SEED_FACTOR = 1_000_003


class ClassifierTraining(lightning.LightningModule):
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
        history: a row for each epoch so far.
        average: the average of the weights, or None.
        best: score and validation loss of the best epoch so far; the score is the accuracy on
            validation images, or the mean average precision of retrieval.
        best_epoch: its number, counted from 0.
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
        super().__init__()
        self.model = model
        self.stages = stages
        self.data = data
        self.recipe = recipe
        self.run_folder = run
        self.history = first_rows
        self.deadline = deadline
        self.objective = create_objective(recipe, model.head, class_weights=data.class_weights)
        self.average = ModelEma(model, decay=recipe.training.ema) if recipe.training.ema else None
        self.best = (-1.0, float("inf"))
        self.best_epoch = 0
        self._totals = self._no_sums()
        self._val_totals = self._no_sums()
        self._found: dict[str, float] = {}
        self._bars = ExitStack()
        self._epoch_began = 0.0
        self._resumed: dict[str, Any] | None = None
        self.epochs_begun = 0
        self.freeze_parameters()

    # -- what is trained -------------------------------------------------------------------

    def freeze_parameters(self) -> None:
        """Switch gradients off for the stages that the recipe freezes."""
        held = self._names_of(self.held_stages())
        for name, parameter in self.model.backbone.named_parameters():
            parameter.requires_grad_(name not in held)

    def held_stages(self) -> int:
        """How many of the backbone's stages keep their weights."""
        settings = self.recipe.training
        return len(self.stages) if settings.mode == "frozen" else settings.frozen_stages

    def _names_of(self, stages: int) -> set[str]:
        return {name for stage in self.stages[:stages] for name in stage}

    def _head_alone(self) -> bool:
        """Whether the present epoch trains neck and head alone."""
        return self.current_epoch < self.recipe.training.head_epochs

    def _begin_head_epochs_or_end_them(self) -> None:
        """Have the backbone stand still in the first epochs, and move afterwards.

        Several processes agreed at the start on what has gradients: there they are computed, and
        dropped before the step.
        """
        if not self.recipe.training.head_epochs:
            return
        self.train()
        if self._world() == 1:
            still, held = self._head_alone(), self._names_of(self.held_stages())
            for name, parameter in self.model.backbone.named_parameters():
                if name in self._names_of(len(self.stages)):
                    parameter.requires_grad_(not still and name not in held)

    def on_before_optimizer_step(self, _optimizer: Any) -> None:
        """Drop the gradients of what stands still in this epoch: it takes no step."""
        if self._head_alone():
            names = self._names_of(len(self.stages))
            for name, parameter in self.model.backbone.named_parameters():
                if name in names:
                    parameter.grad = None

    def train(self, mode: bool = True) -> ClassifierTraining:
        """Training mode, but frozen parts keep their statistics and drop nothing."""
        super().train(mode)
        if not mode:
            return self
        held = self._names_of(len(self.stages) if self._head_alone() else self.held_stages())
        for name, module in self.model.backbone.named_modules():
            own = [f"{name}.{leaf}" if name else leaf for leaf, _ in module.named_parameters()]
            still = bool(own) and all(parameter in held for parameter in own)
            norm = isinstance(module, nn.BatchNorm2d) and self.recipe.training.frozen_batchnorm
            if still or norm:
                module.eval()
        return self

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate and weight decay."""
        new = (*self.model.head.parameters(), *self.objective.parameters())
        return parameter_groups(self.model.backbone, self.stages, new, self.recipe.optimizer)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the schedule that moves its rates after each of its steps."""
        settings = self.recipe.optimizer
        optimizer = create_optimizer(
            self.optimizer_groups(),
            settings,
            fused=may_fuse(
                self.device,
                mixed_precision=self.recipe.training.precision != "32",
                clips=self.recipe.training.gradient_clip is not None,
            ),
        )
        factor = schedule_factor(
            self.recipe.schedule,
            steps_per_epoch=-(
                -len(self.train_dataloader()) // self.recipe.training.grad_accumulation
            ),
            epochs=self.recipe.training.epochs,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then take the new weights into their average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.model)

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
        return TrainingBatches(
            self.data.source,
            self.data.train_rows,
            augment=self.recipe.augment,
            seed=self.recipe.seed,
            batch_size=self.recipe.images_of_batch(self._world()),
            size_px=size_px,
            fill=self.data.fill,
            extra=self.data.extra,
            views=self.recipe.distill.views if self.recipe.distill.teacher else None,
            sampling=self.data.sampling,
            rank=self.global_rank,
            world=self._world(),
            pin_memory=copies_from_pinned(self.device),
        )

    def val_dataloader(self) -> OrderedBatches:
        """This process's part of the validation images, each of which counts once in all."""
        return OrderedBatches(
            self.data.source,
            self.data.val_rows,
            batch_size=self.recipe.training.resolved_batch_size,
            rank=self.global_rank,
            world=self._world(),
            pin_memory=copies_from_pinned(self.device),
        )

    def _world(self) -> int:
        return self._trainer.world_size if self._trainer is not None else 1

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _index: int) -> Batch:
        """Move the images alone: targets are looked up by row on the CPU."""
        return replace(batch, images=copy_to_device(batch.images, device))

    def targets_of(self, batch: Batch) -> Float[Tensor, "batch classes"]:
        """Targets of a batch, mixed in the same proportion as its images."""
        target = self.data.dense_targets(batch.rows)
        if batch.partner_rows is not None and batch.lam is not None:
            lam = batch.lam[:, None]
            target = lam * target + (1.0 - lam) * self.data.dense_targets(batch.partner_rows)
        # A copy from pageable memory would wait for all steps before this one.
        if copies_from_pinned(self.device):
            target = target.pin_memory()
        return copy_to_device(target, self.device)

    # -- one step --------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Have the averaged weights where the network is by now."""
        if self.average is not None:
            self.average.follow(self.model)

    def on_train_epoch_start(self) -> None:
        """Begin the sums and the progress bar of the epoch."""
        self.epochs_begun += 1
        self._totals = self._no_sums()
        self.objective.begin_epoch(self.current_epoch)
        self._begin_head_epochs_or_end_them()
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
            self.recipe.seed * STEP_SEED_FACTOR + step * self._world() + self.global_rank
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
        self.objective.finish_epoch(self._over_ranks)

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
        self._val_totals = self._over_ranks(self._val_totals)
        accuracy = float(self._val_totals[1] / self._val_totals[2].clamp_min(1))
        loss = float(self._val_totals[0] / self._val_totals[2].clamp_min(1))
        self._found = self._retrieval()
        by_search = self.recipe.training.checkpoint == "retrieval"
        score = self._found.get(RETRIEVAL, accuracy) if by_search else accuracy
        if (score, -loss) > (self.best[0], -self.best[1]):
            self.best, self.best_epoch = (score, loss), self.current_epoch
            self.write_weights(self.run_folder.best_weights_file)
        if self.average is not None:
            self.average.swap(self.model)

    def _retrieval(self) -> dict[str, float]:
        """How well images are found, by name of the figure; empty where that is not scored."""
        images = self.data.retrieval
        if images is None or len(images.rows) < self._world():
            return {}
        batches = OrderedBatches(
            images.source,
            images.rows,
            batch_size=self.recipe.training.resolved_batch_size,
            rank=self.global_rank,
            world=self._world(),
            pin_memory=copies_from_pinned(self.device),
        )
        with self.trainer.precision_plugin.forward_context():
            parts = [
                self.model.embed(copy_to_device(batch.images, self.device)) for batch in batches
            ]
        vectors = self._rows_of_all(torch.cat(parts).float(), len(images.rows))
        return retrieval_figures(vectors.cpu().numpy(), images)

    def _rows_of_all(self, own: Tensor, count: int) -> Tensor:
        """The rows of all processes, which have consecutive parts of them."""
        world = self._world()
        if world == 1:
            return own
        sizes = [len(part) for part in np.array_split(np.arange(count), world)]
        padded = nn.functional.pad(own, (0, 0, 0, max(sizes) - len(own)))
        gathered = self.all_gather(padded)
        assert isinstance(gathered, Tensor)
        return torch.cat([part[:size] for part, size in zip(gathered, sizes, strict=True)])

    def _over_ranks(self, totals: Tensor) -> Tensor:
        if self._world() == 1:
            return totals
        gathered = self.all_gather(totals)
        assert isinstance(gathered, Tensor)
        return gathered.reshape(-1, *totals.shape).sum(0)

    def _anywhere(self, flag: bool) -> bool:
        """Whether it is so in any of the processes, whose clocks and history may differ."""
        if self._world() == 1:
            return flag
        flags = self.all_gather(torch.tensor(flag, dtype=torch.uint8, device=self.device))
        assert isinstance(flags, Tensor)
        return bool(flags.any())

    # -- what an epoch leaves behind -------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """Write the epoch's row of the history, and decide whether training continues.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        self._bars.close()
        totals = self._over_ranks(self._totals)
        loss = float(totals[0] / totals[2])
        if not torch.isfinite(totals).all():
            raise TrainingError(
                f"the loss became {loss} in epoch {self.current_epoch + 1}",
                fix="a lower --set optimizer.lr=..., or --set training.gradient_clip=1.0",
            )
        val = self._val_totals
        row = EpochRow(
            stage="finetune",
            epoch=self.current_epoch + 1,
            size_px=self.epoch_size_px(self.current_epoch),
            lr=self._lr(),
            train_loss=loss,
            train_accuracy=float(totals[1] / totals[2]),
            val_loss=float(val[0] / val[2]) if val[2] else float("nan"),
            val_accuracy=float(val[1] / val[2]) if val[2] else float("nan"),
            seconds=round(time.perf_counter() - self._epoch_began, 2),
            further={
                name: float(total / totals[2])
                for name, total in zip(self.objective.figures, totals[3:], strict=True)
            }
            | self._found,
        )
        self.history = [*self.history, row]
        self._keep_epoch(row.epoch)
        self._report(row)
        self._stop_early(row)

    def _keep_epoch(self, epoch: int) -> None:
        """Write the weights of this epoch, and remove those that are too old to be kept."""
        count = self.recipe.training.keep_epochs
        if not count:
            return
        if self.average is not None:
            self.average.swap(self.model)
        self.write_weights(self.run_folder.epoch_weights_file(epoch))
        if self.average is not None:
            self.average.swap(self.model)
        if self.trainer.is_global_zero:
            first = max(1, epoch - count + 1)
            kept = {self.run_folder.epoch_weights_file(n) for n in range(first, epoch + 1)}
            for file in self.run_folder.kept_epoch_files:
                if file not in kept:
                    remove_file(file)

    def _lr(self) -> float:
        """The recipe's `optimizer.lr` as the schedule has it now."""
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
        return self.recipe.optimizer.lr * float(scheduler.lr_lambdas[0](scheduler.last_epoch))

    def _report(self, row: EpochRow) -> None:
        progress.notify(row.line())
        for logger in self.trainer.loggers:
            logger.log_metrics(row.figures(), step=row.epoch)
        if self.trainer.is_global_zero:
            try:
                write_history(self.run_folder.metrics_file, self.history)
            except HeldFileError as error:
                # Opened in a spreadsheet. `finetune` writes it once more at its end.
                progress.notify(f"{error.where}: {error.what}; training continues without it")

    def _stop_early(self, row: EpochRow) -> None:
        patience = self.recipe.training.patience
        waited = self.current_epoch - self.best_epoch
        if self._anywhere(patience is not None and waited >= patience):
            progress.notify(f"stopped after epoch {row.epoch}: no better epoch in {patience}")
            self.trainer.should_stop = True
        if self._anywhere(self.deadline is not None and time.monotonic() > self.deadline):
            left = self.recipe.training.epochs - row.epoch
            if left:
                progress.notify(
                    f"stopped after epoch {row.epoch}: time limit, {left} epochs undone"
                )
            self.trainer.should_stop = True

    def close_progress(self) -> None:
        """End the epoch's progress bar, if one is open."""
        self._bars.close()

    def write_weights(self, path: Path) -> None:
        """Write the model's present weights; the first process does."""
        if self.trainer.is_global_zero:
            make_folder(path.parent)
            # Each tensor by itself: some networks (FasterViT) use one under two names.
            state = {
                key: value.clone(memory_format=torch.contiguous_format)
                for key, value in self.model.state_dict().items()
            }
            needed = sum(value.nbytes for value in state.values())
            with atomic_file(path, needed_bytes=needed) as part:
                save_file(state, part)

    # -- checkpoints -----------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of; called in every process."""
        states = random_states(self.device)
        checkpoint["shopsight"] = {
            "history": [vars(row) for row in self.history],
            "best": self.best,
            "best_epoch": self.best_epoch,
            "average": self.average.state_dict() if self.average is not None else None,
            "stopped": self.trainer.should_stop,
            "random": {name: self._of_all_ranks(state) for name, state in states.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added.

        Raises:
            TrainingError: the checkpoint is of another network, or of another number of processes;
                or it is none of ours.
        """
        try:
            self._check_shapes(checkpoint["state_dict"])
            self._check_optimizers(checkpoint["optimizer_states"])
            own = checkpoint["shopsight"]
            self._check_world(len(own["random"]["torch"]))
            self.history = [EpochRow.from_json(row) for row in own["history"]]
            accuracy, loss = own["best"]
            self.best = float(accuracy), float(loss)
            self.best_epoch = int(own["best_epoch"])
            if self.average is not None:
                self.average.load_state_dict(own["average"])
        except ShopsightError:
            raise
        except Exception as error:
            raise self.not_of_this_run(error) from error
        self._resumed = own

    def on_train_start(self) -> None:
        """Take up, when resuming, what must be the last thing to be restored."""
        if self._resumed is None:
            return
        states = self._resumed["random"]
        own = {name: state[self.global_rank] for name, state in states.items()}
        restore_random_states(own, self.device)
        # Killed after early stopping, before the stage was finished: no further epochs.
        self.trainer.should_stop = self._resumed["stopped"]
        self._resumed = None

    def _of_all_ranks(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes as one, a row each."""
        if self._world() == 1:
            # Not by way of the device: MPS has no float64.
            return tensor[None].cpu()
        gathered = self.all_gather(tensor.to(self.device))
        assert isinstance(gathered, Tensor)
        return gathered.reshape(-1, *tensor.shape).cpu()

    def _check_world(self, saved: int) -> None:
        """Refuse to go on with other batches, learning rates and steps than the run began with."""
        if saved != self._world():
            raise TrainingError(
                f"{saved} processes trained until here, which {self._world()} cannot continue",
                where=str(self.run_folder.last_checkpoint),
                fix=f"start {saved} processes, on any number of nodes",
            )

    def _check_shapes(self, found: dict[str, Tensor]) -> None:
        wanted = {name: value.shape for name, value in self.state_dict().items()}
        if wanted != {name: value.shape for name, value in found.items()}:
            raise self.not_of_this_run()

    def _check_optimizers(self, found: list[dict[str, Any]]) -> None:
        """Refuse averages of gradients that have no parameter's shape; torch compares none."""
        shapes = {(), (1,), *(tuple(value.shape) for value in self.parameters())}
        kept = [
            value for one in found for state in one["state"].values() for value in state.values()
        ]
        if not {tuple(value.shape) for value in kept if isinstance(value, Tensor)} <= shapes:
            raise self.not_of_this_run()

    def not_of_this_run(self, error: Exception | None = None) -> TrainingError:
        """The error of a checkpoint that is not this training's, or that somebody has edited.

        Args:
            error: what taking it up raised.
        """
        folder = self.run_folder.checkpoints
        return TrainingError(
            f"the checkpoint is not of this run, which trains {self.recipe.model.backbone} on "
            f"{self.data.num_classes} labels, or was edited",
            where=str(self.run_folder.last_checkpoint),
            details=[] if error is None else [f"{type(error).__name__}: {first_line(error)}"],
            fix=f"delete the files last* in {folder}, then repeat the fine-tuning from its first "
            f"epoch: {command_line(['shopsight', 'train', '--resume', self.run_folder.path])}",
        )
