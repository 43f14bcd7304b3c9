"""Layers behind a backbone, whose output is the embedding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn

from shopsight.backbones.spec import Backbone
from shopsight.errors import ConfigError
from shopsight.neck_settings import NeckSettings

BODY = "body."
"""What the names of a backbone's own tensors begin with where it has a neck."""
_SMALLEST = 1e-6
_FIRST_EXPONENT = 3.0


class NeckedBackbone(nn.Module):
    """A backbone with a neck; `body` holds the backbone's own tensors, `neck` what is new."""

    def __init__(self, body: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.neck = neck

    def forward(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b w"]:
        """The embedding of each image."""
        embedding: Tensor = self.neck(self.body(pixels))
        return embedding


class GeM(nn.Module):
    """The generalized mean over positions, (mean of x^p)^(1/p), with a learned p.

    p = 1 is the mean, p to infinity the maximum; negative activations count as nothing. In fp32:
    the third power of half-precision activations overflows from 41 on.

    Source: Radenovic et al. 2019, "Fine-tuning CNN Image Retrieval with No Human Annotation".
    """

    def __init__(self, *, positions: tuple[int, int] = (2, 3), flatten: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(_FIRST_EXPONENT))
        self.positions = positions
        self.flatten = flatten

    def forward(self, maps: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b ..."]:
        """One number for each channel; where not flattened, positions stay as sizes of 1."""
        with torch.autocast(maps.device.type, enabled=False):
            powers = maps.float().clamp(min=_SMALLEST).pow(self.p)
            pooled = powers.mean(dim=self.positions, keepdim=not self.flatten).pow(1.0 / self.p)
        return pooled.to(maps.dtype)


def with_neck(backbone: Backbone, settings: NeckSettings) -> Backbone:
    """The backbone with a neck, whose parameters are new and in none of its stages.

    Args:
        backbone: with or without its weights; its module becomes a part of the new one.
        settings: of the neck.

    Raises:
        ConfigError: "gem", and the network does not pool over positions.
    """
    if settings.is_none:
        return backbone
    if settings.pool == "gem":
        _pool_by_gem(backbone.module, backbone.name)
    layers, embedding_dim = _layers(settings, backbone.embedding_dim)
    return replace(
        backbone,
        module=NeckedBackbone(backbone.module, layers),
        embedding_dim=embedding_dim,
        stages=tuple(tuple(f"{BODY}{name}" for name in stage) for stage in backbone.stages),
        neck=settings,
        # Texts lie where the backbone's own embeddings are.
        text=None,
        has_text=False,
    )


def _layers(settings: NeckSettings, width: int) -> tuple[nn.Module, int]:
    """The neck's layers and the width of their output."""
    out = settings.embedding_dim or width
    match settings.kind:
        case "linear":
            return nn.Linear(width, out), out
        case "bnneck":
            return _norm_without_shift(width), width
        case "linear-bn-prelu":
            layers = [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.PReLU()]
            return nn.Sequential(*layers), out
        case "dropout-linear":
            return nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(width, out)), out
        case "bn-dropout-linear-linear":
            return nn.Sequential(
                nn.BatchNorm1d(width),
                nn.Dropout(settings.dropout),
                nn.Linear(width, out),
                nn.Linear(out, out),
            ), out
        case _:
            return nn.Identity(), width


def _norm_without_shift(width: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(width)
    # Zero, and never trained: a shift would move all embeddings to one side of the origin.
    norm.bias.requires_grad_(False)
    return norm


def _pool_by_gem(module: nn.Module, name: str) -> None:
    """Put the generalized mean where a network takes the mean over positions."""
    pools = [key for key, one in module.named_modules() if isinstance(one, SelectAdaptivePool2d)]
    if len(pools) != 1:
        raise ConfigError(
            f"{name} does not pool over positions in one place",
            where="model.neck.pool",
            fix="--set model.neck.pool=own",
        )
    parent, _, leaf = pools[0].rpartition(".")
    old: Any = module.get_submodule(pools[0])
    flattens = isinstance(old.flatten, nn.Flatten) or bool(getattr(old.pool, "flatten", False))
    positions = getattr(old.pool, "dim", (2, 3))
    setattr(module.get_submodule(parent), leaf, GeM(positions=positions, flatten=flattens))
