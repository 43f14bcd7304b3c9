"""This machine, as its operating system and NVIDIA's driver describe it.

Each system is asked in its own way; what cannot be asked is None, never an error.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ASK_SECONDS = 30


@dataclass(frozen=True)
class NvidiaDriver:
    """NVIDIA's driver and the GPUs that it drives, whether torch can use them or not.

    Attributes:
        gpus: Their names.
        version: The driver's own version.
        cuda: The newest CUDA that it runs, for example "12.4".
    """

    gpus: tuple[str, ...]
    version: str
    cuda: str


def nvidia_driver() -> NvidiaDriver | None:
    """Ask the driver's `nvidia-smi`; None without it, and where it finds no GPU."""
    program = shutil.which("nvidia-smi")
    text = _output(program, "-q") if program else None
    return None if text is None else parse_nvidia_smi(text)


def parse_nvidia_smi(text: str) -> NvidiaDriver | None:
    """Read what `nvidia-smi -q` prints; None when no GPU is listed."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" : ")
        values.setdefault(name.strip(), []).append(value.strip())
    gpus = values.get("Product Name")
    if not gpus:
        return None
    cuda = values.get("CUDA Version") or values.get("CUDA UMD Version") or ["unknown"]
    return NvidiaDriver(tuple(gpus), values.get("Driver Version", ["unknown"])[0], cuda[0])


def cpu_name() -> str:
    """The processor's name as its maker writes it, as far as the system knows it."""
    name = None
    if sys.platform == "win32":
        name = _registry(r"HARDWARE\DESCRIPTION\System\CentralProcessor\0", "ProcessorNameString")
    elif sys.platform == "darwin":
        name = _output("sysctl", "-n", "machdep.cpu.brand_string")
    elif Path("/proc/cpuinfo").is_file():
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", listing, re.MULTILINE)
        name = match and match[1]
    return str(name or platform.processor() or platform.machine()).strip()


def _output(*command: str) -> str | None:
    """What a command prints; None when it fails or does not end."""
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, timeout=ASK_SECONDS, encoding="utf-8"
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def _registry(key: str, name: str) -> str | int | None:
    """A value below HKEY_LOCAL_MACHINE."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            value: str | int = winreg.QueryValueEx(opened, name)[0]
    except OSError:
        return None
    return value
