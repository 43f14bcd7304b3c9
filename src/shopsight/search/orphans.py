"""Processes that build for an owner that has ended.

A builder ends when its owner does, but not while a call of the engine holds the interpreter's lock:
a graph of millions takes an hour. Two builders in one folder would mix their generations. So each
build has a folder of its own name, which says who builds in it, and whoever removes or takes over
such a folder ends that process first.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from shopsight.errors import ShopsightError
from shopsight.files import write_json
from shopsight.held_files import remove_file
from shopsight.io.json_files import read_json

BUILDER_FILE = "builder.json"
ENDS_WITHIN_S = 10


def note_builder(folder: Path, pid: int) -> None:
    """Say who builds in a folder."""
    started = psutil.Process(pid).create_time()
    write_json(folder / BUILDER_FILE, {"pid": pid, "started": started})


def forget_builder(folder: Path) -> None:
    """Nobody builds in a folder any more."""
    remove_file(folder / BUILDER_FILE)


def end_orphan(folder: Path) -> None:
    """End the process that still builds in a folder, if there is one."""
    try:
        noted = read_json(folder / BUILDER_FILE)
        process = psutil.Process(int(noted["pid"]))
        # Numbers of processes come again.
        if abs(process.create_time() - float(noted["started"])) < 1:
            process.kill()
            process.wait(ENDS_WITHIN_S)
    except (OSError, ShopsightError, psutil.Error, KeyError, TypeError, ValueError):
        return
