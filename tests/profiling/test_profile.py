from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from shopsight.backbones.create import create_backbone
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.profiling.profile import Profile, profile_backbone, profile_model
from shopsight.profiling.trace import trace


def profile_of(name: str, classes: int | None = None, size_px: int | None = None) -> Profile:
    return profile_backbone(name, classes=classes, size_px=size_px)


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


def test_resnet18_layers_equal_the_published_list() -> None:
    # Multiply-adds as K * K * Cin * Cout * Hout * Wout, for 18 classes.
    profile = profile_of("timm:resnet18", classes=18)
    macs = {row.name: row.macs for row in profile.rows if row.macs}
    expected = {"conv1": 118_013_952, "head.classifier": 9_216}
    channels, sides = (64, 64, 128, 256, 512), (56, 56, 28, 14, 7)
    for stage in range(1, 5):
        before, width, side = channels[stage - 1], channels[stage], sides[stage]
        for block in range(2):
            entering = before if block == 0 else width
            name = f"layer{stage}.{block}"
            expected[f"{name}.conv1"] = 9 * entering * width * side**2
            expected[f"{name}.conv2"] = 9 * width * width * side**2
        if stage > 1:
            expected[f"layer{stage}.0.downsample.0"] = before * width * side**2
    assert macs == expected
    assert sum(row.parameters for row in profile.rows) == profile.parameters


def test_receptive_fields_of_resnet18_and_vgg16() -> None:
    resnet = fields(profile_of("timm:resnet18"))
    assert resnet == {
        "stem": 11, "layer1": 43, "layer2": 99, "layer3": 211, "layer4": 435,
        "embedding": "global",
    }  # fmt: skip
    with torch.device("meta"):  # 138 M parameters: shapes suffice
        vgg = timm.create_model("vgg16", num_classes=0)
        seen = {
            name: reach.receptive_field
            for name, reach in trace(vgg, torch.zeros(1, 3, 224, 224)).exits
        }
    assert seen["features"] == 212
    assert seen["pre_logits"] == "global"


def test_receptive_field_does_not_depend_on_the_image_size() -> None:
    assert fields(profile_of("timm:resnet18", size_px=32))["layer4"] == 435


def test_attention_and_squeeze_make_it_global() -> None:
    assert fields(profile_of("timm:vit_tiny_patch16_224"))["blocks.0"] == "global"
    # Squeeze-and-excitation averages the whole map; the Lite variants have none.
    assert fields(profile_of("timm:efficientnet_b0", size_px=96))["blocks.0"] == "global"
    assert fields(profile_of("embedded:tf_efficientnet_lite0", size_px=96))["top"] == 851


def test_windows_count_like_a_kernel_until_they_cover_the_map() -> None:
    found = fields(profile_of("timm:swin_tiny_patch4_window7_224"))
    assert found["patch_embed"] == 4
    # Patches of 4 px, two blocks with windows of 7 patches: 4 + 2 * 6 * 4.
    assert found["layers.0"] == 52
    assert found["layers.3"] == "global"


@pytest.mark.parametrize(
    ("name", "size_px"),
    [("resnet18", 64), ("vit_tiny_patch16_224", 224), ("swin_tiny_patch4_window7_224", 224),
     ("caformer_s18", 96), ("convnext_atto", 96), ("xcit_nano_12_p16_224", 224),
     ("mobilevit_xxs", 128), ("eva02_tiny_patch14_224", 224)],
)  # fmt: skip
def test_multiply_adds_agree_with_torch(name: str, size_px: int) -> None:
    net = timm.create_model(name, num_classes=0).eval()
    image = torch.zeros(1, 3, size_px, size_px)
    macs = sum(layer.macs for layer in trace(net, image).layers)
    # As two matrix products: torch before 2.15 does not count the CPU's fused attention.
    math = sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), math:
        net(image)
    assert 2 * macs == counter.get_total_flops()


