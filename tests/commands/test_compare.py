from __future__ import annotations

import pytest

from shopsight.commands.compare import run_for


@pytest.mark.parametrize("backbone", ["timm:resnet18", "shopsight:fashion_cnn"])
def test_the_run_of_a_backbone_has_its_name(backbone: str) -> None:
    assert run_for(backbone, "out").path.name == backbone.replace(":", "-")


def test_backbones_share_no_run() -> None:
    backbones = ["open_clip:ViT-B-32/laion", "open_clip:ViT-B-32-laion", "local:a\\b", "local:a/b"]
    names = {run_for(backbone, "out").path.name for backbone in backbones}
    assert len(names) == len(backbones)
    assert "open_clip-ViT-B-32-laion" in names
