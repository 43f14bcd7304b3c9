"""Distillation: a student that learns from a teacher's outputs beside its labels."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from shopsight.backbones.necks import NeckedBackbone
from shopsight.errors import ConfigError
from shopsight.loading.loader import Batch
from shopsight.training.distill_loss import distillation_loss
from shopsight.training.module import ClassifierTraining
from shopsight.training.teacher_outputs import Teacher


class DistillTraining(ClassifierTraining):
    """Trains a student by a resolved recipe: its own objective, and `distillation_loss`.

    With a distillation token (Touvron et al. 2021, "Training data-efficient image transformers &
    distillation through attention"), labels train what the class token gives and the teacher what
    the distillation token gives. Both go through the same neck and head, and the embedding is
    their mean: for a linear head its logits are the mean of both, as the authors predict.

    Args:
        args: of `ClassifierTraining`.
        teacher: whose outputs are kept for the training images.
        options: of `ClassifierTraining`.
    """

    def __init__(self, *args: Any, teacher: Teacher, **options: Any) -> None:
        super().__init__(*args, **options)
        # In a tuple: as an attribute its head would be a part of this module, too.
        self._teachers = (teacher,)

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """The loss of one batch."""
        settings = self.recipe.distill
        target = self.targets_of(batch)
        embedding, logits, answers = self._outputs(batch.images)
        wanted, wanted_logits = self._teachers[0].outputs(
            batch.rows, self.current_epoch % settings.views
        )
        loss = distillation_loss(
            settings,
            embedding=embedding,
            logits=answers,
            teacher_embedding=wanted,
            teacher_logits=wanted_logits,
            multilabel=self.recipe.training.loss == "bce",
        )
        own: Tensor = self.objective(embedding, logits, target)
        # With a weight of 0 too: processes agree on which parameters have a gradient.
        loss = loss + settings.hard_weight * own
        self._totals += self._sums(loss, embedding, logits, target)
        return loss

    def on_after_backward(self) -> None:
        """Leave the copied head as it is in its frozen epochs.

        Its gradient is dropped, not switched off: processes that share gradients expect it.
        """
        if self.current_epoch < self.recipe.distill.frozen_head_epochs:
            for parameter in self.model.head.parameters():
                parameter.grad = None

    def _outputs(
        self, images: UInt8[Tensor, "b s s 3"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b c"], Float[Tensor, "b c"]]:
        """The embedding, the logits for the labels, and those for the teacher."""
        if not self.recipe.distill.token:
            embedding, logits = self.model.embed_and_classify(images)
            return embedding, logits, logits
        body, neck = token_body(self.model.backbone)
        body.set_distilled_training(True)
        try:
            found = body(self.model.normalize(images))
        finally:
            # Whoever else runs the network wants one embedding.
            body.set_distilled_training(False)
        # A frozen network is in eval mode, and gives the mean of both tokens.
        tokens = found if isinstance(found, tuple) else (found, found)
        by_class, by_teacher = (neck(token) for token in tokens)
        head = self.model.classify
        return (by_class + by_teacher) / 2, head(by_class), head(by_teacher)


def token_body(backbone: nn.Module) -> tuple[Any, nn.Module]:
    """A network with a distillation token, and what stands behind it.

    Raises:
        ConfigError: it has no such token.
    """
    body: Any = backbone
    neck: nn.Module = nn.Identity()
    if isinstance(backbone, NeckedBackbone):
        body, neck = backbone.body, backbone.neck
    if not hasattr(body, "set_distilled_training"):
        raise ConfigError(
            "the student has no distillation token",
            where="distill.token",
            fix="--backbone timm:deit_small_distilled_patch16_224.fb_in1k   (has one)\n"
            "--set distill.token=false",
        )
    return body, neck
