"""Several networks that answer as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class EnsembleBackbone(nn.Module):
    """The members' embeddings side by side."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b w"]:
        return torch.cat([member(pixels) for member in self.members], dim=1)


class EnsembleHead(nn.Module):
    """The mean of the members' probabilities, as logits.

    Each member's head reads its own part of the embedding, and gives logits that are divided by
    the member's own temperature already, see `shopsight.models.heads.divide_logits`. Logarithms
    of mean probabilities are logits whose softmax gives those probabilities back; for several
    labels per image the mean of the logits is taken instead.
    """

    def __init__(self, members: Sequence[nn.Module], *, multilabel: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.multilabel = multilabel

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        parts = embedding.chunk(len(self.members), dim=1)
        pairs = zip(self.members, parts, strict=True)
        logits = torch.stack([member(part).float() for member, part in pairs])
        if self.multilabel:
            return logits.mean(0)
        log_p = functional.log_softmax(logits, dim=2)
        return torch.logsumexp(log_p, dim=0) - math.log(len(self.members))
