"""Names of devices, and what is done on each kind; MPS and CUDA are imitated where absent."""

from __future__ import annotations

import pytest
import torch

from shopsight import devices
from shopsight.errors import ConfigError

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(False, False, "cpu"), (True, False, "cuda"), (True, True, "cuda"), (False, True, "cpu")],
)
def test_auto_is_cuda_or_the_cpu_and_never_mps(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.pick_device("auto").type == expected


def test_a_gpu_that_auto_leaves_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.unused_gpu_note("auto") is None or torch.backends.mps.is_available()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    note = devices.unused_gpu_note("auto")
    assert note is not None
    assert "hardware.accelerator=mps" in note
    assert devices.unused_gpu_note("cpu") is None


@pytest.mark.parametrize("name", ["cuda:99", "gpus", "meta", "tpu", ""])
def test_a_device_that_is_absent(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^here: no device '{name}' on this machine\n  fix: so"):
        devices.pick_device(name, where="here", fix="so")


@pytest.mark.skipif(torch.cuda.is_available() or devices.has_mps(), reason="there is a GPU")
def test_gpu_is_not_the_cpu() -> None:
    with pytest.raises(ConfigError, match="no device 'gpu'"):
        devices.pick_device("gpu")


def test_rules_of_mps() -> None:
    assert devices.float_accumulator(MPS) == torch.float32
    assert devices.float_accumulator(CPU) == devices.float_accumulator(CUDA) == torch.float64
    assert not devices.supports_channels_last(MPS)
    assert devices.supports_channels_last(CPU)
    assert devices.supports_channels_last(CUDA)
    assert not devices.computes_bf16(MPS)


@pytest.mark.parametrize(
    ("device", "pinned", "expected"),
    [("cuda", True, True), ("cuda", False, False), ("mps", True, False), ("cpu", True, False)],
)
def test_only_page_locked_memory_is_copied_to_cuda_without_waiting(
    device: str, pinned: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def recorded(tensor: torch.Tensor, to: torch.device, *, non_blocking: bool) -> torch.Tensor:
        asked.append((to, non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", recorded)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _tensor: pinned)
    devices.copy_to_device(torch.ones(2), torch.device(device))
    assert asked == [(torch.device(device), expected)]


def test_the_cpu_has_nothing_to_wait_for_or_to_return() -> None:
    tensor = torch.ones(2)
    assert devices.copy_to_device(tensor, CPU) is tensor
    devices.synchronize(CPU)
    devices.empty_cache(CPU)
