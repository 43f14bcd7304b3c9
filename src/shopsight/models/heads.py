"""From an embedding to one logit per class."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

HeadKind = Literal["linear", "mlp", "cosine"]


class LinearHead(nn.Module):
    """Dropout, then one linear layer, `classifier`."""

    def __init__(self, embedding_dim: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(embedding_dim, classes)

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        return self.classifier(self.dropout(embedding))  # type: ignore[no-any-return]


class MlpHead(nn.Module):
    """Twice Linear, BatchNorm, ReLU, Dropout; then the classifier."""

    def __init__(
        self,
        embedding_dim: int,
        classes: int,
        *,
        hidden_dim: int,
        hidden_dropout: tuple[float, float],
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            *_hidden_layer(embedding_dim, hidden_dim, hidden_dropout[0]),
            *_hidden_layer(hidden_dim, hidden_dim, hidden_dropout[1]),
        )
        self.classifier = nn.Linear(hidden_dim, classes)

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
        self, embedding_dim: int, classes: int, *, dropout: float = 0.0, scale: float = 16.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(classes, embedding_dim))
        nn.init.normal_(self.weight, std=embedding_dim**-0.5)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        direction = functional.normalize(self.dropout(embedding), dim=1)
        cosine = functional.linear(direction, functional.normalize(self.weight, dim=1))
        return cosine * self.log_scale.exp()


def create_head(
    kind: HeadKind,
    *,
    embedding_dim: int,
    classes: int,
    dropout: float = 0.0,
    hidden_dim: int = 512,
    hidden_dropout: tuple[float, float] = (0.4, 0.5),
) -> nn.Module:
    """A new head for embeddings of `embedding_dim` numbers.

    Args:
        dropout: on the embedding, of the linear and cosine heads.
        hidden_dim, hidden_dropout: of the mlp head's two layers.
    """
    match kind:
        case "linear":
            return LinearHead(embedding_dim, classes, dropout=dropout)
        case "mlp":
            return MlpHead(
                embedding_dim, classes, hidden_dim=hidden_dim, hidden_dropout=hidden_dropout
            )
        case "cosine":
            return CosineHead(embedding_dim, classes, dropout=dropout)
