from __future__ import annotations

import copy

import timm
import torch
from torch import nn

from shopsight.models.depthwise import depthwise_in_fp32, restore_depthwise


def lite() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()


def slow_ones(module: nn.Module) -> set[str]:
    return {
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
        and part.groups == part.in_channels > 1
        and (part.kernel_size[0] >= 5 or part.stride[0] == 2)
    }


def dtypes_of_outputs(module: nn.Module, images: torch.Tensor) -> dict[str, torch.dtype]:
    found: dict[str, torch.dtype] = {}
    hooks = [
        part.register_forward_hook(
            lambda _part, _inputs, output, name=name: found.update({name: output.dtype})
        )
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
    ]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        module(images)
    for hook in hooks:
        hook.remove()
    return found


def test_only_slow_depthwise_convolutions_run_in_fp32_under_autocast() -> None:
    network = lite()
    slow = slow_ones(network)
    assert depthwise_in_fp32(network) == len(slow) == 11
    assert depthwise_in_fp32(network) == 0  # doing it again changes nothing
    found = dtypes_of_outputs(network, torch.randn(1, 3, 64, 64))
    assert {name for name, dtype in found.items() if dtype == torch.float32} == slow


def test_no_effect_outside_autocast_and_reversible() -> None:
    network, images = lite(), torch.randn(1, 3, 64, 64)
    kinds = [type(part) for part in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        before = network(images)
        depthwise_in_fp32(network)
        assert torch.equal(network(images), before)
        assert list(network.state_dict()) == list(state)
        network.load_state_dict(state)
        restore_depthwise(network)
        assert [type(part) for part in network.modules()] == kinds
        assert torch.equal(network(images), before)


def test_a_copy_uses_its_own_weights() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 5, padding=2, groups=4))
    depthwise_in_fp32(network)
    copied = copy.deepcopy(network)
    nn.init.zeros_(copied[0].weight)  # type: ignore[arg-type]
    nn.init.zeros_(copied[0].bias)  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        assert copied(torch.ones(1, 4, 8, 8)).abs().max() == 0
        assert network(torch.ones(1, 4, 8, 8)).abs().max() > 0


def test_gradients_are_near_those_of_fp32() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False))
    images = torch.randn(2, 8, 12, 12)
    network(images).square().sum().backward()
    expected = network[0].weight.grad.clone()  # type: ignore[union-attr]
    network.zero_grad()
    depthwise_in_fp32(network)
    with torch.autocast("cpu", torch.bfloat16):
        network(images).square().sum().backward()
    torch.testing.assert_close(network[0].weight.grad, expected)
