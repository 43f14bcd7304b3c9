from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError
from tests.helpers import embed

SMALL = (
    "timm:resnet18",
    "timm:mobilenetv3_small_050",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
    "shopsight:fashion_cnn",
    "shopsight:fashion_net",
    "embedded:tf_efficientnet_lite0",
)


@pytest.mark.parametrize("name", SMALL)
def test_width_stages_and_name(name: str) -> None:
    backbone = create_backbone(name, weights="random")
    assert embed(backbone).shape == (2, backbone.embedding_dim)
    in_stages = [name for stage in backbone.stages for name in stage]
    assert sorted(in_stages) == sorted(key for key, _ in backbone.module.named_parameters())
    assert len(backbone.stages) >= 5
    assert backbone.name == name
    assert backbone.weights == "random"


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="library:name"):
        create_backbone("resnet18")
    with pytest.raises(ConfigError, match="did you mean timm:resnet18"):
        create_backbone("timm:resnet_18")
    with pytest.raises(ConfigError, match="did you mean embedded:tf_efficientnet_lite"):
        create_backbone("embedded:efficientnet_lite0")
    with pytest.raises(ConfigError, match="neither a run nor a bundle"):
        create_backbone("local:nowhere")


def test_a_weight_file_alone_does_not_name_its_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"nothing": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="does not name its network") as caught:
        create_backbone(f"local:{path}")
    assert f"local:timm:resnet18@{path}" in str(caught.value)
