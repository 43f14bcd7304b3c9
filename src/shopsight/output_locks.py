"""One process at a time writes a run, a folder of results or a table; another is told who does.

The system holds the lock and lets go when the process ends, however it ends: nobody has to clean
up after a killed one. A file beside the lock says who has it. Where a file system has no locks,
work goes on without.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from shopsight.address_secrets import masked
from shopsight.errors import DamagedFileError, LockedError, WriteError
from shopsight.files import make_folder, write_json
from shopsight.held_files import remove_empty_folder, remove_file, remove_unless_held
from shopsight.io.json_files import read_json_table
from shopsight.paths import is_folder
from shopsight.safe_names import PART_DIGITS, PART_PREFIX
from shopsight.text import command_line
from shopsight.write_errors import taken_away

_FOLDER_LOCK = f"{PART_PREFIX}lock"


@contextmanager
def only_writer_of_folder(folder: Path | str) -> Iterator[None]:
    """Have this process alone write a folder within the block; one that stays empty is removed.

    Raises:
        LockedError: Another process writes it.
        WriteError: It cannot be made, or somebody took it away within the block.
    """
    folder = Path(folder)
    made = not is_folder(folder)
    make_folder(folder)
    try:
        with _locked(folder / _FOLDER_LOCK, folder):
            yield
    finally:
        if made:
            remove_empty_folder(folder)


@contextmanager
def only_writer_of_file(path: Path | str) -> Iterator[None]:
    """Have this process alone write a file within the block.

    Raises:
        LockedError: Another process writes it.
        WriteError: Its folder cannot be made.
    """
    path = Path(path)
    make_folder(path.parent)
    # With the file's name in it, a long name would become too long.
    digits = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:PART_DIGITS]
    with _locked(path.with_name(f"{PART_PREFIX}{digits}.lock"), path):
        yield


@contextmanager
def _locked(lock_file: Path, target: Path) -> Iterator[None]:
    lock, owner_file = _taken(lock_file, target), lock_file.with_suffix(".json")
    if lock is None:
        yield
        return
    try:
        with suppress(WriteError):
            write_json(owner_file, _own_entry())
        with _unless_taken_away(lock_file, target):
            yield
    finally:
        remove_file(owner_file)
        # Before the release, where that can be: whoever waits for this very file finds out in
        # `_taken`, and no lock that another process took meanwhile is removed.
        is_gone = remove_unless_held(lock_file)
        lock.release()
        if not is_gone:
            remove_file(lock_file)


@contextmanager
def _unless_taken_away(lock_file: Path, target: Path) -> Iterator[None]:
    """Refuse to end well when the lock went with its folder: results may be in two places then."""
    reason: Exception | None = None
    try:
        yield
    except Exception as error:
        if lock_file.exists():
            raise
        reason = error
    if not lock_file.exists():
        raise taken_away(target) from reason


def _taken(lock_file: Path, target: Path) -> FileLock | None:
    """The lock; None where the place has none.

    Raises:
        LockedError: Another process has it.
    """
    while True:
        lock = FileLock(lock_file)
        try:
            # A link that somebody put there would have a file made elsewhere.
            if lock_file.is_symlink():
                remove_file(lock_file)
            lock_file.touch()
            before = lock_file.stat().st_ino
            lock.acquire(timeout=0)
            if lock_file.stat().st_ino == before:
                return lock
        except Timeout:
            raise _locked_error(lock_file, target) from None
        except FileNotFoundError:
            if not lock_file.parent.is_dir():
                return None
        except (OSError, NotImplementedError):
            return None
        # The process that had it removed the file just then: what is locked has no name.
        lock.release()


def _own_entry() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": masked(command_line(["shopsight", *sys.argv[1:]])),
    }


def _locked_error(lock_file: Path, target: Path) -> LockedError:
    try:
        entry = read_json_table(lock_file.with_suffix(".json"))
    except DamagedFileError:
        # It has just begun, or its disk is full.
        entry = {}
    host = entry.get("host", "?")
    fix = "wait until it has ended, or stop it"
    if host not in (platform.node(), "?"):
        fix += (
            f"\nwhere {host} was switched off or lost: its lock ends within minutes; if not, "
            f"delete {lock_file.name} in {lock_file.parent}"
        )
    return LockedError(
        f"another process is writing it: {entry.get('pid', '?')} on {host}, "
        f"since {entry.get('since', '?')}",
        where=str(target),
        details=[str(entry["command"])] if "command" in entry else [],
        fix=fix,
    )
