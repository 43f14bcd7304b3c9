"""A residual network of under half a million parameters, for images of about 28 px."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Channels after the stem, stride, and blocks: the image goes 28 -> 14 -> 7 px.
_STAGES = ((32, 1, 1), (64, 2, 2), (96, 2, 2))
_STEM = 32


class FashionNet(nn.Module):
    """Five residual blocks with squeeze-and-excitation; 477,666 parameters with ten classes.

    Sources: He et al. 2016, "Deep Residual Learning"; Hu et al. 2018, "Squeeze-and-Excitation
    Networks"; Zagoruyko and Komodakis 2016, "Wide Residual Networks" (dropout between the
    convolutions).

    Args:
        conv_dropout: Probability that a channel is dropped between the two convolutions of a block.
        dropout: Probability on the 96 features.

    Attributes:
        embedding_dim: Numbers in an embedding.
    """

    embedding_dim = _STAGES[-1][0]

    def __init__(self, *, conv_dropout: float = 0.0, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(3, _STEM), nn.ReLU(inplace=True))
        blocks, before = [], _STEM
        for after, stride, count in _STAGES:
            for number in range(count):
                blocks.append(_Block(before, after, stride if number == 0 else 1, conv_dropout))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 96"]:
        """Compute embeddings of normalized images."""
        embedding: Tensor = self.dropout(self.blocks(self.stem(images)).mean((2, 3)))
        return embedding


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_conv(before, after, stride=stride),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            *_conv(after, after),
            _SqueezeExcite(after),
        )
        shortcut: list[nn.Module] = []
        if stride > 1:
            # Averaging first uses every pixel; a strided 1x1 convolution sees a quarter of them.
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if before != after:
            shortcut += [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.residual(inputs) + self.shortcut(inputs))


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // reduction)
        self.expand = nn.Linear(channels // reduction, channels)

    def forward(self, inputs: Tensor) -> Tensor:
        gate = torch.sigmoid(self.expand(torch.relu(self.reduce(inputs.mean((2, 3))))))
        return inputs * gate[:, :, None, None]


def _conv(before: int, after: int, *, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(after)
