"""What training minimizes: one object that sees the embeddings, the logits and the targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from shopsight.config.training_settings import TrainingSettings
from shopsight.training.losses import ClassificationLoss


class Objective(nn.Module):
    """The loss of a batch, and what else is counted of it.

    Parameters of its own are trained at the head's rate, and are part of checkpoints; they are not
    part of the bundle.

    Attributes:
        figures: names of what `measure` gives; the mean over an epoch's images is in its row of
            the history.
    """

    figures: tuple[str, ...] = ()

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first batch of each epoch, counted from 0; also when resuming."""

    def finish_epoch(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        """Called in every process after the last batch of an epoch, before images validate.

        Args:
            over_ranks: the sum of a tensor over all processes.
        """

    def forward(
        self,
        embedding: Float[Tensor, "b w"],
        logits: Float[Tensor, "b c"],
        target: Float[Tensor, "b c"],
    ) -> Float[Tensor, ""]:
        """The loss of a training batch, mean over its images.

        Args:
            embedding: what the backbone gave.
            logits: what the head made of it.
            target: probabilities, whose rows sum to 1, or zeros and ones of several labels.
        """
        raise NotImplementedError

    def validation_loss(
        self, logits: Float[Tensor, "b c"], target: Float[Tensor, "b c"]
    ) -> Float[Tensor, ""]:
        """The mean loss of images that validate, in nats: comparable between all objectives."""
        return functional.cross_entropy(logits.float(), target)

    def right(self, logits: Float[Tensor, "b c"], target: Float[Tensor, "b c"]) -> Tensor:
        """Which images are answered rightly, or which share of their labels."""
        right: Bool[Tensor, "b"] = logits.argmax(1) == target.argmax(1)
        return right

    def measure(
        self, embedding: Float[Tensor, "b w"], logits: Float[Tensor, "b c"], target: Tensor
    ) -> Float[Tensor, " figures"]:
        """The mean over the batch of each of `figures`; called without gradients."""
        return torch.zeros(0, device=logits.device)


class ClassificationObjective(Objective):
    """Cross-entropy, focal loss or BCE of the logits alone.

    Args:
        settings: of the loss.
        weights: of each class, or None.
    """

    def __init__(
        self, settings: TrainingSettings, weights: Float[Tensor, " classes"] | None
    ) -> None:
        super().__init__()
        self.loss = ClassificationLoss(settings, weights)
        self._several = settings.loss == "bce"

    def forward(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self.loss(logits, target)
        return loss

    def validation_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        # Plain loss: smoothing and weights would hide what the reader wants to compare.
        if self._several:
            return functional.binary_cross_entropy_with_logits(logits.float(), target)
        return super().validation_loss(logits, target)

    def right(self, logits: Tensor, target: Tensor) -> Tensor:
        if self._several:
            return ((logits > 0) == (target > 0.5)).float().mean(1)
        return super().right(logits, target)
