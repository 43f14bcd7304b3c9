"""A plain convolutional network of 0.14 M parameters, for images of about 28 px."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FashionCnn(nn.Module):
    """The 0.14 M network published for Fashion-MNIST, up to its last layer.

    Six times Conv3x3, ReLU, BatchNorm, Dropout2d, pooled after each pair, then a layer of 32. With
    a linear head for 10 classes it has the published 142,474 parameters.

    Args:
        conv_dropout: Probability that a channel is dropped after each convolution.
        dropout: Probability on the 32 features.

    Attributes:
        embedding_dim: Numbers in an embedding.
    """

    embedding_dim = 32

    def __init__(self, *, conv_dropout: float = 0.2, dropout: float = 0.3) -> None:
        super().__init__()
        channels = (3, 32, 32, 64, 64, 64, 64)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1),
                    nn.ReLU(inplace=True),
                    nn.BatchNorm2d(after),
                    nn.Dropout2d(conv_dropout),
                    # At 28 px the last pool is the published 7x7; other sizes work too.
                    *({1: [nn.AvgPool2d(2)], 3: [nn.AvgPool2d(2)]}.get(index, [])),
                )
                for index, (before, after) in enumerate(pairwise(channels))
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.neck = nn.Linear(64, self.embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 32"]:
        """Compute embeddings of normalized images."""
        features = self.pool(self.blocks(images)).flatten(1)
        embedding: Tensor = self.dropout(torch.relu(self.neck(features)))
        return embedding
