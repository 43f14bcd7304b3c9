"""What torch has on this machine: its build, the devices it can use, and its number formats."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from shopsight.commands.fact import Fact
from shopsight.commands.machine import NvidiaDriver, nvidia_driver
from shopsight.devices import has_mps, pick_device
from shopsight.text import human_bytes
from shopsight.training.precision import pick_precision


def torch_facts() -> list[Fact]:
    """Its threads and number formats, accelerators, and which of them shopsight computes on."""
    cpu = torch.device("cpu")
    build = TorchBuild.installed()
    facts = [
        Fact("devices", "cpu instructions", torch.backends.cpu.get_cpu_capability()),
        Fact("devices", "cpu precision", f"{pick_precision('auto', cpu)} in training"),
        Fact("devices", "torch threads", str(torch.get_num_threads())),
        Fact("devices", "torch build", build.text()),
    ]
    if torch.cuda.is_available():
        facts += _usable_cuda()
    else:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        facts.append(unusable_cuda(build, nvidia_driver(), visible=hidden))
    return [*facts, *_mps(), _chosen()]


@dataclass(frozen=True)
class TorchBuild:
    """What torch was compiled for; a wheel without CUDA cannot use any NVIDIA GPU.

    Attributes:
        version: torch's version.
        cuda: CUDA's, for example "13.0"; None in a build without.
        rocm: ROCm's, for AMD's GPUs, which torch also names "cuda"; None in a build without.
    """

    version: str
    cuda: str | None = None
    rocm: str | None = None

    @classmethod
    def installed(cls) -> TorchBuild:
        """That of the torch which is imported."""
        return cls(torch.__version__, torch.version.cuda, torch.version.hip)

    def text(self) -> str:
        """For example "2.14.1 for CUDA 13.0"."""
        if self.rocm is not None:
            return f"{self.version} for ROCm {self.rocm}"
        if self.cuda is not None:
            return f"{self.version} for CUDA {self.cuda}"
        return f"{self.version} without CUDA"


def unusable_cuda(build: TorchBuild, driver: NvidiaDriver | None, *, visible: str | None) -> Fact:
    """Say why torch uses no CUDA device, and what to do where there is a GPU for it.

    Args:
        build: The installed torch.
        driver: NVIDIA's; None where there is no NVIDIA GPU.
        visible: The variable CUDA_VISIBLE_DEVICES.
    """
    if driver is None or build.rocm is not None:
        return Fact("devices", "cuda", "no usable GPU found")
    gpus = f"{', '.join(driver.gpus)} (driver {driver.version} for CUDA {driver.cuda})"
    if build.cuda is None:
        value = f"{gpus} cannot be used: this torch is built without CUDA"
        advice = 'install torch with the command that PyTorch\'s page "Get started" shows for CUDA'
    elif visible is not None:
        value = f"{gpus} is hidden by CUDA_VISIBLE_DEVICES={visible}"
        advice = "unset CUDA_VISIBLE_DEVICES, or name a GPU that exists: 0 is the first"
    elif _major(driver.cuda) < _major(build.cuda):
        value = f"{gpus} cannot be used: this torch needs a driver for CUDA {build.cuda}"
        advice = f"update NVIDIA's driver, or install a torch build for CUDA {driver.cuda} or older"
    else:
        value = f"{gpus} cannot be used by this torch"
        advice = 'python -c "import torch; torch.cuda.init()"   (says why)'
    return Fact("devices", "cuda", value, advice)


def _major(version: str) -> float:
    """The first number of a version; infinite where it is not known.

    Drivers run programs for any CUDA of their major version or an older one.
    """
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else float("inf")


def _usable_cuda() -> list[Fact]:
    facts = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        about = torch.cuda.get_device_properties(device)
        precision = pick_precision("auto", device)
        value = f"{about.name}, {human_bytes(about.total_memory)}, {precision} in training"
        facts.append(Fact("devices", f"cuda:{index}", value))
    return facts


def _mps() -> list[Fact]:
    if not has_mps():
        return []
    value = "usable, when it is asked for: --device mps, --set hardware.accelerator=mps"
    return [Fact("devices", "mps", value)]


def _chosen() -> Fact:
    """Where training and prediction compute unless they are asked for another device."""
    device = pick_device("auto")
    return Fact("devices", "auto", f"{device.type}, for training and for prediction")
