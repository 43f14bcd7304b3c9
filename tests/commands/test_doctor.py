from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from shopsight import api
from shopsight.commands.doctor import long_paths
from shopsight.commands.machine import NvidiaDriver
from shopsight.commands.torch_facts import TorchBuild, unusable_cuda

FOR_CUDA_13 = TorchBuild("2.14.1", cuda="13.0")
WITHOUT_CUDA = TorchBuild("2.14.1+cpu")
DRIVER_13 = NvidiaDriver(("NVIDIA L4",), "580.65.06", "13.0")
DRIVER_12 = NvidiaDriver(("NVIDIA L4", "NVIDIA L4"), "550.54.15", "12.4")


@pytest.mark.posix("the set of cores is asked of the scheduler")
def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 3, 5}, raising=False)
    cpu = next(fact for fact in api.doctor() if fact.name == "cpu")
    assert cpu.value.endswith("3 cores for this process")


def test_the_cache_of_this_block_is_described(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "blobs").write_bytes(b"x" * 2000)
    with api.use_cache_dir(tmp_path / "cache"):
        facts = {fact.name: fact.value for fact in api.doctor()}
    assert str(tmp_path / "cache") in facts["cache"]
    assert facts["cache size"] == "2.0 kB"


def test_the_installed_torch_is_described() -> None:
    facts = {fact.name: fact for fact in api.doctor()}
    assert facts["torch build"].value.startswith(torch.__version__)
    cuda = torch.version.cuda
    assert facts["torch build"].value.endswith(f" for CUDA {cuda}" if cuda else "without CUDA")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert facts["auto"].value == f"{device}, for training and for prediction"


def test_what_torch_is_compiled_for() -> None:
    assert WITHOUT_CUDA.text() == "2.14.1+cpu without CUDA"
    assert FOR_CUDA_13.text() == "2.14.1 for CUDA 13.0"
    assert TorchBuild("2.14.1", rocm="7.1").text() == "2.14.1 for ROCm 7.1"


@pytest.mark.parametrize(
    ("build", "driver", "visible", "value", "advice"),
    [
        (WITHOUT_CUDA, None, None, "no usable GPU found", ""),
        (FOR_CUDA_13, None, None, "no usable GPU found", ""),
        (TorchBuild("2.14.1", rocm="7.1"), DRIVER_13, None, "no usable GPU found", ""),
        (WITHOUT_CUDA, DRIVER_13, None, "this torch is built without CUDA", "install torch"),
        (FOR_CUDA_13, DRIVER_13, "-1", "is hidden by CUDA_VISIBLE_DEVICES=-1", "unset"),
        (FOR_CUDA_13, DRIVER_12, None, "needs a driver for CUDA 13.0", "update NVIDIA's driver"),
        (TorchBuild("2.7.0", cuda="11.8"), DRIVER_12, None, "cannot be used", "cuda.init()"),
        (
            FOR_CUDA_13,
            NvidiaDriver(("NVIDIA L4",), "unknown", "unknown"),
            None,
            "cannot be used by this torch",
            "cuda.init()",
        ),
    ],
)
def test_a_gpu_that_is_not_used(
    build: TorchBuild, driver: NvidiaDriver | None, visible: str | None, value: str, advice: str
) -> None:
    fact = unusable_cuda(build, driver, visible=visible)
    assert value in fact.value
    assert advice in fact.advice
    assert bool(fact.advice) == bool(advice)
    if driver is not None and build.rocm is None:
        assert fact.value.startswith(", ".join(driver.gpus))


def test_long_paths_of_windows() -> None:
    assert long_paths(enabled=True).advice == ""
    refused = long_paths(enabled=False)
    assert refused.value.startswith("not allowed")
    assert refused.advice.startswith("reg add HKLM\\SYSTEM\\CurrentControlSet")
