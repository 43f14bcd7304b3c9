"""The scripts that check a commit: which Pythons they find, and what they say without a network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
CI = ROOT / ".ci"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def find_python(*versions: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(CI / "find-python"), *versions],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={"PATH": f"{path}{os.pathsep}/usr/bin{os.pathsep}/bin", "HOME": path},
    )


def write_python(folder: Path, *, claims: str) -> None:
    """A command `python`, whose name is a version, that runs this Python whatever it claims."""
    program = folder / f"python{claims}"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.posix("bash and executable scripts")
@pytest.mark.skipif(
    sys.version_info.releaselevel != "final" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="find-python leaves this Python out",
)
def test_the_first_version_that_is_there_is_found(tmp_path: Path) -> None:
    write_python(tmp_path, claims="3.99")  # is VERSION in truth
    write_python(tmp_path, claims=VERSION)
    assert find_python("3.99", VERSION, path=str(tmp_path)).stdout == f"{sys.executable}\n"


@pytest.mark.posix("bash and executable scripts")
def test_pythons_of_pyenv_are_found(tmp_path: Path) -> None:
    folder = tmp_path / ".pyenv" / "versions" / f"{VERSION}.0" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    assert find_python(VERSION, path=str(tmp_path)).returncode == 0


@pytest.mark.posix("bash and executable scripts")
def test_no_such_python(tmp_path: Path) -> None:
    missing = find_python("3.99", "3.98", path=str(tmp_path))
    assert missing.returncode == 1
    assert missing.stderr == "error: none of Python 3.99 3.98 is on this machine\n"


@pytest.fixture(scope="module")
def check_wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheels", CI / "check_wheels.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_an_index_nothing_is_checked(tmp_path: Path) -> None:
    """The discard port of this machine is no proxy."""
    settings = {"HTTPS_PROXY": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    settings |= {"UV_CACHE_DIR": str(tmp_path), "ALL_PROXY": "", "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, str(CI / "check_wheels.py")],
        check=True,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | settings,
    )
    assert done.stdout == "wheels: not checked, the package index cannot be reached\n"


def test_what_the_documents_say_of_a_system(check_wheels: ModuleType) -> None:
    windows, intel = (
        next(one for one in check_wheels.PLATFORMS if one.name == name)
        for name in ("Windows x64", "macOS Intel")
    )
    assert check_wheels.is_expected(windows, "wheels", "torch==2.14.1")
    assert not check_wheels.is_expected(windows, "no solution", "polars has no wheels")
    assert check_wheels.is_expected(intel, "no solution", "torch>=2.6.0 has no wheels")
    assert not check_wheels.is_expected(intel, "no solution", "polars has no wheels")
    assert not check_wheels.is_expected(intel, "wheels", "torch==2.14.1")