class _Attention(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.heads = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        tokens = functional.pixel_unshuffle(image, 4)[:, :16].flatten(2).transpose(1, 2)
        if self.form == "module":
            return torch.as_tensor(self.heads(tokens, tokens, tokens, need_weights=False)[0])
        if self.form == "fused":
            return functional.scaled_dot_product_attention(tokens, tokens, tokens)
        weights = torch.einsum("bqc,bkc->bqk", tokens, tokens).softmax(-1)
        return torch.as_tensor(torch.einsum("bqk,bkc->bqc", weights, tokens))


@pytest.mark.parametrize(("form", "projections"), [("fused", 0), ("einsum", 0), ("module", 4)])
def test_attention_is_counted_in_every_form(form: str, projections: int) -> None:
    traced = trace(_Attention(form), torch.zeros(1, 3, 32, 32))
    tokens, width = 64, 16
    expected = 2 * tokens * tokens * width + projections * tokens * width * width
    assert sum(layer.macs for layer in traced.layers) == expected
    assert traced.exits[-1][1].receptive_field == "global"
    assert traced.guessed == ()


# ------------------------------------------------------------------- against measured gradients
class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        inner: Tensor = self.inner(image)
        return image + inner


class _PatchMerging(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        parts = [image[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.cat(parts, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)


class _Windows(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        b, c, h, w = image.shape
        cut = image.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = cut.reshape(-1, 16, c)
        mixed = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        whole = mixed.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return whole.reshape(b, c, h, w)


def _convolution(kernel: int, stride: int, dilation: int) -> nn.Module:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(3, 3, kernel, stride=stride, dilation=dilation, padding=padding)


CONVOLUTIONS = st.builds(
    _convolution, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2])
)
KEEPING = st.builds(_convolution, st.sampled_from([1, 3, 5]), st.just(1), st.sampled_from([1, 2]))
POOLS = st.sampled_from([(2, 2, 0), (3, 2, 1), (3, 1, 1)]).map(lambda p: nn.AvgPool2d(*p))
LAYERS = st.one_of(CONVOLUTIONS, POOLS, KEEPING.map(_Residual), st.builds(_PatchMerging))


def measured_field(net: nn.Module, side: int = 160) -> int:
    """Side of the box of input pixels whose gradient at the middle output is not zero."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    net = net.double()
    image = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    out = net(image)
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    extent = seen.max(0).values - seen.min(0).values + 1
    return int(extent.max())


@settings(deadline=None, max_examples=40)
@given(st.lists(LAYERS, min_size=1, max_size=4))
def test_receptive_field_is_where_the_gradient_is(layers: list[nn.Module]) -> None:
    net = nn.Sequential(*layers)
    traced = trace(net, torch.zeros(1, 3, 160, 160))
    found = traced.exits[-1][1].receptive_field
    assert traced.guessed == ()
    assert found == measured_field(net)


def test_windows_against_the_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 2, stride=2), _Windows())
    traced = trace(net, torch.zeros(1, 3, 64, 64))
    assert traced.exits[-1][1].receptive_field == 8
    windows = _Windows()
    image = torch.ones(1, 3, 64, 64, requires_grad=True)
    windows(image)[0, 0, 33, 33].backward()
    assert image.grad is not None
    assert int((image.grad.abs().sum((0, 1)) > 0).any(1).sum()) == 4


def test_an_unknown_operation_is_named() -> None:
    class Strange(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return functional.unfold(image, 3)

    traced = trace(Strange(), torch.zeros(1, 3, 16, 16))
    assert traced.guessed == ("im2col",)
    assert traced.exits[-1][1].receptive_field == "global"


# ------------------------------------------------------------------------------------- memory
def test_activation_memory_of_a_chain() -> None:
    # A convolution keeps its input, the first one's is the image; a ReLU keeps its output.
    from shopsight.profiling.profile import kept_for_backward

    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    image = torch.zeros(1, 3, 10, 10)
    assert kept_for_backward(net, image) == 4 * 8 * 100
    assert kept_for_backward(net, torch.zeros(2, 3, 10, 10)) == 2 * 4 * 8 * 100


def test_a_trained_model_is_profiled_as_it_is_used() -> None:
    backbone = create_backbone("shopsight:fashion_cnn", weights="random")
    head = create_head(
        HeadSettings(kind="mlp", hidden_dim=16),
        embedding_dim=backbone.embedding_dim,
        classes=7,
    )
    model = ProductModel(backbone.module, head, backbone.preprocess)
    profile = profile_model(model, name=backbone.name, classes=7)
    assert profile.parameters == sum(p.numel() for p in model.parameters())
    plain = profile_of("shopsight:fashion_cnn", classes=7)
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
