"""No engine contacts anybody, starts a process or leaves a file: measured from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shopsight
from shopsight.commands.export import export

OWN = {".cache", "shopsight", "Library", "Caches", "AppData", "Local"}
"""Folders in which a program keeps things, and shopsight's own one."""
# What reports to a maker does so in a process of its own, where pytest's guard does not reach.
PROGRAM = """
import sys

import psutil

seen = []
WATCHED = {
    "socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.fork",
    "os.forkpty", "os.posix_spawn", "os.exec", "os.system",
}
sys.addaudithook(lambda name, given: seen.append(name) if name in WATCHED else None)

import shopsight

for engine in sys.argv[2:]:
    predictor = shopsight.load(sys.argv[1], engine=engine)
    assert predictor.verify().ok
    assert predictor.engine.name.startswith(engine)
assert not seen, seen
# A library that sends from native code calls no hook of Python: it has a socket, or a file with
# what it could not send.
opened = [one.path for one in psutil.Process().open_files()]
assert not [path for path in opened if "onnxruntime.db" in path], opened
assert not psutil.Process().net_connections(), psutil.Process().net_connections()
heavy = {"torch", "torchvision", "timm", "cv2", "scipy", "lightning"} & set(sys.modules)
assert not heavy, heavy
print("quiet")
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_contacts_nobody_and_needs_no_torch(
    tiny_run: Path, tmp_path: Path, engine: str
) -> None:
    pytest.importorskip("onnx")
    if engine == "openvino":
        pytest.importorskip("openvino")
    run, home = Path(shutil.copytree(tiny_run, tmp_path / "run")), tmp_path / "home"
    home.mkdir()
    export(run)
    # With CI set, OpenVINO sends nothing by its own choice, and this would show nothing.
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    environment |= {"HOME": str(home), "USERPROFILE": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run), engine],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "quiet"
    # Neither reports nor a number of this machine.
    assert [path.name for path in home.rglob("*") if path.name not in OWN] == []


def test_onnx_runtime_is_imported_from_one_place() -> None:
    source = Path(shopsight.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(
            r"^\s*(import onnxruntime\b|from onnxruntime import)", path.read_text("utf-8"), re.M
        )
    }
    assert found == {"inference/quiet_onnxruntime.py"}
