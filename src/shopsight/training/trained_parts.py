"""Which parts of a network are trained, and by which steps of an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shopsight.backbones.stages import Stages
from shopsight.config.recipe import Recipe
from shopsight.models.product_model import ProductModel
from shopsight.training.create_objective import create_objective
from shopsight.training.ema import ModelEma
from shopsight.training.optim import (
    create_optimizer,
    may_fuse,
    parameter_groups,
    schedule_factor,
)
from shopsight.training.over_ranks import world_size


class TrainedParts(lightning.LightningModule):
    """A network of which some parts stand still, for a time or for good.

    Args:
        model: the network, with the weights that training begins with.
        stages: names of its backbone's parameters, from the input to the embedding.
        recipe: resolved: no "auto" is left in it.
        class_weights: of the loss, or None.

    Attributes:
        objective: what training minimizes; it may have parameters of its own.
        average: the average of the weights, or None.
    """

    def __init__(
        self,
        model: ProductModel,
        stages: Stages,
        recipe: Recipe,
        *,
        class_weights: Float[Tensor, " classes"] | None,
    ) -> None:
        super().__init__()
        self.model = model
        self.stages = stages
        self.recipe = recipe
        self.objective = create_objective(recipe, model.head, class_weights=class_weights)
        self.average = ModelEma(model, decay=recipe.training.ema) if recipe.training.ema else None
        self.freeze_parameters()

    # -- what stands still -----------------------------------------------------------------

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

    def begin_head_epochs_or_end_them(self) -> None:
        """Have the backbone stand still in the first epochs, and move afterwards.

        Several processes agreed at the start on what has gradients: there they are computed, and
        dropped before the step.
        """
        if not self.recipe.training.head_epochs:
            return
        self.train()
        if world_size(self) == 1:
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

    def train(self, mode: bool = True) -> TrainedParts:
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

    # -- the optimizer ---------------------------------------------------------------------

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

    def on_fit_start(self) -> None:
        """Have the averaged weights where the network is by now."""
        if self.average is not None:
            self.average.follow(self.model)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the averaged weights in the network inside the block, where there are any."""
        if self.average is not None:
            self.average.swap(self.model)
        try:
            yield
        finally:
            if self.average is not None:
                self.average.swap(self.model)
