"""The device that computes: its name, and what it can do.

Training (`hardware.accelerator`) and inference (`--device`) name devices alike and ask this module
alone, so that a rule about a kind of device stands once.

`"auto"` is CUDA where there is a CUDA device, else the CPU. It is never MPS, the GPU of Apple
silicon: nobody has run shopsight there yet. Asked for by name, MPS is used, with these exceptions:

- it has no float64, see `float_accumulator`;
- copies to it wait until they are done, see `copy_to_device`: from memory that is not page-locked,
  MPS may read after it was freed (pytorch/pytorch#139550, #189690);
- images and weights are not channels last: BatchNorm's gradients were wrong in that layout until
  June 2026 (pytorch/pytorch#175189).
"""

from __future__ import annotations

import torch
from torch import Tensor

from shopsight.errors import ConfigError


def pick_device(
    wanted: str, *, where: str = "device", fix: str = "--device cpu   (works everywhere)"
) -> torch.device:
    """Find the device of that name.

    Args:
        wanted: "auto" (see above), "cpu", "cuda", "cuda:1", "mps", or "gpu": CUDA, else MPS.
        where: The setting that says so, for the error.
        fix: Its next step, for the error.

    Raises:
        ConfigError: No such device on this machine.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = wanted
    if wanted == "gpu":
        name = "mps" if has_mps() and not torch.cuda.is_available() else "cuda"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"no device {wanted!r} on this machine", where=where, fix=fix) from error
    return device


def has_mps() -> bool:
    """Whether this machine has the GPU of Apple silicon."""
    return torch.backends.mps.is_available()


def unused_gpu_note(wanted: str) -> str | None:
    """What to say where "auto" leaves a GPU alone; None where it does not.

    Args:
        wanted: The name of a device.
    """
    if wanted != "auto" or torch.cuda.is_available() or not has_mps():
        return None
    return (
        "computing on the CPU: shopsight was never tested on this Mac's GPU; "
        "--device mps uses it, and for training --set hardware.accelerator=mps"
    )


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions that multiply bf16; without them it is slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def computes_tf32(device: torch.device) -> bool:
    """Whether the device multiplies fp32 numbers rounded to ten bits faster than whole ones."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def is_mps(device: torch.device) -> bool:
    """Whether the rules for MPS hold."""
    return device.type == "mps"


def supports_channels_last(device: torch.device) -> bool:
    """Whether convolutions and BatchNorm are right with channels last."""
    return not is_mps(device)


def float_accumulator(device: torch.device) -> torch.dtype:
    """The widest float type there: for sums over many batches."""
    return torch.float32 if is_mps(device) else torch.float64


def copies_from_pinned(device: torch.device) -> bool:
    """Whether page-locked memory makes copies to the device faster."""
    return device.type == "cuda"


def copy_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Give the tensor on the device; itself if it is there.

    A copy from page-locked memory to CUDA is only begun: the device's later work waits for it, the
    CPU does not. Keep that memory unchanged until then.
    """
    without_waiting = (
        copies_from_pinned(device) and tensor.device.type == "cpu" and tensor.is_pinned()
    )
    return tensor.to(device, non_blocking=without_waiting)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def empty_cache(device: torch.device) -> None:
    """Return memory that torch keeps for itself to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
