"""What killed processes leave beside the files that they were writing, and its removal.

A file is written under a temporary name that begins with `PART_PREFIX` and holds the mark of its
process. Before a folder is written to, what ended processes left in it is removed, once for each
process. A folder that was moved aside for a new one and not removed yet, because the process was
killed between two renames, is brought back.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from shopsight.held_files import remove_file, remove_folder, replace
from shopsight.processes import MARK_DIGITS, has_ended, own_mark
from shopsight.safe_names import ASIDE_SUFFIX, PART_DIGITS, PART_PREFIX, PART_SUFFIX

# Of processes that cannot be asked: what was not written to for so long is nobody's any more.
SILENT_S = 2 * 24 * 3600.0
# Between two renames of a living process pass milliseconds.
ASIDE_S = 60.0
# Anything else that begins with the prefix is somebody else's. Earlier versions had fewer digits.
_MADE = re.compile(
    rf"{re.escape(PART_PREFIX)}([0-9a-f]{{{PART_DIGITS}}}|[0-9a-f]{{12}}|[0-9a-f]{{20}})"
    rf"({re.escape(PART_SUFFIX)}|{re.escape(ASIDE_SUFFIX)})"
)

_swept: set[Path] = set()


def part_beside(path: Path) -> Path:
    """A temporary name beside `path`, which nobody else has."""
    return _beside(path, PART_SUFFIX)


def aside_of(path: Path) -> Path:
    """Where the folder `path` is moved while another takes its place: in a folder, by its name.

    That name is what it is brought back by.
    """
    return _beside(path, ASIDE_SUFFIX) / path.name


def _beside(path: Path, suffix: str) -> Path:
    # A name of its own: with the target's in it, a long name would become too long.
    mark = own_mark()
    random = uuid.uuid4().hex[: PART_DIGITS - len(mark)]
    return path.with_name(f"{PART_PREFIX}{mark}{random}{suffix}")


def sweep_once(folder: Path) -> None:
    """`sweep`, unless this process has done it in that folder."""
    folder = folder.absolute()
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove what ended processes were writing in this folder; bring back what they moved aside.

    What a process writes that runs, or that may run on another machine, stays. So does what one
    kept for the user because a file was open elsewhere. What may not be removed stays as well.
    """
    with suppress(OSError):
        for path in list(_leftovers(folder)):
            with suppress(OSError):
                _clear(path)


def bring_back(path: Path) -> None:
    """Bring back a folder that was moved aside by a process that has ended since.

    Args:
        path: The folder; nothing happens where there is one.
    """
    # Unlike Path.exists, no error for what cannot be a path at all.
    if not os.path.lexists(path):
        sweep(path.parent)


def _leftovers(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _MADE.fullmatch(entry.name):
                yield Path(entry.path)


def _clear(path: Path) -> None:
    # We make no links: what this one leads to is somebody's.
    if path.is_symlink():
        return
    if path.suffix == ASIDE_SUFFIX:
        if _is_ended(path, after_s=ASIDE_S):
            _bring_back(path)
    elif _is_ended(path, after_s=SILENT_S):
        if path.is_dir():
            remove_folder(path)
        else:
            remove_file(path)


def _bring_back(aside: Path) -> None:
    """Bring back the one folder that lies in there; anything else was not put there by us."""
    held = list(aside.iterdir())
    if any(old.is_symlink() or not old.is_dir() for old in held) or len(held) > 1:
        return
    for old in held:
        target = aside.parent / old.name
        if not target.exists():
            replace(old, target)
    remove_folder(aside)


def _is_ended(path: Path, *, after_s: float) -> bool:
    """Whether nobody writes this any more.

    Args:
        path: A file or folder with a temporary name.
        after_s: How long it was silent, where its process cannot be asked.
    """
    digits = path.stem.removeprefix(PART_PREFIX)
    if len(digits) == PART_DIGITS:
        mark = digits[:MARK_DIGITS]
        if mark == own_mark():
            return False
        if has_ended(mark):
            return True
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    last_s = max(file.lstat().st_mtime for file in files)
    return _clock_s(path.parent) - last_s > after_s


def _clock_s(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder: that of a server may differ."""
    stamp = part_beside(folder / "stamp")
    stamp.touch()
    try:
        return stamp.stat().st_mtime
    finally:
        remove_file(stamp)
