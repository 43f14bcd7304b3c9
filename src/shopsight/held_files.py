"""Rename, remove and flush files, also where another program holds them.

POSIX lets anybody rename and remove a file that is open elsewhere. Windows refuses it, and there
files are often held for a moment: a virus scanner or the search index reads what was just written,
Excel holds a table for as long as it shows it. Nothing in shopsight but this module renames or
removes a file; `shopsight.files` builds files that are whole or absent on it. Here is also how long
a path may be, and how much room a disk has.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Access denied, sharing violation, lock violation: what a file that is held answers.
HELD_WINERRORS = {5, 32, 33}
# A scanner is done within a second; what is held longer is open in a program.
PATIENCE_S = 2.0
FIRST_PAUSE_S = 0.02
# More files than this are flushed by one call for the whole system, which is faster.
MOST_FLUSHED = 256
ON_WINDOWS = os.name == "nt"

LONGEST_WINDOWS_PATH = 259
"""Characters of a path on Windows, unless the system's long paths are switched on."""
SWITCH_ON_LONG_PATHS = (
    r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem "
    "/v LongPathsEnabled /t REG_DWORD /d 1 /f"
)
"""The command, for cmd.exe and PowerShell as administrator."""


def is_held(error: BaseException) -> bool:
    """Whether Windows refused because another program, or this one, has the file open."""
    if getattr(error, "winerror", None) in HELD_WINERRORS:
        return isinstance(error, OSError)
    # `open` on Windows sets errno alone.
    return ON_WINDOWS and isinstance(error, PermissionError)


def replace(source: Path, target: Path) -> None:
    """Rename a file or folder; a file at `target` is replaced. Tried again while one is held.

    Raises:
        OSError: It could not be renamed; `is_held` says whether another program was the reason.
    """
    if target.is_dir() and not source.is_dir():
        # Windows says "access denied", as it does of a held file.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    _patiently(lambda: os.replace(source, target))  # noqa: PTH105


def remove_file(path: Path) -> bool:
    """Remove a file, if there is one.

    Returns:
        Whether it is gone. One that stays (held, or on a disk that turned read-only) is left
        behind, which must be harmless: mostly another error is on its way.
    """
    with suppress(OSError):
        _patiently(lambda: path.unlink(missing_ok=True))
    # Unlike Path.exists, also of a link that leads nowhere.
    return not os.path.lexists(path)


def remove_unless_held(path: Path) -> bool:
    """Remove a file at once, or not at all: no second try.

    Returns:
        Whether it is gone. Windows refuses while any process, this one included, has it open.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return not path.exists()
    # What is there by now is another file, of somebody who was faster than a second look.
    return True


def remove_folder(path: Path) -> bool:
    """Remove a folder and what is in it, as far as nothing of it is held.

    Returns:
        Whether it is gone.
    """
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def remove_empty_folder(path: Path) -> None:
    """Remove a folder, unless there is something in it or it is held."""
    with suppress(OSError):
        path.rmdir()


def flush(path: Path) -> None:
    """Have the disk hold a file's bytes, or the names in a folder, before what comes next.

    Windows flushes only what is open for writing, and has no handles of folders to flush. Nor do
    all network file systems flush folders: there the names are as safe as the server keeps them.
    """
    if path.is_dir():
        with suppress(OSError):
            _flush_descriptor(os.open(path, os.O_RDONLY))
    else:
        _patiently(lambda: _flush_descriptor(os.open(path, os.O_RDWR)))


def flush_tree(folder: Path) -> None:
    """Have the disk hold all files in a folder, and the names in it and below."""
    paths = [folder, *folder.rglob("*")]
    if len(paths) > MOST_FLUSHED and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        flush(path)


def _flush_descriptor(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(path: Path | str) -> int:
    """Free disk space where `path` is or would be."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def limits_names() -> bool:
    """Whether some names cannot be given to files here, such as `aux` and `a?.csv`."""
    return ON_WINDOWS


def longest_path() -> int | None:
    """The most characters that a path may have here; None where there is no such limit to mind."""
    return LONGEST_WINDOWS_PATH if long_paths_enabled() is False else None


def long_paths_enabled() -> bool | None:
    """Whether Windows lets programs open paths of 260 characters and more; None elsewhere."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem"
        ) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def _patiently(work: Callable[[], None]) -> None:
    """Call `work` until it is not refused for a held file, for about `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return work()
        except OSError as error:
            if not is_held(error) or time.monotonic() >= deadline:
                raise
        time.sleep(pause_s)
        pause_s *= 2
