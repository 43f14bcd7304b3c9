"""What goes wrong while files are written, as errors that say what, where and what to do."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shopsight.errors import HeldFileError, ReadOnlyError, ShopsightError, WriteError
from shopsight.held_files import ON_WINDOWS, free_bytes, is_held
from shopsight.safe_names import OTHER_NAME, PART_PREFIX
from shopsight.text import human_bytes

# Windows' answers to a name that it does not take: its syntax, its length, its folder.
_NAME_WINERRORS = {123, 206, 267}
_OTHER_FOLDER = "give another folder, or one that you may write in"
_TAKEN_AWAY = "its folder was moved or removed while it was written"
_AGAIN = "run the same command again; what was written is where the folder went"
# A full disk, a spent quota.
_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
# What Windows calls a full disk, access that is denied, and a disk that is write-protected.
_ERRNO_OF_WINERROR = {39: errno.ENOSPC, 112: errno.ENOSPC, 5: errno.EACCES, 19: errno.EROFS}
# What no reading ends with: a read-only disk, a file that is too large for disk or process.
_BY_WRITING_ALONE = frozenset({errno.EROFS, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NOT_ALLOWED = _READ_ONLY | {errno.ENOTDIR, errno.EIO}


@contextmanager
def write_errors_named(path: Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn what goes wrong with writing into an error that says what, where and what to do.

    Of errors that name a file, those about a part of `path` alone: the block may read others.

    Args:
        path: What the block writes.
        needed_bytes: What it writes in all, where that is known.

    Raises:
        WriteError: The disk is full or read-only, the user may not write there, or somebody took
            the folder away.
    """
    try:
        yield
    except ShopsightError:
        raise
    except Exception as error:
        code = _system_code(error)
        if code in _FULL_DISK:
            raise _full_disk(path, needed_bytes) from error
        # Libraries in Rust name the file in their text.
        about_part = PART_PREFIX in f"{getattr(error, 'filename', '')} {error}"
        if code == errno.ENOENT and (about_part or not path.parent.is_dir()):
            raise taken_away(path) from error
        if code in _BY_WRITING_ALONE or (code in _NOT_ALLOWED and about_part):
            kind = ReadOnlyError if code in _READ_ONLY else WriteError
            what = f"it cannot be written: {os.strerror(code)}"
            raise kind(what, where=str(path), fix=_OTHER_FOLDER) from error
        raise


def is_of_disk(error: Exception) -> bool:
    """Whether the disk takes nothing, whatever it is: full, with a spent quota, or read-only."""
    return _system_code(error) in _FULL_DISK | _BY_WRITING_ALONE


def check_room(path: Path, needed_bytes: int) -> None:
    """Refuse to begin what has no room: for what other programs write, whose errors say less.

    Args:
        path: What is written; its folder is there.
        needed_bytes: What it takes while it is made.

    Raises:
        WriteError: Less is free.
    """
    if free_bytes(path.parent) < needed_bytes:
        raise _full_disk(path, needed_bytes)


def _system_code(error: Exception) -> int:
    """The system's error number, which libraries in Rust write into their text; 0 without one."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    code = int(found[1]) if found else 0
    return _ERRNO_OF_WINERROR.get(code, code) if ON_WINDOWS else code


def _full_disk(path: Path, needed_bytes: int | None) -> WriteError:
    free = human_bytes(free_bytes(path.parent))
    needed = "" if needed_bytes is None else f"{human_bytes(needed_bytes)} are needed, "
    return WriteError(
        f"the disk is full: {needed}{free} are free",
        where=str(path),
        fix="free some space, then run the same command again; what was there is unchanged",
    )


def taken_away(path: Path) -> WriteError:
    """The error for a user whose folder somebody moved or removed while a command wrote there."""
    return WriteError(_TAKEN_AWAY, where=str(path), fix=_AGAIN)


def folder_not_made(folder: Path, error: OSError) -> WriteError:
    """The error for a user whose folder the system refused to make."""
    if error.errno in _FULL_DISK:
        return _full_disk(folder, None)
    # Those above it were there, or were made; on Windows there may be no such drive at all.
    is_gone = error.errno == errno.ENOENT and Path(folder.absolute().anchor).is_dir()
    if is_gone and not _is_about_name(error):
        return taken_away(folder)
    kind = ReadOnlyError if error.errno in _READ_ONLY else WriteError
    return kind(
        f"the folder cannot be made: {error.strerror or type(error).__name__}",
        where=str(folder),
        fix=OTHER_NAME if _is_about_name(error) else _OTHER_FOLDER,
    )


def not_replaced(path: Path, part: Path | None, error: OSError) -> WriteError:
    """The error for a user; a kind of its own where the same may succeed later."""
    kind, reason, first = _obstacle(path, error)
    if part is not None and not part.exists():
        part = None
    return kind(
        f"it could not be replaced: {reason}",
        where=str(path),
        details=[] if part is None else [f"what was to be written is in {part}"],
        fix=_next_step(path, part, error, first),
    )


def _next_step(path: Path, part: Path | None, error: OSError, first: str) -> str:
    if part is None:
        return first
    if _is_about_name(error):
        return f"rename {part.name}, but not to {path.name}"
    return f"{first}, then rename {part.name} to {path.name}"


def _is_about_name(error: OSError) -> bool:
    """Whether the system takes no file or folder of this name, wherever it is and whoever asks."""
    about_name = getattr(error, "winerror", None) in _NAME_WINERRORS
    return about_name or error.errno == errno.ENAMETOOLONG


def _obstacle(path: Path, error: OSError) -> tuple[type[WriteError], str, str]:
    """The class of the error, why `path` was not replaced, and what to do about it."""
    if _is_about_name(error):
        return WriteError, "this system takes no such name", OTHER_NAME
    if error.errno == errno.ENOENT:
        return WriteError, _TAKEN_AWAY, _AGAIN
    if not is_held(error):
        return WriteError, error.strerror or type(error).__name__, "move it away"
    if path.is_file() and not path.stat().st_mode & stat.S_IWUSR:
        # Windows answers as of a held file.
        return WriteError, "it is read-only", "take away its read-only mark"
    fix = "close it there (Excel, a viewer, a virus scanner)"
    return HeldFileError, "another program has it open", fix
