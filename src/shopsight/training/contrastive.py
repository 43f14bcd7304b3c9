"""Contrastive training: images and captions of what belongs together come to lie together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int64
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn

from shopsight.backbones.spec import Backbone
from shopsight.backbones.text_tower import TextTower, retrained
from shopsight.devices import copy_to_device
from shopsight.errors import ConfigError
from shopsight.loading.loader import Batch
from shopsight.models.heads import DirectionHead
from shopsight.models.product_model import ProductModel
from shopsight.models.two_towers import TwoTowers
from shopsight.training.cached_gradients import Vectors, cached_backward, gathered
from shopsight.training.captions import Captions, caption_numbers
from shopsight.training.contrastive_loss import LossGradients, Meaning, contrastive_gradients
from shopsight.training.module import ClassifierTraining
from shopsight.training.over_ranks import world_size
from shopsight.training.zero_shot import named_classes


class ContrastiveTraining(ClassifierTraining):
    """Trains the two towers of a `TwoTowers` by a resolved recipe.

    A step sees `contrastive.batch_size` images, of which `training.batch_size` are in memory at
    once, see `shopsight.training.cached_gradients`. The accuracy of a training epoch is how many
    images have a caption of theirs as the best one of the step; that of validation is zero-shot.

    Args:
        args: of `ClassifierTraining`.
        captions: of the catalog's rows.
        tower: what the text encoder is; its network is that of the model.
        labels: of the catalog.
        options: of `ClassifierTraining`.
    """

    model: TwoTowers

    def __init__(
        self,
        *args: Any,
        captions: Captions,
        tower: TextTower,
        labels: Sequence[str],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.automatic_optimization = False
        self.captions = captions
        self.tower = tower
        self.labels = tuple(labels)

    # -- what is trained -------------------------------------------------------------------

    def freeze_parameters(self) -> None:
        """Switch gradients off for what the recipe locks or freezes."""
        super().freeze_parameters()
        self.model.text.requires_grad_(self.recipe.contrastive.locked != "text")

    def held_stages(self) -> int:
        """How many of the image encoder's stages keep their weights."""
        locked = self.recipe.contrastive.locked == "image"
        return len(self.stages) if locked else super().held_stages()

    def train(self, mode: bool = True) -> ContrastiveTraining:
        """Training mode, but what is locked drops nothing."""
        super().train(mode)
        if mode and self.recipe.contrastive.locked == "text":
            self.model.text.eval()
        return self

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """Those of the image encoder, of the text encoder, and the logits' scale."""
        settings = self.recipe.optimizer
        rate = settings.lr * self.recipe.contrastive.text_lr_factor
        text = [one for one in self.model.text.parameters() if one.requires_grad]
        # Decay would pull the scale to 1, at which all logits are alike.
        scale = [one for one in (self.model.log_scale, self.model.bias) if one.requires_grad]
        members = [
            ([one for one in text if one.ndim > 1], rate, settings.weight_decay),
            ([one for one in text if one.ndim <= 1], rate, 0.0),
            (scale, settings.lr, 0.0),
        ]
        own = [
            {"params": params, "lr": lr, "weight_decay": decay}
            for params, lr, decay in members
            if params
        ]
        return [*super().optimizer_groups(), *own]

    # -- one step --------------------------------------------------------------------------

    def training_step(self, batch: Batch, _index: int) -> None:  # type: ignore[override]
        """A step of the optimizer, by the gradient of the whole batch."""
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
        optimizer.zero_grad()
        self._backward(batch)
        clip = self.recipe.training.gradient_clip
        if clip is not None:
            inner = optimizer.optimizer
            self.clip_gradients(inner, gradient_clip_val=clip, gradient_clip_algorithm="norm")
        optimizer.step()
        self.model.hold_scale()
        if self.average is not None:
            self.average.update(self.model)
        scheduler.step()

    def _backward(self, batch: Batch) -> None:
        world, size = world_size(self), self.recipe.training.resolved_batch_size
        # A process may have one image more than another; parts must be as many in each.
        counts = gathered(torch.tensor([len(batch.rows)], device=self.device), world)
        count = int(counts.min())
        texts = self.captions.of(batch.rows[:count])
        ids = self._here(torch.from_numpy(self.tower.tokenize(texts)))
        meaning = Meaning(
            gathered(self._here(self.captions.labels_of(batch.rows[:count])), world),
            gathered(self._here(caption_numbers(texts)), world),
        )

        def encode(part: int) -> Vectors:
            place = slice(part * size, min((part + 1) * size, count))
            images = self.model.image_vectors(batch.images[place])
            return images, self.model.text_vectors(ids[place])

        def gradients_of(vectors: Vectors) -> tuple[Vectors, Tensor]:
            model, kind = self.model, self.recipe.contrastive.loss
            images, captions = vectors
            found = contrastive_gradients(
                images, captions, meaning, model.log_scale, model.bias, kind=kind
            )
            self._add(found, len(images))
            learned = found.log_scale * model.log_scale
            if model.bias.requires_grad:
                learned = learned + found.bias * model.bias
            return (found.images, found.texts), learned

        cached_backward(
            encode,
            -(-count // size),
            gradients_of,
            self._go_back,
            device=self.device,
            world=world,
        )

    def _here(self, numbers: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
        return copy_to_device(numbers, self.device)

    def _add(self, found: LossGradients, count: int) -> None:
        """Add a step to the epoch's sums, which are those of all processes together."""
        if self.global_rank == 0:
            sums = [found.loss * count, found.right, torch.full_like(found.loss, count)]
            self._totals[:3] += torch.stack([one.to(self._totals.dtype) for one in sums])

    def _go_back(self, loss: Tensor, last: bool) -> None:
        strategy = self.trainer.strategy
        alone = isinstance(strategy, ParallelStrategy) and not last
        with strategy.block_backward_sync() if alone else nullcontext():  # type: ignore[attr-defined]
            self.manual_backward(loss)

    # -- validation ------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Set the classes to what the text encoder now makes of their names."""
        super().on_validation_epoch_start()
        set_classes(self.model, self.tower, self.labels, self.recipe.zero_shot.prompts)


def set_classes(
    model: TwoTowers, tower: TextTower, labels: Sequence[str], prompts: Sequence[str]
) -> None:
    """Set the head of two towers from their text encoder.

    Args:
        model: changed in place.
        tower: what its text encoder is.
        labels: of the catalog.
        prompts: see `shopsight.training.zero_shot.named_classes`.
    """
    scale = float(model.log_scale.detach().exp())
    now = replace(tower, module=model.text, logit_scale=scale)
    directions = named_classes(now, labels, prompts=prompts, device=model.log_scale.device)
    assert isinstance(model.head, DirectionHead)
    with torch.no_grad():
        model.head.classifier.weight.copy_(torch.from_numpy(scale * directions))
        model.head.classifier.bias.zero_()


def as_classifier(model: TwoTowers, backbone: Backbone) -> tuple[ProductModel, Backbone]:
    """What two towers are once they are trained: a classifier, and a backbone with its texts."""
    assert backbone.text is not None
    scale = float(model.log_scale.detach().exp())
    text = retrained(backbone.text, model.text, logit_scale=scale)
    plain = ProductModel(
        model.backbone, model.head, model.preprocess, tta_hflip=model.tta_hflip
    ).eval()
    return plain, replace(backbone, text=text)


def check_no_batchnorm(backbone: Backbone, *, frozen: bool) -> None:
    """Refuse networks whose output for an image depends on the other images of its part.

    Args:
        backbone: the image encoder.
        frozen: whether BatchNorm keeps its statistics.

    Raises:
        ConfigError: it has BatchNorm in training mode.
    """
    norms = [
        name
        for name, module in backbone.module.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        # Necks normalize embeddings, and learn nothing where they do not.
        and not (frozen and isinstance(module, nn.BatchNorm2d))
    ]
    if norms:
        raise ConfigError(
            f"{backbone.name} has {len(norms)} BatchNorms, which look at the part of a batch that "
            "is in memory: the gradient would not be that of the whole batch",
            where="training.mode",
            fix="--set training.frozen_batchnorm=true   (keeps their statistics)\n"
            "--set model.neck.kind=linear   (has none)",
        )
