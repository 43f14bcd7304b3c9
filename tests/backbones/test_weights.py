from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.errors import WeightsError


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_from_a_file(suffix: str, tmp_path: Path) -> None:
    source = timm.create_model("resnet18", pretrained=False, num_classes=7)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    for backbone in (
        create_backbone("timm:resnet18", weights=str(path)),
        create_backbone(f"local:timm:resnet18@{path}"),
    ):
        assert backbone.name == "timm:resnet18"
        assert backbone.weights == f"file: weights.{suffix}"
        for name, value in backbone.module.state_dict().items():
            assert torch.equal(value, source.state_dict()[name])


def test_a_wrong_file_lists_names_and_shapes(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    wrong = timm.create_model("resnet18", pretrained=False, num_classes=0).state_dict()
    del wrong["layer1.0.conv1.weight"]
    wrong["extra"] = torch.zeros(1)
    wrong["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    safetensors.torch.save_file(wrong, path)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18", weights=str(path))
    text = str(caught.value)
    assert "conv1.weight: (64, 1, 7, 7) in the file, (64, 3, 7, 7) in the network" in text
    assert "layer1.0.conv1.weight: not in the file" in text
    assert "extra: not in the network" in text
    safetensors.torch.save_file({"nothing": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="120 not in the file, 1 not in the network") as caught:
        create_backbone("timm:resnet18", weights=str(path))
    assert len(str(caught.value).splitlines()) == 8  # what, five details, their total, the fix


def test_of_many_mismatches_recognizable_ones_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet34", num_classes=0).state_dict(), path)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18", weights=str(path))
    assert "0 of another shape, 0 not in the file, 96 not in the network" in caught.value.what
    assert len(caught.value.details) == 96
    shown = caught.value.details[:5]
    assert all(".conv" in line and "not in the network" in line for line in shown)


def test_files_that_are_not_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weight file"):
        create_backbone("timm:resnet18", weights=str(tmp_path / "none.pth"))
    junk = tmp_path / "junk.pth"
    for content in (b"not a checkpoint", b"hello, this is text", b"<!DOCTYPE html>", b"", b"\x80"):
        junk.write_bytes(content)
        with pytest.raises(WeightsError, match="neither safetensors nor"):
            create_backbone("timm:resnet18", weights=str(junk))
    torch.save([1, 2], junk)
    with pytest.raises(WeightsError, match="no tensors by name"):
        create_backbone("timm:resnet18", weights=str(junk))


def test_pickled_code_is_refused_in_our_own_words(tmp_path: Path) -> None:
    path = tmp_path / "pickled.pth"
    torch.save({"model": nn.Linear(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"holds Python objects \(torch.nn.*Linear\)") as caught:
        create_backbone("timm:resnet18", weights=str(path))
    text = str(caught.value)
    assert "can run code" in text
    assert "torch.save(model.state_dict()" in text
    assert "\x1b" not in text
    assert "weights_only" not in text
