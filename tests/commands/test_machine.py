from __future__ import annotations

import os
from pathlib import Path

import pytest

from shopsight.commands.machine import (
    NvidiaDriver,
    cpu_name,
    nvidia_driver,
    parse_nvidia_smi,
)
from shopsight.held_files import long_paths_enabled

REPORT = """
==============NVSMI LOG==============

Timestamp                                 : Wed Nov 25 10:00:00 2026
Driver Version                            : 550.54.15
CUDA Version                              : 12.4

Attached GPUs                             : 2
GPU 00000000:17:00.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    Product Brand                         : NVIDIA
    Clocks
        Graphics                          : 210 MHz
GPU 00000000:65:00.0
    Product Name                          : NVIDIA T1000
"""
TWO_GPUS = NvidiaDriver(("NVIDIA A100-SXM4-80GB", "NVIDIA T1000"), "550.54.15", "12.4")


def test_report_of_the_driver_is_read() -> None:
    assert parse_nvidia_smi(REPORT) == TWO_GPUS
    assert parse_nvidia_smi(REPORT.replace("\n", "\r\n")) == TWO_GPUS


@pytest.mark.parametrize("text", ["", "No devices were found\n", "Driver Version : 550.54.15\n"])
def test_no_gpu_is_listed(text: str) -> None:
    assert parse_nvidia_smi(text) is None


def test_a_report_without_versions_names_the_gpus() -> None:
    found = parse_nvidia_smi("    Product Name : NVIDIA T4\n")
    assert found == NvidiaDriver(("NVIDIA T4",), "unknown", "unknown")


@pytest.mark.posix("nvidia-smi is a shell script here")
@pytest.mark.parametrize(("status", "expected"), [(0, TWO_GPUS), (9, None)])
def test_the_driver_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, expected: NvidiaDriver | None
) -> None:
    """Where no driver is loaded, nvidia-smi prints why and ends with 9."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{REPORT}END\nexit {status}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert nvidia_driver() == expected


def test_without_the_program_there_is_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_driver() is None


def test_this_machine_has_a_name() -> None:
    assert cpu_name()


@pytest.mark.windows
def test_windows_says_whether_paths_may_be_long() -> None:
    assert long_paths_enabled() in (True, False)


@pytest.mark.posix("Windows has a limit")
def test_no_limit_of_paths_elsewhere() -> None:
    assert long_paths_enabled() is None
