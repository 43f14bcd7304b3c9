"""Check that every dependency, of all extras, is a wheel on other systems. Nothing is installed.

uv resolves: it evaluates environment markers for the platform in question, also those of indirect
dependencies, whichever system it runs on. Source archives are left out, as they may need a
compiler. The check fails where a platform that must have a solution has none, and where one that
must have none has one: docs/machines.md is then out of date. Where the package index cannot be
reached, nothing is checked.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACOS = "14.0"  # the oldest for which there are wheels of the newest torch
AT_A_TIME = 4

Outcome = Literal["wheels", "no solution", "no index"]


@dataclass(frozen=True)
class Platform:
    """A system to resolve for.

    Attributes:
        triple: Its name for uv.
        lacking: The package without wheels that leaves it without a solution.
    """

    name: str
    triple: str
    pythons: tuple[str, ...] = PYTHONS
    lacking: str | None = None


PLATFORMS = (
    Platform("Windows x64", "x86_64-pc-windows-msvc"),
    Platform("macOS arm64", "aarch64-apple-darwin"),
    Platform("Linux ARM", "aarch64-unknown-linux-gnu", PYTHONS[-1:]),
    Platform("macOS Intel", "x86_64-apple-darwin", PYTHONS[:1], lacking="torch"),
    Platform("Windows on ARM", "aarch64-pc-windows-msvc", PYTHONS[:1], lacking="torch"),
)


def resolve(platform: Platform, python: str) -> tuple[Outcome, str]:
    """Resolve all dependencies.

    Returns:
        The outcome, and what uv wrote: the packages or the error.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", str(PROJECT), "--all-extras"]
    command += ["--python-platform", platform.triple, "--python-version", python]
    command += ["--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet"]
    settings = {"MACOSX_DEPLOYMENT_TARGET": MACOS, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        command, check=False, env=os.environ | settings, capture_output=True, encoding="utf-8"
    )
    if done.returncode == 0:
        return "wheels", done.stdout
    if "No solution found" in done.stderr:
        return "no solution", done.stderr
    if "Failed to fetch" in done.stderr:
        return "no index", done.stderr
    sys.exit(f"{platform.name}, Python {python}: uv failed\n{done.stderr}")


def is_expected(platform: Platform, outcome: Outcome, text: str) -> bool:
    """Whether the documents say so of this platform."""
    if platform.lacking is None:
        return outcome == "wheels"
    return outcome == "no solution" and platform.lacking in text


def main() -> int:
    """Print a line for each platform and Python; return the exit status."""
    cases = [(platform, python) for platform in PLATFORMS for python in platform.pythons]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        results = list(pool.map(lambda case: resolve(*case), cases))
    if any(outcome == "no index" for outcome, _ in results):
        print("wheels: not checked, the package index cannot be reached")
        return 0
    status = 0
    for (platform, python), (outcome, text) in zip(cases, results, strict=True):
        count = f", {text.count('==')} packages" if outcome == "wheels" else ""
        print(f"{platform.name}, Python {python}: {outcome}{count}")
        if not is_expected(platform, outcome, text):
            status = 1
            print(f"error: not what docs/machines.md says of {platform.name}:\n{text}")
    return status


if __name__ == "__main__":
    sys.exit(main())
