"""A linear layer behind a network: as its neck, joined with the neck that is there already.

Outside training, most necks are affine maps: a normalization over the batch multiplies and shifts
by constants, a dropout does nothing. An affine map after another is one again, so that a bundle
needs no second neck:

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from shopsight.backbones.necks import NeckedBackbone
from shopsight.errors import ConfigError
from shopsight.neck_settings import NeckSettings
from shopsight.training.projection import Projection

NOT_AFFINE = ("linear-bn-prelu",)


def can_take_layer(neck: NeckSettings, model: str) -> None:
    """Refuse a neck that a layer cannot be joined with.

    Args:
        neck: of the model.
        model: as the user named it.

    Raises:
        ConfigError: it is not an affine map.
    """
    if neck.kind in NOT_AFFINE:
        raise ConfigError(
            f"its neck, {neck.kind}, is no linear map: a layer cannot be joined with it",
            where=model,
            fix="train with another --set model.neck.kind, or adapt the backbone that it began "
            "from",
        )


def with_layer(
    backbone: nn.Module, neck: NeckSettings, layer: Projection
) -> tuple[nn.Module, NeckSettings]:
    """The network whose embedding goes through the layer, and its neck's settings.

    Args:
        backbone: in eval mode, on the CPU; its body becomes a part of the new one.
        neck: what it has behind it; see `can_take_layer`.
        layer: from its embeddings to the new ones.
    """
    body, joined = backbone, layer
    if isinstance(backbone, NeckedBackbone):
        body, joined = backbone.body, _after(backbone.neck, layer, neck)
    out, width = joined.weight.shape
    linear = nn.Linear(width, out)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(joined.weight))
        linear.bias.copy_(torch.from_numpy(joined.bias))
    settings = NeckSettings(kind="linear", embedding_dim=out, pool=neck.pool)
    return NeckedBackbone(body, linear).eval(), settings


def _after(own: nn.Module, layer: Projection, neck: NeckSettings) -> Projection:
    """The layer behind an affine neck, as one layer."""
    if neck.kind == "none":
        return layer
    width = _input_width(own)
    with torch.inference_mode():
        shift = own.eval()(torch.zeros(1, width))
        matrix = (own(torch.eye(width)) - shift).T
    weight = layer.weight @ matrix.numpy()
    return Projection(np.ascontiguousarray(weight), layer.weight @ shift[0].numpy() + layer.bias)


def _input_width(own: nn.Module) -> int:
    for module in own.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.BatchNorm1d):
            return module.num_features
    raise AssertionError("a neck without a layer")
