from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shopsight.backbones.create import create_backbone
from shopsight.inference.fuse_batchnorm import fuse_batchnorm


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
