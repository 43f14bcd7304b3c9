from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError, WeightsError
from shopsight.preprocess import IMAGENET_MEAN
from tests.helpers import embed


def test_preprocess_comes_from_timm() -> None:
    resnet = create_backbone("timm:resnet18.tv_in1k", weights="random").preprocess
    assert (resnet.size_px, resnet.resize, resnet.crop_fraction) == (224, "crop", 0.875)
    assert (resnet.interpolation, resnet.mean) == ("bilinear", IMAGENET_MEAN)
    vit = create_backbone("timm:vit_tiny_patch16_224", weights="random").preprocess
    assert (vit.mean, vit.crop_fraction, vit.interpolation) == ((0.5,) * 3, 0.9, "bicubic")


def test_size_and_drop_path() -> None:
    vit = create_backbone("timm:vit_tiny_patch16_224", weights="random", size_px=96, drop_path=0.1)
    assert vit.preprocess.size_px == 96
    assert embed(vit).shape == (2, 192)
    assert embed(vit, size_px=64).shape == (2, 192)  # training may change the size on its way
    with pytest.raises(ConfigError, match="no stochastic depth"):
        create_backbone("timm:vgg11", weights="random", drop_path=0.1)
    with pytest.raises(ConfigError, match="no stochastic depth"):
        create_backbone("shopsight:fashion_cnn", weights="random", drop_path=0.1)


def test_a_tag_that_timm_does_not_have() -> None:
    for weights in ("pretrained", "random"):
        with pytest.raises(ConfigError, match=r"did you mean timm:resnet18\.a1_in1k") as caught:
            create_backbone("timm:resnet18.a1_in1", weights=weights)
        assert caught.value.where == "model.backbone"
        assert "timm:resnet18.tv_in1k" in caught.value.details
        assert f"... {len(caught.value.details)} in all" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        create_backbone("timm:resnet18.nosuch")
    assert "did you mean" not in str(caught.value)


def test_no_pretrained_weights() -> None:
    with pytest.raises(WeightsError, match="trained from scratch"):
        create_backbone("shopsight:fashion_cnn")
    with pytest.raises(WeightsError, match="timm has no pretrained weights for resnetblur18"):
        create_backbone("timm:resnetblur18")


def test_original_names_are_renamed_by_timm(tmp_path: Path) -> None:
    """ConvNeXt's authors named the tensors otherwise; timm knows how."""
    source = timm.create_model("convnext_atto", pretrained=False)
    original = {
        name.replace("stem.", "downsample_layers.0.")
        .replace(".downsample.", "#")
        .replace(".conv_dw.", ".dwconv.")
        .replace(".mlp.fc1.", ".pwconv1.")
        .replace(".mlp.fc2.", ".pwconv2.")
        .replace("head.fc.", "head.")
        .replace("head.norm.", "norm."): value
        for name, value in source.state_dict().items()
    }
    renamed = {}
    for name, value in original.items():
        if "#" in name:
            stage, rest = name.removeprefix("stages.").split("#")
            name = f"downsample_layers.{stage}.{rest}"  # noqa: PLW2901
        renamed[name.replace(".blocks.", ".")] = value
    path = tmp_path / "convnext.safetensors"
    safetensors.torch.save_file(renamed, path)
    backbone = create_backbone("timm:convnext_atto", weights=str(path))
    assert torch.equal(
        backbone.module.state_dict()["stages.1.downsample.1.weight"],
        source.state_dict()["stages.1.downsample.1.weight"],
    )
