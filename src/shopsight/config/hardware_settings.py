"""The section of the machines that train."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shopsight.config.reach import NOTHING
from shopsight.config.section import Section, Text


class HardwareSettings(Section):
    """Where training runs. Strategies, devices and nodes are Lightning's names.

    Attributes:
        accelerator: "auto" (CUDA where it is, else the CPU), "cpu", "cuda", "cuda:1", "mps", "gpu".
        devices: Number of devices on each node, or Lightning's list of them.
        strategy: How they share the work.
        num_nodes: Number of machines.
        sync_batchnorm: Whether BatchNorm counts the images of all devices.
        matmul_precision: How CUDA multiplies fp32 in training, in matrices and convolutions:
            "highest" in fp32, "high" in TF32 (10 bits of mantissa), several times as fast. Without
            effect on what `training.precision` computes in 16 bits, and on other devices.
        deterministic: Whether CUDA uses only algorithms that give the same result each time.
            Slower, and an operation without one is an error.
        memory_gb: Memory that the work may take on each node, 10^9 bytes: images that are decoded
            at a time, pieces of tables and arrays. Unset: three quarters of what the machine, its
            container and the user's limit give.
    """

    accelerator: Text = "auto"
    devices: Annotated[int | str, NOTHING] = 1
    strategy: Text = "auto"
    num_nodes: int = Field(default=1, ge=1, le=100_000)
    sync_batchnorm: bool = False
    matmul_precision: Literal["highest", "high"] = "high"
    deterministic: bool = False
    memory_gb: float | None = Field(default=None, gt=0)
