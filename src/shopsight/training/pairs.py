"""Losses that compare the images of a batch with each other, of pytorch-metric-learning.

Images of one label are to be near each other, those of two labels far apart. Nothing trains the
head: its directions are the mean directions of the classes' embeddings, over each epoch while it
lasts, and of all training images, as they are without augmentation, in the bundle.

Several processes each compare the images of their own batch.

Sources: Khosla et al. 2020, "Supervised Contrastive Learning"; Wang et al. 2019, "Multi-Similarity
Loss with General Pair Weighting for Deep Metric Learning"; Snell et al. 2017, "Prototypical
Networks", for the means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from shopsight.config.loss_settings import MetricSettings
from shopsight.extras import require
from shopsight.models.heads import CosineHead, full_precision
from shopsight.training.objective import Objective
from shopsight.training.proxies import LIBRARY
from shopsight.training.standard_rows import ROWS_AT_ONCE, Features

OWN_ALPHA = 2.0


class PairObjective(Objective):
    """Supervised-contrastive or multi-similarity loss of a batch.

    Args:
        loss: its name, as in `training.loss`.
        metric: its numbers.
        head: of the network that is trained; its directions become means.

    Raises:
        ExtraMissingError: the library is not installed.
    """

    figures = ("images_with_a_pair",)
    sums: Tensor

    def __init__(self, loss: str, metric: MetricSettings, head: CosineHead) -> None:
        super().__init__()
        head.requires_grad_(False)
        # In a tuple: as an attribute it would be a part of this module, too.
        self._heads = (head,)
        self.loss = _created(loss, metric)
        # Whole epochs are resumed, so that no checkpoint needs it.
        self.register_buffer("sums", torch.zeros_like(head.weight.detach()), persistent=False)

    def begin_epoch(self, epoch: int) -> None:
        self.sums.zero_()

    def forward(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        label = target.argmax(1)
        with full_precision(embedding.device):
            if self.training:
                add_directions(self.sums, embedding.detach(), label)
            value: Tensor = self.loss(embedding.float(), label)
            return value

    def finish_epoch(self, over_ranks: Callable[[Tensor], Tensor]) -> None:
        set_directions(self._heads[0], over_ranks(self.sums))

    def measure(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        label = target.argmax(1)
        same = (label[:, None] == label).sum(1)
        return (same > 1).float().mean()[None]


@torch.no_grad()
def add_directions(
    sums: Float[Tensor, "c w"], embedding: Float[Tensor, "b w"], label: Int64[Tensor, "b"]
) -> None:
    """Add the unit vectors of embeddings to the sums of their classes, in place."""
    sums.index_add_(0, label, functional.normalize(embedding.float(), dim=1))


def summed_directions(
    features: Features, labels: Int64[np.ndarray, "n"], head: CosineHead
) -> Float[Tensor, "c w"]:
    """The sums of the unit vectors of images, by class.

    Args:
        features: embeddings of the images, in memory or mapped.
        labels: class of each.
        head: what the sums are for.
    """
    sums = torch.zeros_like(head.weight.detach())
    for start in range(0, len(labels), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(labels)))
        add_directions(sums, torch.as_tensor(features[rows]), torch.from_numpy(labels[rows]))
    return sums


@torch.no_grad()
def set_directions(head: CosineHead, sums: Float[Tensor, "c w"]) -> None:
    """Give the head the directions of these sums; a class of which none was seen keeps its own."""
    seen = sums.norm(dim=1, keepdim=True) > 0.0
    head.weight.copy_(torch.where(seen, functional.normalize(sums, dim=1), head.weight))


def _created(loss: str, metric: MetricSettings) -> Any:
    losses: Any = require(f"{LIBRARY}.losses")
    if loss == "supcon":
        return losses.SupConLoss(temperature=metric.temperature)
    return losses.MultiSimilarityLoss(
        alpha=metric.alpha or OWN_ALPHA, beta=metric.beta, base=metric.base
    )
