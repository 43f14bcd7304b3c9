from __future__ import annotations

from shopsight.backbones.create import create_backbone


def test_stages_go_from_input_to_output() -> None:
    for name, first, last in (
        ("timm:resnet18", "conv1.weight", "layer4.1.bn2.bias"),
        ("timm:vit_tiny_patch16_224", "patch_embed.proj.weight", "norm.bias"),
        ("timm:caformer_s18", "stem.conv.weight", "head.norm.bias"),
        ("shopsight:fashion_cnn", "blocks.0.0.weight", "neck.bias"),
        ("embedded:tf_efficientnet_lite0", "conv_stem.weight", "bn2.bias"),
    ):
        stages = create_backbone(name, weights="random").stages
        assert first in stages[0]
        assert last in stages[-1]
