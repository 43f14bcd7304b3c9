"""From an embedding to one logit per class."""

from __future__ import annotations

import math

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
    """Logits are cosines to one learned direction per class, times a learned scale.

    The scale is kept as its logarithm, so that it stays positive.
    Source: Gidaris and Komodakis 2018, "Dynamic Few-Shot Visual Learning without Forgetting".
    """

    def __init__(
        self, embedding_dim: int, num_classes: int, *, dropout: float = 0.0, scale: float = 16.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(num_classes, embedding_dim))
        nn.init.normal_(self.weight, std=embedding_dim**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        direction = functional.normalize(self.dropout(embedding), dim=1)
        cosine = functional.linear(direction, functional.normalize(self.weight, dim=1))
        return cosine * self.log_scale.exp()


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
            return CosineHead(embedding_dim, num_classes, dropout=settings.dropout)
        case "direction":
            return DirectionHead(embedding_dim, num_classes, dropout=settings.dropout)
