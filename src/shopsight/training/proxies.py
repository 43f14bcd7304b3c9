"""Losses that compare embeddings with directions of classes, of pytorch-metric-learning.

The directions ("proxies", "centers") are the weight of the head itself: trained by the loss, saved,
averaged and resumed with the network, and what the bundle's classifier answers by.

The library casts its proxies to the embeddings' type in place, so that one batch in bf16 would
round the weights that an optimizer updates. Embeddings are therefore given to it in fp32, outside
of autocast.

Sources: Qian et al. 2019, "SoftTriple Loss"; Kim et al. 2020, "Proxy Anchor Loss for Deep Metric
Learning"; Movshovitz-Attias et al. 2017, "No Fuss Distance Metric Learning using Proxies".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from shopsight.config.loss_settings import MetricSettings
from shopsight.extras import require
from shopsight.models.heads import CosineHead, full_precision
from shopsight.training.objective import Objective

LIBRARY = "pytorch_metric_learning"
OWN_MARGINS = {"softtriple": 0.01, "proxy-anchor": 0.1}
"""Where `metric.margin` is unset: those of the papers."""
OWN_ALPHA = 32.0


class ProxyObjective(Objective):
    """SoftTriple, Proxy-Anchor or Proxy-NCA, whose proxies are the head's directions.

    The scale of the head is the lambda of SoftTriple and the softmax scale of Proxy-NCA; it is not
    trained.

    Args:
        loss: its name, as in `training.loss`.
        metric: its numbers.
        head: of the network that is trained.

    Raises:
        ExtraMissingError: the library is not installed.
    """

    def __init__(self, loss: str, metric: MetricSettings, head: CosineHead) -> None:
        super().__init__()
        head.log_scale.requires_grad_(False)
        # In tuples: as attributes they would be parts of this module, and their one parameter
        # would be there twice.
        self._heads = (head,)
        self._losses = (_created(loss, metric, head),)
        self._name = "fc" if loss == "softtriple" else "proxies"
        del self._losses[0]._parameters[self._name]
        self._weight = metric.contrastive
        self._pairs = _pair_loss(metric) if metric.contrastive else None

    def forward(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        weight, loss = self._heads[0].weight, self._losses[0]
        with full_precision(embedding.device):
            # A view of the parameter, through which its gradient comes.
            setattr(loss, self._name, weight.t() if self._name == "fc" else weight[:])
            label = target.argmax(1)
            value: Tensor = loss(embedding.float(), label)
            if self._pairs is not None:
                value = value + self._weight * self._pairs(embedding.float(), label)
            return value


def _created(loss: str, metric: MetricSettings, head: CosineHead) -> Any:
    losses: Any = require(f"{LIBRARY}.losses")
    distances: Any = require(f"{LIBRARY}.distances")
    width = head.weight.shape[1]
    size = {"num_classes": head.num_classes, "embedding_size": width}
    scale = float(head.scale())
    margin = OWN_MARGINS.get(loss, 0.0) if metric.margin is None else metric.margin
    if loss == "softtriple":
        centers = head.subcenters
        return losses.SoftTripleLoss(
            **size, centers_per_class=centers, la=scale, gamma=metric.gamma, margin=margin
        )
    if loss == "proxy-anchor":
        return losses.ProxyAnchorLoss(**size, margin=margin, alpha=metric.alpha or OWN_ALPHA)
    return losses.ProxyNCALoss(**size, softmax_scale=scale, distance=distances.CosineSimilarity())


def _pair_loss(metric: MetricSettings) -> Any:
    """Cosines below 1 within a class and above the base between classes, each mean over pairs."""
    losses: Any = require(f"{LIBRARY}.losses")
    distances: Any = require(f"{LIBRARY}.distances")
    cosine = distances.CosineSimilarity()
    return losses.ContrastiveLoss(pos_margin=1.0, neg_margin=metric.base, distance=cosine)
