from __future__ import annotations

import torch
from torch import Tensor, nn

from shopsight.backbones.create import create_backbone
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.profiling.profile import (
    Profile,
    backbone_with_classifier,
    kept_for_backward,
    profile_model,
)


def profile_of(name: str, num_classes: int | None = None, size_px: int | None = None) -> Profile:
    model, num_classes = backbone_with_classifier(name, size_px=size_px, num_classes=num_classes)
    return profile_model(model, name=name, num_classes=num_classes)


def fields(profile: Profile) -> dict[str, object]:
    return {stage.name: stage.receptive_field for stage in profile.stages}


def test_resnet18_costs_what_is_published() -> None:
    profile = profile_of("timm:resnet18")
    assert profile.parameters == 11_689_512
    assert round(profile.macs / 1e9, 1) == 1.8
    assert round(profile.flops / 1e9, 1) == 3.6
    assert profile.flops == 2 * profile.macs


def test_fashion_net_costs_what_is_published() -> None:
    profile = profile_of("shopsight:fashion_cnn")
    assert profile.parameters == 142_474
    assert round(profile.macs / 1e9, 3) == 0.022
    assert round(profile.flops / 1e9, 3) in (0.044, 0.045)


def test_rows_add_up() -> None:
    profile = profile_of("timm:resnet18", num_classes=18)
    assert sum(row.parameters for row in profile.rows) == profile.parameters
    assert sum(row.macs for row in profile.rows) == profile.macs
    rows = {row.name: row for row in profile.rows}
    assert rows["head.classifier"].macs == 9_216
    assert rows["conv1"].shape == (1, 64, 112, 112)
    assert rows["conv1"].output_bytes == 4 * 64 * 112 * 112
    assert [row.name for row in profile.rows][:4] == ["conv1", "bn1", "act1", "maxpool"]


def test_receptive_fields_and_strides_of_resnet18() -> None:
    profile = profile_of("timm:resnet18")
    assert fields(profile) == {
        "stem": 11, "layer1": 43, "layer2": 99, "layer3": 211, "layer4": 435,
        "embedding": "global",
    }  # fmt: skip
    assert [stage.stride_px for stage in profile.stages] == [4, 4, 8, 16, 32, None]
    assert profile.unknown_functions == ()


def test_attention_and_squeeze_make_it_global() -> None:
    vit = profile_of("timm:vit_tiny_patch16_224")
    assert fields(vit)["stem"] == 16
    assert fields(vit)["blocks.0"] == "global"
    assert {stage.stride_px for stage in vit.stages} == {16.0, None}
    # Squeeze-and-excitation averages the whole map; the Lite variants have none.
    assert fields(profile_of("timm:efficientnet_b0", size_px=96))["blocks.0"] == "global"
    assert fields(profile_of("embedded:tf_efficientnet_lite0", size_px=96))["top"] == 851


def test_windows_of_attention_count_as_global() -> None:
    swin = profile_of("timm:swin_tiny_patch4_window7_224")
    assert fields(swin)["patch_embed"] == 4
    assert fields(swin)["layers.0"] == "global"
    strides = [stage.stride_px for stage in swin.stages if stage.name.startswith("layers.")]
    assert strides == [4, 8, 16, 32]


def test_functions_without_a_rule_are_named() -> None:
    profile = profile_of("timm:hrnet_w18_small", size_px=64)
    assert profile.unknown_functions == ("interpolate",)
    assert fields(profile)["stem"] == 7
    assert fields(profile)["stage4.0"] == "global"
    assert profile.to_json()["unknown_functions"] == ("interpolate",)


# ------------------------------------------------------------------------------------- memory
def test_activation_memory_of_a_chain() -> None:
    # A convolution keeps its input, the first one's is the image; a ReLU keeps its output.
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    image = torch.zeros(1, 3, 10, 10)
    assert kept_for_backward(net, image) == 4 * 8 * 100
    assert kept_for_backward(net, torch.zeros(2, 3, 10, 10)) == 2 * 4 * 8 * 100


class _Cache(nn.Module):
    """Keeps the result of its first part for later, and leaves out how it was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("cached", torch.zeros(1000))

    def forward(self, image: Tensor) -> Tensor:
        self.cached = (self.weight * torch.ones(1000)).exp().square().detach()
        return self.weight * image


def test_activation_memory_leaves_out_what_is_dropped() -> None:
    net = _Cache()
    image = torch.zeros(1, 3, 10, 10)
    # The product keeps its factors, the weight and the image, and these are not activations.
    assert [kept_for_backward(net, image) for _ in range(4)] == [0, 0, 0, 0]


def test_a_trained_model_is_profiled_as_it_is_used() -> None:
    backbone = create_backbone("shopsight:fashion_cnn", weights="random")
    head = create_head(
        HeadSettings(kind="mlp", hidden_dim=16),
        embedding_dim=backbone.embedding_dim,
        num_classes=7,
    )
    model = ProductModel(backbone.module, head, backbone.preprocess)
    profile = profile_model(model, name=backbone.name, num_classes=7)
    assert profile.parameters == sum(p.numel() for p in model.parameters())
    plain = profile_of("shopsight:fashion_cnn", num_classes=7)
    added = 32 * 16 + 16 * 16 + 16 * 7 - 32 * 7
    assert profile.macs == plain.macs + added
    assert fields(profile) == fields(plain)
    assert profile.rows[-1].name == "head.classifier"


def test_json_has_both_macs_and_flops() -> None:
    out = profile_of("shopsight:fashion_cnn").to_json()
    assert out["flops"] == 2 * out["macs"]
    assert out["stages"][-1] == {
        "name": "embedding", "stride_px": None, "receptive_field": "global",
    }  # fmt: skip
