"""Run code in a process in which torch and what needs it cannot be found."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

HIDE = """
import sys
for name in ("torch", "torchvision", "timm", "lightning", "open_clip", "onnx", "transformers"):
    sys.modules[name] = None
"""


def run_without_torch(code: str, *words: object) -> str:
    """What the code prints, given words as `sys.argv`."""
    command: list[Any] = [sys.executable, "-c", HIDE + code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
