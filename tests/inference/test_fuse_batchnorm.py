from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shopsight.backbones.create import create_backbone
from shopsight.inference import fuse_batchnorm as module
from shopsight.inference.fuse_batchnorm import fuse_batchnorm
from shopsight.runtime import fp32_products


def trained(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = create_backbone(name, weights="random").module
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.normal_(part.weight, 1.0, 0.1)
            nn.init.normal_(part.bias, 0.0, 0.1)
    return module.eval()


def batchnorms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("timm:test_efficientnet", 0),
        ("timm:test_resnet", 0),
        ("timm:test_vit", 0),
        ("shopsight:fashion_cnn", 6),  # its BatchNorm comes after ReLU: nothing to fold into
    ],
)
def test_same_outputs_for_any_batch(name: str, left: int) -> None:
    network = trained(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse_batchnorm(network, size_px=160 if "vit" in name else 64)
    assert batchnorms(fused) == left
    with torch.inference_mode():
        # Convolutions take every size.
        sizes_px = (160, 160) if name == "timm:test_vit" else (64, 96)
        for count, size_px in zip((1, 3), sizes_px, strict=True):
            images = torch.randn(count, 3, size_px, size_px)
            torch.testing.assert_close(fused(images), network(images), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


class Wilful(nn.Module):
    """Depends on the values that it sees, so it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 0:
            images = -images
        out: Tensor = self.norm(self.convolution(images)).mean((2, 3))
        return out


class Shared(nn.Module):
    """The convolution's output is used twice: folding would change the other use."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.convolution(images)
        return (self.norm(features) + features).mean((2, 3))


def test_given_back_as_it_was_when_it_cannot_be_folded() -> None:
    for network in (Wilful().eval(), Shared().eval(), Shared().train()):
        assert fuse_batchnorm(network, size_px=16) is network


def rounded(tensor: Tensor) -> Tensor:
    """To TF32: ten bits of mantissa, to the nearest, of ties to the even one."""
    bits = tensor.contiguous().view(torch.int32)
    nearest = (bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF
    return nearest.view(torch.float32).view_as(tensor)


@pytest.fixture
def tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions on the CPU as cuDNN computes them: in TF32, unless that is switched off."""
    plain = functional.conv2d

    def convolved(images: Tensor, weight: Tensor, *others: object) -> Tensor:
        if torch.backends.cudnn.allow_tf32:
            images, weight = rounded(images), rounded(weight)
        return plain(images, weight, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "conv2d", convolved)


@pytest.mark.usefixtures("tensor_cores")
def test_tf32_does_not_keep_batchnorm_from_being_folded() -> None:
    """Its rounding alone is larger than what tells a wrong fold from a right one."""
    network = create_backbone("embedded:tf_efficientnet_lite0").module.eval()
    with fp32_products("tf32"):
        fused = fuse_batchnorm(network, size_px=224)
        assert batchnorms(network) > 0
        assert batchnorms(fused) == 0
        images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected, found = network(images), fused(images)
    assert (found - expected).abs().max() > 1e-3 * expected.abs().max()


def test_a_wrong_fold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = trained("timm:test_efficientnet")
    plain = module.fuse_conv_bn_eval

    def without_shift(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
        fused = plain(convolution, norm)
        nn.init.zeros_(fused.bias)
        return fused

    monkeypatch.setattr(module, "fuse_conv_bn_eval", without_shift)
    assert fuse_batchnorm(network, size_px=64) is network
