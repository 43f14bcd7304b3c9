from __future__ import annotations

import pytest
import torch

from shopsight.config.hardware_settings import HardwareSettings
from shopsight.errors import ConfigError, TrainingError
from shopsight.training.precision import pick_precision, reproducible, training_arithmetic

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def arithmetic() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    deterministic = torch.are_deterministic_algorithms_enabled()
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark, deterministic


def test_fp16_is_for_cuda() -> None:
    assert pick_precision("16", CUDA) == "16"
    for device in (CPU, MPS):
        with pytest.raises(ConfigError, match=f"fp16 is for CUDA, and training runs on {device}"):
            pick_precision("16", device)
    assert pick_precision("auto", MPS) == "32"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (HardwareSettings(), ("high", True, True, False)),
        (HardwareSettings(matmul_precision="highest"), ("highest", False, True, False)),
        (HardwareSettings(deterministic=True), ("high", True, False, True)),
    ],
)
def test_arithmetic_of_cuda_is_set_in_the_block_alone(
    settings: HardwareSettings, expected: tuple[object, ...]
) -> None:
    before = arithmetic()
    with reproducible(settings, CUDA), training_arithmetic(settings, CUDA):
        assert arithmetic() == expected
    for device in (CPU, MPS):
        with reproducible(settings, device), training_arithmetic(settings, device):
            assert arithmetic() == before
    assert arithmetic() == before


def test_an_operation_without_a_deterministic_algorithm_is_named() -> None:
    settings = HardwareSettings(deterministic=True)
    lacks = "cumsum_cuda_kernel does not have a deterministic implementation, but you set ..."
    named = pytest.raises(TrainingError, match="cumsum_cuda_kernel")
    with named as caught, reproducible(settings, CUDA):
        raise RuntimeError(lacks)
    assert caught.value.fix == "--set hardware.deterministic=false"
    with pytest.raises(RuntimeError, match=r"^another$"), reproducible(settings, CUDA):
        raise RuntimeError("another")
    assert not torch.are_deterministic_algorithms_enabled()
