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

from shopsight.devices import has_mps
from shopsight.files import cache_folder, free_bytes, human_bytes
from shopsight.prefetch import core_count
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
    """Cores, memory, accelerators, and the number format that training would use on each."""
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = torch.device("cpu")
    facts = [
        Fact("devices", "cpu", f"{_cpu_name()}, {core_count()} cores for this process"),
        Fact("devices", "cpu instructions", capability),
        Fact("devices", "cpu precision", f"{pick_precision('auto', cpu)} in training"),
        Fact("devices", "torch threads", str(torch.get_num_threads())),
    ]
    memory = _memory_bytes()
    if memory is not None:
        facts.append(Fact("devices", "memory", human_bytes(memory)))
    return facts + _cuda_facts() + _mps_facts()


def _cuda_facts() -> list[Fact]:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        value = f"none usable (torch is built for CUDA {built})" if built else "torch built without"
        return [Fact("devices", "cuda", value)]
    facts = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        about = torch.cuda.get_device_properties(device)
        precision = pick_precision("auto", device)
        value = f"{about.name}, {human_bytes(about.total_memory)}, {precision} in training"
        facts.append(Fact("devices", f"cuda:{index}", value))
    return facts


def _mps_facts() -> list[Fact]:
    if not has_mps():
        return []
    value = "usable, when it is asked for: --device mps, --set hardware.accelerator=mps"
    return [Fact("devices", "mps", value)]


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
    return facts


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


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        match = re.search(
            r"^model name\s*:\s*(.+)$", listing.read_text(encoding="utf-8"), re.MULTILINE
        )
        if match:
            return match[1]
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
