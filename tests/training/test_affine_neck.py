"""A layer joined with the neck that a network has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.necks import NeckedBackbone
from shopsight.errors import ConfigError
from shopsight.neck_settings import NeckSettings
from shopsight.training.affine_neck import can_take_layer, with_layer
from shopsight.training.projection import Projection

KINDS = [
    NeckSettings(),
    NeckSettings(kind="linear", embedding_dim=24),
    NeckSettings(kind="bnneck"),
    NeckSettings(kind="dropout-linear", dropout=0.3),
    NeckSettings(kind="bn-dropout-linear-linear", embedding_dim=16, dropout=0.2),
    NeckSettings(pool="gem"),
]


def with_own_statistics(module: nn.Module) -> nn.Module:
    """Normalizations that change something."""
    for one in module.modules():
        if isinstance(one, nn.BatchNorm1d):
            nn.init.normal_(one.running_mean)
            nn.init.uniform_(one.running_var, 0.5, 2.0)
            nn.init.uniform_(one.weight, 0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize("neck", KINDS, ids=lambda neck: f"{neck.kind}-{neck.pool}")
def test_a_layer_joins_the_neck_that_is_there(neck: NeckSettings) -> None:
    torch.manual_seed(0)
    name = "timm:resnet18" if neck.pool == "gem" else "shopsight:fashion_cnn"
    size_px = 64 if neck.pool == "gem" else 28
    backbone = create_backbone(name, weights="random", size_px=size_px, neck=neck)
    module = with_own_statistics(backbone.module)
    rng = np.random.default_rng(0)
    width = backbone.embedding_dim
    layer = Projection(
        rng.normal(size=(12, width)).astype(np.float32) / width**0.5,
        rng.normal(size=12).astype(np.float32),
    )
    pixels = torch.rand(3, 3, size_px, size_px)
    with torch.inference_mode():
        wanted = layer.outputs(module(pixels).numpy())
        joined, settings = with_layer(module, neck, layer)
        np.testing.assert_allclose(joined(pixels).numpy(), wanted, rtol=1e-3, atol=1e-4)
    assert isinstance(joined, NeckedBackbone)
    assert settings.kind == "linear"
    # A bundle builds the same network from the settings.
    again = create_backbone(name, weights="random", size_px=size_px, neck=settings)
    again.module.load_state_dict(joined.state_dict())


def test_a_neck_with_a_bend_is_refused() -> None:
    with pytest.raises(ConfigError, match="no linear map"):
        can_take_layer(NeckSettings(kind="linear-bn-prelu"), "run")
