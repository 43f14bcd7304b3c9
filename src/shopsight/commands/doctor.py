"""Doctor: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from shopsight.cache_place import cache_folder
from shopsight.commands.fact import Fact
from shopsight.commands.machine import cpu_name
from shopsight.extras import installed_version
from shopsight.held_files import SWITCH_ON_LONG_PATHS, free_bytes, long_paths_enabled
from shopsight.memory import memory_budget_bytes, memory_limit_bytes, physical_memory_bytes
from shopsight.prefetch import core_count
from shopsight.text import human_bytes

# Extras that serve this project's own work, not its user's.
OWN_EXTRAS = {"dev", "bench"}
LITTLE_FREE_BYTES = 5_000_000_000
CORE = ("onnxruntime", "numpy", "polars", "simplejpeg", "pillow")
TRAINING = ("torch", "torchvision", "timm", "lightning")


def doctor() -> list[Fact]:
    """List versions, devices, number formats, free disk, and what is missing."""
    return [*versions(), *devices(), *storage(), *extras()]


def versions() -> list[Fact]:
    """Python's, and those of the libraries that most of the work is done by."""
    facts = [Fact("versions", "python", f"{platform.python_version()} ({sys.executable})")]
    for name in ("shopsight", *CORE, *TRAINING):
        found = installed_version(name)
        needed = "shopsight[train]" if name in TRAINING else name
        advice = "" if found else f'pip install "{needed}"'
        facts.append(Fact("versions", name, found or "not installed", advice))
    return facts


def devices() -> list[Fact]:
    """Cores, memory, accelerators, and which of them shopsight computes on."""
    facts = [
        Fact("devices", "cpu", f"{cpu_name()}, {core_count()} cores for this process"),
        Fact("devices", "memory", memory()),
    ]
    if installed_version("torch") is None:
        value = "exported bundles are served; nothing is trained"
        return [*facts, Fact("devices", "without torch", value, 'pip install "shopsight[train]"')]
    # Seconds to import.
    from shopsight.commands.torch_facts import torch_facts

    return [*facts, *torch_facts()]


def memory() -> str:
    """The machine's memory, what this process may have of it, and what the work takes."""
    physical, limit = physical_memory_bytes(), memory_limit_bytes()
    parts = [] if physical is None else [human_bytes(physical)]
    if limit is not None and limit != physical:
        parts.append(f"{human_bytes(limit)} for this process (container, ulimit -v)")
    parts.append(f"the work takes at most {human_bytes(memory_budget_bytes())} (--memory-gb)")
    return ", ".join(parts)


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
        if match and match[1] != "shopsight" and match[2] not in OWN_EXTRAS:
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


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
