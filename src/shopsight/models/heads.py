"""From an embedding to one logit per class."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from shopsight.head_settings import HeadSettings


class LinearHead(nn.Module):
    """Dropout, then one linear layer, `classifier`."""

    def __init__(self, embedding_dim: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(embedding_dim, num_classes)

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        return self.classifier(self.dropout(embedding))  # type: ignore[no-any-return]


class MlpHead(nn.Module):
    """Twice Linear, BatchNorm, ReLU, Dropout; then the classifier."""

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        hidden_dim: int,
        hidden_dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            *_hidden_layer(embedding_dim, hidden_dim, hidden_dropout[0]),
            *_hidden_layer(hidden_dim, hidden_dim, hidden_dropout[1]),
        )
        self.classifier = nn.Linear(hidden_dim, num_classes)

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        return self.classifier(self.hidden(embedding))  # type: ignore[no-any-return]


def _hidden_layer(before: int, after: int, dropout: float) -> list[nn.Module]:
    # BatchNorm has its own shift: a bias before it would do nothing.
    linear = nn.Linear(before, after, bias=False)
    return [linear, nn.BatchNorm1d(after), nn.ReLU(inplace=True), nn.Dropout(dropout)]


class CosineHead(nn.Module):
    """Logits are cosines to learned directions of each class, times a scale.

    Of several directions of a class ("sub-centers") the nearest counts, so that a class may have
    several looks, and wrong labels may gather at a direction of their own. The scale is kept as
    its logarithm, so that it stays positive.

    All of it is computed in fp32, under autocast too: at scale 30, the rounding of a cosine to
    bf16 (2^-9 near 1) would move a logit by 0.06, and a margin (`shopsight.training.margins`) is
    taken of an angle, which near 0 is the root of that rounding.

    Sources: Gidaris and Komodakis 2018, "Dynamic Few-Shot Visual Learning without Forgetting";
    Deng et al. 2020, "Sub-center ArcFace".

    Attributes:
        weight: directions of any length, those of a class one after another.
        num_classes: classes.
        subcenters: directions of each class.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        dropout: float = 0.0,
        scale: float = 16.0,
        learned_scale: bool = True,
        subcenters: int = 1,
    ) -> None:
        super().__init__()
        self.num_classes, self.subcenters = num_classes, subcenters
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(num_classes * subcenters, embedding_dim))
        nn.init.normal_(self.weight, std=embedding_dim**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned_scale)

    def scale(self) -> Float[Tensor, ""]:
        """What cosines are multiplied with."""
        return self.log_scale.float().exp()

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        with full_precision(embedding.device):
            direction = functional.normalize(self.dropout(embedding.float()), dim=1)
            weight = functional.normalize(self.weight.float(), dim=1)
            cosine = functional.linear(direction, weight)
            if self.subcenters > 1:
                cosine = cosine.view(-1, self.num_classes, self.subcenters).amax(2)
            return cosine * self.scale()


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Within the block, operations are not autocast to 16 bits."""
    if device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class DirectionHead(nn.Module):
    """One linear layer, `classifier`, on embeddings of unit length.

    A class that a text describes is a direction q: its logit is s q . x, and where directions are
    from a center c, s q . (x - c), whose constant part is the bias.
    """

    def __init__(self, embedding_dim: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(embedding_dim, num_classes)

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        direction = functional.normalize(self.dropout(embedding), dim=1)
        return self.classifier(direction)  # type: ignore[no-any-return]


@torch.no_grad()
def divide_logits(head: nn.Module, temperature: float) -> None:
    """Change a head so that its logits are divided by a temperature."""
    if isinstance(head, CosineHead):
        head.log_scale.sub_(math.log(temperature))
        return
    assert isinstance(head, LinearHead | MlpHead | DirectionHead)
    head.classifier.weight.div_(temperature)
    head.classifier.bias.div_(temperature)


def create_head(settings: HeadSettings, *, embedding_dim: int, num_classes: int) -> nn.Module:
    """Build a new head, from embeddings of `embedding_dim` numbers to `num_classes` logits."""
    match settings.kind:
        case "linear":
            return LinearHead(embedding_dim, num_classes, dropout=settings.dropout)
        case "mlp":
            return MlpHead(
                embedding_dim,
                num_classes,
                hidden_dim=settings.hidden_dim,
                hidden_dropout=settings.hidden_dropout,
            )
        case "cosine":
            return CosineHead(
                embedding_dim,
                num_classes,
                dropout=settings.dropout,
                scale=settings.scale,
                learned_scale=settings.learned_scale,
                subcenters=settings.subcenters,
            )
        case "direction":
            return DirectionHead(embedding_dim, num_classes, dropout=settings.dropout)
