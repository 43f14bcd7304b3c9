"""Depthwise convolutions that bf16 makes slower on a CPU.

oneDNN has no fast bf16 gradient for depthwise convolutions with large kernels or a stride: in
bf16 autocast they take up to ten times as long as in fp32 and dominate the training step of
EfficientNet, MobileNet or ConvNeXt (figures: `bench/bench_training_step.py`). Run in fp32
within the bf16 step they cost what they should. On a GPU nothing changes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def depthwise_in_fp32(module: nn.Module) -> int:
    """Make slow depthwise convolutions compute in fp32 under CPU autocast; count them.

    Names and values of the state dict, copies (`copy.deepcopy`) and GPU runs are not affected.
    `restore_depthwise` undoes it.
    """
    slow = [part for part in module.modules() if _slow_in_bf16(part)]
    for part in slow:
        # A subclass and not a wrapped `forward`: a copy of the network then uses its own weights.
        part.__class__ = _fp32_version(type(part))
    return len(slow)


def restore_depthwise(module: nn.Module) -> None:
    """Undo `depthwise_in_fp32`."""
    for part in module.modules():
        if isinstance(part, _InFp32):
            part.__class__ = type(part).__bases__[1]


def _slow_in_bf16(part: nn.Module) -> bool:
    return (
        isinstance(part, nn.Conv2d)
        and not isinstance(part, _InFp32)
        and part.groups == part.in_channels > 1
        and (max(part.kernel_size) >= 5 or max(part.stride) >= 2)
    )


class _InFp32(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(inputs)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            return super().forward(inputs.float())  # type: ignore[no-any-return]


def _fp32_version(convolution: type[nn.Module]) -> type[nn.Module]:
    # One subclass for each kind of convolution: pickling and type checks want them to be the same.
    return _VERSIONS.setdefault(
        convolution, type(f"{convolution.__name__}InFp32", (_InFp32, convolution), {})
    )


_VERSIONS: dict[type[nn.Module], type[nn.Module]] = {}
