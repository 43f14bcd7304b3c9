from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from shopsight.profiling.receptive_field import Reach, ReceptiveField, ReceptiveFields


def follow(net: nn.Module, image: Tensor) -> tuple[Reach, set[str]]:
    """What the output depends on, and the functions without a rule."""
    fields = ReceptiveFields(net, image)
    with torch.no_grad(), fields:
        output = net.eval()(image)
    reach = fields.reaches[output]
    assert reach is not None
    return reach, fields.unknown


def field(net: nn.Module, size_px: int = 32) -> ReceptiveField | None:
    reach, unknown = follow(net, torch.zeros(1, 3, size_px, size_px))
    assert unknown == set()
    return reach.receptive_field


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, image: Tensor) -> Tensor:
        for part in self.parts:
            image = part(image)
        return self.function(image)


# ------------------------------------------------------------------- against published figures
def test_vgg16() -> None:
    with torch.device("meta"):  # without its 138 M parameters: the values do not matter
        net = timm.create_model("vgg16", num_classes=0)
    features = net.features.to_empty(device="cpu")
    reach, unknown = follow(features, torch.zeros(1, 3, 224, 224))
    assert (reach.receptive_field, reach.stride_px, unknown) == (212, 32.0, set())


# Araujo et al. 2019, table 1. Its ResNets stride elsewhere than timm's.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mobilenetv1_100", 315),
        ("inception_v3", 1311),
        pytest.param("inception_v4", 2071, marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", 3039, marks=pytest.mark.slow),
    ],
)
def test_table_of_araujo(name: str, published: int) -> None:
    net = timm.create_model(name, num_classes=0)
    net.forward = net.forward_features
    reach, unknown = follow(net, torch.zeros(1, 3, 128, 128))
    assert (reach.receptive_field, reach.stride_px, unknown) == (published, 32.0, set())


def test_it_does_not_depend_on_the_image_size_until_one_position_is_left() -> None:
    net = timm.create_model("resnet18", num_classes=0)
    net.forward = net.forward_features
    assert [field(net, size_px) for size_px in (32, 64, 224)] == ["global", 435, 435]


# ------------------------------------------------------------------- against measured gradients
class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        inner: Tensor = self.inner(image)
        return image + inner


def _patch_merging(image: Tensor) -> Tensor:
    parts = [image[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.cat(parts, 1).mean(1, keepdim=True).expand(-1, 3, -1, -1)


def _branches(image: Tensor) -> Tensor:
    lower = functional.avg_pool2d(image, (3, 1), 1, (1, 0))
    return torch.cat([image[:, :2], lower[:, 2:]], 1)


def _flipped(image: Tensor) -> Tensor:
    return image + functional.avg_pool2d(image.flip(3), 3, 1, 1).flip(3)


def _channels_last(image: Tensor) -> Tensor:
    tokens = image.permute(0, 2, 3, 1).reshape(1, -1, 3)
    mixed = functional.linear(functional.layer_norm(tokens, (3,)), torch.ones(3, 3).to(image))
    return mixed.transpose(1, 2).unflatten(2, image.shape[2:])


def _convolution(kernel: int, stride: int, dilation: int) -> nn.Module:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(3, 3, kernel, stride=stride, dilation=dilation, padding=padding)


CONVOLUTIONS = st.builds(
    _convolution, st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2])
)
KEEPING = st.one_of(
    st.builds(_convolution, st.sampled_from([1, 3, 5]), st.just(1), st.sampled_from([1, 2])),
    st.sampled_from([3, (1, 5), (5, 1)]).map(lambda k: nn.Conv2d(3, 3, k, padding="same")),
    # Even kernels see one position more on one side than on the other.
    st.sampled_from([(1, 0, 0, 1), (0, 1, 1, 0)]).map(
        lambda pad: nn.Sequential(nn.ZeroPad2d(pad), nn.Conv2d(3, 3, 2))
    ),
)
POOLS = st.sampled_from([(2, 2, 0), (3, 2, 1), (3, 1, 1)]).map(lambda p: nn.AvgPool2d(*p))
MOVES = st.sampled_from([_patch_merging, _branches, _flipped, _channels_last]).map(Lambda)
LAYERS = st.one_of(CONVOLUTIONS, POOLS, KEEPING, KEEPING.map(_Residual), MOVES)


