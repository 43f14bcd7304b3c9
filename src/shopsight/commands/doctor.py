"""Doctor: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from shopsight.cache_place import cache_folder
from shopsight.commands.machine import NvidiaDriver, cpu_name, nvidia_driver
from shopsight.devices import has_mps, pick_device
from shopsight.held_files import SWITCH_ON_LONG_PATHS, free_bytes, long_paths_enabled
from shopsight.memory import memory_budget_bytes, memory_limit_bytes, physical_memory_bytes
from shopsight.prefetch import core_count
from shopsight.text import human_bytes
from shopsight.training.precision import pick_precision

# Extras that serve this project's own work, not its user's.
OWN_EXTRAS = {"dev", "bench"}
LITTLE_FREE_BYTES = 5_000_000_000
CORE = ("torch", "torchvision", "timm", "lightning", "polars", "simplejpeg", "pillow")


@dataclass(frozen=True)
class Fact:
    """One line of the report.

    Attributes:
        advice: what to do; empty when nothing is to be done.
    """

    subject: str
    name: str
    value: str
    advice: str = ""


def doctor() -> list[Fact]:
    """List versions, devices, number formats, free disk, and what is missing."""
    return [*versions(), *devices(), *storage(), *extras()]


def versions() -> list[Fact]:
    """Python's and the core libraries' versions."""
    facts = [Fact("versions", "python", f"{platform.python_version()} ({sys.executable})")]
    for name in ("shopsight", *CORE):
        found = installed_version(name)
        advice = "" if found else f"pip install {name}"
        facts.append(Fact("versions", name, found or "not installed", advice))
    return facts


def devices() -> list[Fact]:
    """Cores, memory, accelerators, and which of them shopsight computes on."""
    cpu = torch.device("cpu")
    facts = [
        Fact("devices", "cpu", f"{cpu_name()}, {core_count()} cores for this process"),
        Fact("devices", "cpu instructions", torch.backends.cpu.get_cpu_capability()),
        Fact("devices", "cpu precision", f"{pick_precision('auto', cpu)} in training"),
        Fact("devices", "torch threads", str(torch.get_num_threads())),
    ]
    facts.append(Fact("devices", "memory", memory()))
    build = TorchBuild.installed()
    facts.append(Fact("devices", "torch build", build.text()))
    if torch.cuda.is_available():
        facts += _usable_cuda()
    else:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        facts.append(unusable_cuda(build, nvidia_driver(), visible=hidden))
    return [*facts, *_mps(), _chosen()]


def memory() -> str:
    """The machine's memory, what this process may have of it, and what the work takes."""
    physical, limit = physical_memory_bytes(), memory_limit_bytes()
    parts = [] if physical is None else [human_bytes(physical)]
    if limit is not None and limit != physical:
        parts.append(f"{human_bytes(limit)} for this process (container, ulimit -v)")
    parts.append(f"the work takes at most {human_bytes(memory_budget_bytes())} (--memory-gb)")
    return ", ".join(parts)


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


def storage() -> list[Fact]:
    """Free disk here and where the cache is, and the cache's size."""
    facts = []
    cache = cache_folder()
    for name, folder in (("this folder", Path.cwd()), ("cache", cache)):
        free = free_bytes(folder)
        advice = "free some space, or use --cache-dir" if free < LITTLE_FREE_BYTES else ""
        facts.append(Fact("disk", name, f"{folder}: {human_bytes(free)} free", advice))
    size = _folder_bytes(cache)
    facts.append(Fact("disk", "cache size", human_bytes(size) if size else "empty"))
    enabled = long_paths_enabled()
    return facts if enabled is None else [*facts, long_paths(enabled=enabled)]


def long_paths(*, enabled: bool) -> Fact:
    """Whether Windows allows long paths to programs, and the command that makes it do so."""
    if enabled:
        return Fact("disk", "long paths", "allowed")
    value = "not allowed: files whose path has 260 characters or more may fail to open"
    return Fact("disk", "long paths", value, f"{SWITCH_ON_LONG_PATHS}   (as administrator)")


def extras() -> list[Fact]:
    """Each optional part: there, or the command that brings it."""
    wanted: dict[str, list[str]] = {}
    for line in metadata.requires("shopsight") or []:
        match = re.match(r"([\w.-]+).*extra == ['\"](\w+)['\"]", line)
        if match and match[2] not in OWN_EXTRAS:
            wanted.setdefault(match[2], []).append(match[1])
    facts = []
    for extra, packages in sorted(wanted.items()):
        missing = [package for package in packages if installed_version(package) is None]
        value = f"lacks {', '.join(missing)}" if missing else f"there ({', '.join(packages)})"
        advice = f'pip install "shopsight[{extra}]"' if missing else ""
        facts.append(Fact("extras", extra, value, advice))
    if shutil.which("kaggle") is None and not (Path.home() / ".kaggle" / "kaggle.json").is_file():
        advice = "put an API token from kaggle.com/settings there to fetch Kaggle data sets"
        facts.append(Fact("extras", "kaggle token", "no ~/.kaggle/kaggle.json", advice))
    return facts


def installed_version(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
