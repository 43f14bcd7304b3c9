from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from shopsight.backbones import efficientnet_lite
from shopsight.backbones.create import create_backbone
from shopsight.backbones.efficientnet_lite import lite_file
from shopsight.errors import ExtraMissingError, WeightsError
from shopsight.io.weights import read_weights
from shopsight.preprocess import Preprocess


def test_embedded_weights_match_the_published_order() -> None:
    """The published tensors are in timm's order: zipping by order is an independent mapping."""
    backbone = create_backbone("embedded:tf_efficientnet_lite0")
    published = list(read_weights(lite_file("tf_efficientnet_lite0")).values())
    full = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    assert len(published) == len(full.state_dict()) == 296
    full.load_state_dict(dict(zip(full.state_dict(), published, strict=True)))
    for name, value in backbone.module.state_dict().items():
        assert torch.equal(value, full.state_dict()[name]), name
    assert backbone.weights.startswith("pretrained: efficientnet-lite0")
    assert backbone.preprocess == Preprocess(
        size_px=224, resize="pad", crop_fraction=0.875, mean=(0.5,) * 3, std=(0.5,) * 3
    )


@pytest.mark.parametrize(("number", "size_px"), [("1", 240), ("2", 260)])
def test_larger_embedded_ones(number: str, size_px: int) -> None:
    try:
        backbone = create_backbone(f"embedded:tf_efficientnet_lite{number}")
    except ExtraMissingError:
        pytest.skip("the lite extra is not installed")
    assert backbone.preprocess.size_px == size_px
    published = read_weights(lite_file(f"tf_efficientnet_lite{number}"))
    assert len(published) == 386
    assert torch.equal(
        backbone.module.state_dict()["conv_stem.weight"], published["_conv_stem.weight"]
    )


def test_another_file_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "package" / "models" / "efficientnet-lite0-57934424.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(lite_file("tf_efficientnet_lite0").read_bytes() + b"\0")
    monkeypatch.setattr(efficientnet_lite, "lite_file", lambda _name: path)
    with pytest.raises(WeightsError, match="its SHA-256 is another"):
        create_backbone("embedded:tf_efficientnet_lite0")