def measured_field(net: nn.Module, side: int = 160) -> int:
    """Side of the box of input pixels whose gradient at the middle output is not zero."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    net = net.double()
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    out = net(image)
    weights = torch.rand(3, dtype=torch.float64)
    (weights * out[0, :, out.shape[2] // 2, out.shape[3] // 2]).sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    extent = seen.max(0).values - seen.min(0).values + 1
    return int(extent.max())


@settings(deadline=None, max_examples=40)
@given(st.lists(LAYERS, min_size=1, max_size=4))
def test_it_is_where_the_gradient_is(layers: list[nn.Module]) -> None:
    # The convolution at the end combines the channels, whose windows may differ.
    net = nn.Sequential(*layers, nn.Conv2d(3, 3, 1))
    assert field(net, 160) == measured_field(net)


# ------------------------------------------------------------------------------------ global
def _attention(image: Tensor) -> Tensor:
    tokens = image.flatten(2).transpose(1, 2)
    return functional.scaled_dot_product_attention(tokens, tokens, tokens)


def _einsum_attention(image: Tensor) -> Tensor:
    tokens = image.flatten(2)
    weights = torch.einsum("bcq,bck->bqk", tokens, tokens).softmax(-1)
    return torch.as_tensor(torch.einsum("bqk,bck->bcq", weights, tokens))


def _squeeze(image: Tensor) -> Tensor:
    return image * image.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize(
    "net",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)),
        nn.Conv2d(3, 5, 32),
        nn.GroupNorm(1, 3),
        Lambda(lambda image: functional.linear(image.flatten(2), torch.ones(7, 1024))),
        Lambda(lambda image: image.amax(dim=3)),
        Lambda(lambda image: image.flatten(2).softmax(-1)),
        Lambda(_attention),
        Lambda(_einsum_attention),
        Lambda(_squeeze, nn.Conv2d(3, 8, 3, padding=1)),
        # Parallel branches, whose windows start at different rows, squeezed together.
        Lambda(_squeeze, Lambda(lambda i: torch.cat([i, functional.max_pool2d(i, 5, 1, 2)], 1))),
    ],
    ids=str,
)
def test_positions_that_are_combined_make_it_global(net: nn.Module) -> None:
    assert field(net) == "global"


def test_rows_that_are_channels_are_combined() -> None:
    rows_as_channels = Lambda(
        lambda image: functional.conv2d(image.transpose(1, 2), torch.ones(8, 32, 1, 3))
    )
    assert follow(rows_as_channels, torch.zeros(1, 3, 32, 32))[0].receptive_field == "global"


def test_channels_that_are_combined_do_not() -> None:
    assert field(nn.Conv2d(3, 8, 1)) == 1
    assert field(nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3))) == 12
    assert field(Lambda(lambda image: functional.normalize(image, dim=1).mean(1))) == 1


def test_positions_survive_where_it_is_global() -> None:
    reach, _ = follow(
        nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), Lambda(_squeeze), nn.MaxPool2d(2)),
        torch.zeros(1, 3, 32, 32),
    )
    assert (reach.receptive_field, reach.stride_px) == ("global", 8.0)
    pooled, _ = follow(nn.AdaptiveAvgPool2d(1), torch.zeros(1, 3, 32, 32))
    assert pooled.stride_px is None


# --------------------------------------------------------------------------------- upper bounds
def _write(image: Tensor) -> Tensor:
    out = torch.zeros(1, 3, 32, 32)
    out[..., 1:] = image[..., :-1]
    return out


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda image: functional.unfold(image, 3), "unfold"),
        (lambda image: functional.interpolate(image, scale_factor=2), "interpolate"),
        (lambda image: image.sort(dim=3).values, "sort"),
        (lambda image: image.cumsum(3), "cumsum"),
        (lambda image: functional.conv2d(image.roll(1, 3), torch.ones(1, 3, 3, 3)), "conv2d"),
        (lambda image: torch.einsum("bchw,hk->bckw", image, torch.ones(32, 2)), "einsum"),
        (lambda image: functional.pad(image.flatten(1), (0, 4)), "pad"),
        (_write, "setitem"),
    ],
)
def test_a_function_without_a_rule_is_global_and_named(
    function: Callable[[Tensor], Tensor], name: str
) -> None:
    reach, unknown = follow(Lambda(function), torch.zeros(1, 3, 32, 32))
    assert (reach.receptive_field, unknown) == ("global", {name})


def test_a_tensor_of_unknown_origin_is_taken_to_depend_on_the_whole_image() -> None:
    hidden = torch.ones(1, 3, 1, 1)  # neither a parameter nor made during the forward pass
    reach, unknown = follow(Lambda(lambda image: image * hidden), torch.zeros(1, 3, 8, 8))
    assert (reach.receptive_field, unknown) == ("global", {"mul"})


def test_a_constant_depends_on_nothing() -> None:
    net = Lambda(lambda image: torch.cat([torch.zeros(1, 1, 8, 8), image], 1)[:, :1] + 1)
    reach, unknown = follow(net, torch.zeros(1, 3, 8, 8))
    assert (reach.receptive_field, reach.stride_px, unknown) == (None, None, set())
    # Shape and type of an activation are constants, too.
    biased = Lambda(
        lambda image: (
            image[..., ::2] + torch.ones(3, 1, 1).to(image) * torch.ones_like(image)[..., :4]
        )
    )
    assert field(biased, 8) == 1


def test_uint8_images_with_channels_last() -> None:
    net = Lambda(lambda image: functional.avg_pool2d(image.permute(0, 3, 1, 2).float(), 3, 2))
    reach, unknown = follow(net, torch.zeros(1, 9, 9, 3, dtype=torch.uint8))
    assert (reach.receptive_field, reach.stride_px, unknown) == (3, 2.0, set())
