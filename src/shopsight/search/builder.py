"""Build engines in a process of their own: `python -m shopsight.search.builder`.

The binding of an embedded engine holds the interpreter's lock while it builds a graph: in the
owner's process every other thread would stand still for minutes. So the owner starts this program,
tells it by its standard input what to do, and goes on. When the owner ends, however it does, that
pipe closes and this process ends too: nothing is built for nobody.

A build writes into a folder that nobody reads; only the owner gives it its name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from shopsight import progress
from shopsight.errors import SearchError
from shopsight.files import discard_folder, make_folder
from shopsight.search.change_log import ChangeLog
from shopsight.search.disk_room import PIECE_BYTES, check_room_for_engine
from shopsight.search.generation import (
    CENTER_FILE,
    ENGINE,
    LOG,
    Generation,
    mean_of,
    pieces,
    read_info,
    write_info,
)
from shopsight.search.orphans import end_orphan, forget_builder, note_builder
from shopsight.write_errors import check_room

SMALL = 2_000
"""Items that are put into an engine in the owner's process: starting another takes longer."""


def build_engine(folder: Path, *, collection: str, url: str | None) -> None:
    """Build the engine of a generation from its log, and write the mean of its vectors.

    Args:
        folder: of the generation; it has no engine, or one that is replaced.
        collection: the engine's name on a server.
        url: of the server; None is in process.

    Raises:
        SearchError: the process ended without having built it.
        WriteError: the disk has no room for it.
    """
    end_orphan(folder)
    info = read_info(folder)
    live = ChangeLog(folder / LOG, info.schema_).live()
    discard_folder(folder / ENGINE)
    check_room_for_engine(folder, info.settings(), live.height, url=url)
    if live.height <= SMALL:
        _engine(folder, collection, url)
    else:
        _run({"task": "engine", "folder": str(folder), "collection": collection, "url": url})


def copy_live(source: Path, target: Path, *, until: int, collection: str, url: str | None) -> None:
    """Write a generation that holds the live items of another, and its engine; `source` stays.

    Args:
        source: folder of the generation.
        target: folder for the new one.
        until: later changes are left out.
        collection: the new engine's name on a server.
        url: of the server; None is in process.

    Raises:
        SearchError: the process ended without having built it.
        WriteError: the disk has no room for it.
    """
    info = read_info(source)
    count = ChangeLog(source / LOG, info.schema_).live(until=until).height
    check_room_for_engine(target, info.settings(), count, logged=count, url=url)
    make_folder(target)
    task = {"task": "compact", "source": str(source), "folder": str(target), "until": until}
    _run({**task, "collection": collection, "url": url})


def _run(task: dict[str, Any]) -> None:
    """Have a new process do the task, and wait for it without holding the interpreter's lock."""
    command = [sys.executable, "-m", "shopsight.search.builder"]
    with progress.task("Building the index", None, "steps"):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            note_builder(Path(task["folder"]), process.pid)
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            # The pipe stays open: this process is alive.
            said = process.stderr.read()
            code = process.wait()
            forget_builder(Path(task["folder"]))
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdin.close()
            process.stderr.close()
    if code != 0:
        # A full disk ends it without a word: see `disk_room`.
        check_room(Path(task["folder"]), PIECE_BYTES)
        raise SearchError(
            f"the process that builds the index ended with {code}",
            where=str(task["folder"]),
            details=said.strip().splitlines()[-5:],
            fix="run the same command again; nothing is lost",
        )


def _engine(folder: Path, collection: str, url: str | None) -> None:
    """Fill a new engine, build its graph, and write the mean."""
    import numpy as np

    from shopsight.files import atomic_file

    generation = Generation(folder, collection=collection, url=url)
    generation.discard_engine()
    center = mean_of(generation)
    with atomic_file(folder / CENTER_FILE) as part, part.open("wb") as file:
        np.savez(file, center=center)
    generation.engine.flush()
    generation.close()


def _compact(source: Path, target: Path, until: int, collection: str, url: str | None) -> None:
    old = ChangeLog(source / LOG, read_info(source).schema_)
    write_info(target, read_info(source))
    new = ChangeLog(target / LOG, read_info(source).schema_)
    for items in pieces(old, old.live(until=until)):
        new.write(items)
    old.close()
    new.close()
    _engine(target, collection, url)


def _do(task: dict[str, Any]) -> None:
    folder, collection, url = Path(task["folder"]), task["collection"], task["url"]
    if task["task"] == "engine":
        _engine(folder, collection, url)
    else:
        _compact(Path(task["source"]), folder, task["until"], collection, url)


def _end_with_owner() -> None:
    """End this process when the owner has ended: its end of the pipe is closed."""
    sys.stdin.buffer.read()
    os._exit(3)


def main() -> None:
    """Do the task of the first line of standard input."""
    task = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_owner, daemon=True).start()
    _do(task)
    # Without waiting for the thread that waits for the owner.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
