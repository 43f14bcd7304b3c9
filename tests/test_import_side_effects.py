"""Importing shopsight changes nothing of the process that imports it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib
import logging
import os
import pkgutil
import signal
import socket
import sys
import warnings

# Libraries change the process at their import: they come first, so that the difference is ours.
libraries = sys.argv[1:]
for library in libraries:
    importlib.import_module(library)

import cv2
import torch


def state():
    root = logging.getLogger()
    return {
        "OpenCV's threads": cv2.getNumThreads(),
        "torch's threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "socket timeout": socket.getdefaulttimeout(),
        "root logger": (root.level, list(root.filters), list(root.handlers)),
        "warnings": list(warnings.filters),
        "Ctrl-C": signal.getsignal(signal.SIGINT),
        "working folder": os.getcwd(),
        "module path": list(sys.path),
    }


cv2.setNumThreads(3)
socket.setdefaulttimeout(77)
before = state()
import shopsight

modules = [
    found.name
    for found in pkgutil.walk_packages(shopsight.__path__, "shopsight.")
    if not found.name.endswith("__main__")
]
for name in modules:
    importlib.import_module(name)
after = state()
changed = [what for what in before if before[what] != after[what]]
assert not changed, changed
print(len(modules))
"""

LIBRARIES = (
    *("cv2", "huggingface_hub", "jinja2", "lightning.pytorch", "PIL.Image"),
    *("polars", "pydantic", "rich.console", "safetensors.torch", "scipy.special", "simplejpeg"),
    *("sklearn.linear_model", "timm", "torch", "torchvision", "typer"),
)


def test_importing_every_module_changes_nothing_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *LIBRARIES],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
