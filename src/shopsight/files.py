"""Files that are either there whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shopsight.errors import (
    DamagedFileError,
    HeldFileError,
    ReadOnlyError,
    ShopsightError,
    WriteError,
    first_line,
)
from shopsight.held_files import (
    ON_WINDOWS,
    SWITCH_ON_LONG_PATHS,
    flush,
    is_held,
    limits_names,
    longest_path,
    remove_file,
    remove_folder,
    replace,
)
from shopsight.safe_names import is_windows_name
from shopsight.text import as_unicode, is_unicode

# Files that are being written, or that a killed process left behind; scans skip hidden names.
PART_PREFIX, PART_SUFFIX = ".shopsight-", ".part"
PART_DIGITS = 12
PART_LENGTH = len(PART_PREFIX) + PART_DIGITS + len(PART_SUFFIX)
# Windows' answers to a name that it does not take: its syntax, its length, its folder.
_NAME_WINERRORS = {123, 206, 267}
_OTHER_NAME = (
    'give another name: without < > : " / \\ | ? * and none of con, prn, aux, nul, com1, lpt1'
)
_OTHER_FOLDER = "give another folder, or one that you may write in"
# A full disk, a spent quota.
_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
# What Windows calls a full disk, access that is denied, and a disk that is write-protected.
_ERRNO_OF_WINERROR = {39: errno.ENOSPC, 112: errno.ENOSPC, 5: errno.EACCES, 19: errno.EROFS}
# What no reading ends with: a read-only disk, a file that is too large for disk or process.
_BY_WRITING_ALONE = frozenset({errno.EROFS, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_NOT_ALLOWED = _READ_ONLY | {errno.ENOTDIR, errno.EIO}
_LONGEST_NAME = 255
"""Bytes of the longest name of a file or folder; Windows counts its characters."""


def _part_beside(path: Path) -> Path:
    # A name of its own: with the target's in it, a long name would become too long.
    return path.with_name(f"{PART_PREFIX}{uuid.uuid4().hex[:PART_DIGITS]}{PART_SUFFIX}")


@contextmanager
def atomic_file(
    path: Path | str, *, keep: bool = True, needed_bytes: int | None = None
) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    A reader never sees half a file, and a failure leaves what was there before.

    Args:
        path: The file to write; its folder is made.
        keep: When `path` cannot be replaced, keep what the block wrote in a file that the error
            names. Switched off for what the caller writes again later.
        needed_bytes: What the block writes, where that is known: a full disk's error says it.

    Yields:
        Where the block writes.

    Raises:
        HeldFileError: Another program has `path` open.
        WriteError: The disk is full; the path is too long for Windows, or it takes no such name;
            or the folder cannot be made, or `path` not be replaced, for another reason.
    """
    path = Path(path)
    _check_path(path)
    _make_folder(path.parent)
    part = _part_beside(path)
    written = False
    try:
        with write_errors_named(path, needed_bytes=needed_bytes):
            yield part
        written = True
        put_in_place(part, path, keep=keep)
    except BaseException as error:
        if not (written and isinstance(error, WriteError)):
            remove_file(part)
        raise


def put_in_place(part: Path, path: Path, *, keep: bool = True) -> None:
    """Flush a file that is written, and rename it to `path` in the same folder.

    Args:
        part: The file.
        path: Its name from now on; a file of that name is replaced.
        keep: As of `atomic_file`.

    Raises:
        HeldFileError: Another program has `path` open.
        WriteError: The disk is full, or `path` cannot be replaced for another reason.
    """
    try:
        with write_errors_named(path):
            flush(part)
        replace(part, path)
    except WriteError:
        remove_file(part)
        raise
    except OSError as error:
        if not keep:
            remove_file(part)
        raise _not_replaced(path, part if keep else None, error) from error
    flush(path.parent)


@contextmanager
def atomic_folder(path: Path | str, *, needed_bytes: int | None = None) -> Iterator[Path]:
    """Give a temporary folder beside `path`; swap it in for `path` when the block succeeds.

    Args:
        path: The folder to write.
        needed_bytes: As of `atomic_file`.

    Yields:
        Where the block writes.

    Raises:
        HeldFileError: A file in `path` is open in another program, or mapped by this one.
        WriteError: As `atomic_file`'s.
    """
    path = Path(path)
    _check_path(path)
    _make_folder(path.parent)
    part = _part_beside(path)
    written = False
    try:
        with write_errors_named(path, needed_bytes=needed_bytes):
            part.mkdir()
            yield part
        written = True
        _swap_in(part, path)
    except BaseException as error:
        if not (written and isinstance(error, WriteError)):
            remove_folder(part)
        raise
    flush(path.parent)


def _swap_in(part: Path, path: Path) -> None:
    """Rename the folder `part` to `path`; on an error both are what they were.

    Raises:
        WriteError: One of them is held; `part` is kept.
    """
    # A folder that holds files cannot be renamed over: move the old one aside first.
    old = _part_beside(path) if path.exists() else None
    try:
        if old is not None:
            replace(path, old)
    except OSError as error:
        raise _not_replaced(path, part, error) from error
    try:
        replace(part, path)
    except OSError as error:
        if old is not None:
            _put_back(old, path, part, error)
        raise _not_replaced(path, part, error) from error
    if old is not None:
        remove_folder(old)


def _put_back(old: Path, path: Path, part: Path, reason: OSError) -> None:
    try:
        replace(old, path)
    except OSError:
        error = _not_replaced(path, part, reason)
        raise type(error)(
            error.what,
            where=error.where,
            details=[*error.details, f"what was there before is in {old}"],
            fix=f"{error.fix}, or {old.name}",
        ) from reason


def check_output_path(path: Path, *, reserve: int = 0) -> None:
    """Refuse, before any work, a file or folder that cannot be written or that nothing can name.

    Args:
        path: A file, or with `reserve` a folder.
        reserve: Characters that will be added to it: of the longest name below a folder.

    Raises:
        WriteError: It is too long for Windows, or a name that it does not take; or its name is not
            Unicode, so that no report or table could have it; or a folder is there instead of a
            file, or the other way round.
    """
    check_output_name(path, reserve=reserve)
    _check_kind(path, is_folder=reserve > 0)


def check_output_name(path: Path, *, reserve: int = 0) -> None:
    """Refuse what nothing can be named, as `check_output_path` does, whatever is there.

    Raises:
        WriteError: It is too long for Windows, has a name that it does not take, or is not Unicode.
    """
    if not is_unicode(str(path)):
        raise WriteError(
            "the path is not Unicode (UTF-8)", where=as_unicode(str(path)), fix="give another name"
        )
    _check_path(path, reserve=reserve)


def _check_kind(path: Path, *, is_folder: bool) -> None:
    # Unlike those of Path, no error where one may not look.
    if not is_folder and os.path.isdir(path):  # noqa: PTH112
        raise WriteError(
            "a file is to be written, and this is a folder",
            where=str(path),
            fix="name a file in it",
        )
    for folder in [path, *path.parents] if is_folder else path.parents:
        if os.path.isfile(folder):  # noqa: PTH113
            raise WriteError(
                "a folder is to be written, and this is a file",
                where=str(folder),
                fix="give another name",
            )


def _check_path(path: Path, *, reserve: int = 0) -> None:
    _check_names(path)
    _check_length(path, reserve)


def _check_names(path: Path) -> None:
    """Refuse what no file or folder can be named; see `check_output_path`."""
    for part in path.parts:
        length = len(part) if limits_names() else len(os.fsencode(part))
        if length > _LONGEST_NAME:
            raise WriteError(
                f"the name has {length} {'characters' if limits_names() else 'bytes'}; "
                f"systems take {_LONGEST_NAME}",
                where=str(path),
                fix="give a shorter name",
            )
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise WriteError(
                f"the path has {len(os.fsencode(path)):,} bytes, more than this system takes",
                where=f"{str(path)[:60]}...",
                fix="give a shorter path",
            ) from error
    if not limits_names():
        return
    parts = path.parts[1:] if path.anchor else path.parts
    for part in parts:
        if part != ".." and not is_windows_name(part):
            raise WriteError(
                f"Windows takes no file or folder of the name {part!r}",
                where=str(path),
                fix=_OTHER_NAME,
            )


def _check_length(path: Path, reserve: int) -> None:
    most = longest_path()
    absolute = path.absolute()
    # A short name is first written under a temporary one, in a folder or beside a file.
    if reserve:
        reserve = max(reserve, 1 + PART_LENGTH)
    beside = len(str(absolute.parent)) + 1 + PART_LENGTH
    length = max(len(str(absolute)) + reserve, beside)
    if most is not None and length > most:
        raise WriteError(
            f"files in it would have paths of {length} characters; Windows opens {most}"
            if reserve or length == beside
            else f"the path has {length} characters; Windows opens {most}",
            where=str(path),
            fix="1. a folder with a shorter path, such as one below C:\\runs\n"
            f"2. switch on long paths, as administrator:\n"
            f"   {SWITCH_ON_LONG_PATHS}",
        )


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        WriteError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise _full_disk(folder, None) from error
        kind = ReadOnlyError if error.errno in _READ_ONLY else WriteError
        raise kind(
            f"the folder cannot be made: {error.strerror or type(error).__name__}",
            where=str(folder),
            fix=_OTHER_NAME if _is_about_name(error) else _OTHER_FOLDER,
        ) from error


@contextmanager
def write_errors_named(path: Path, *, needed_bytes: int | None = None) -> Iterator[None]:
    """Turn what goes wrong with writing into an error that says what, where and what to do.

    Of errors that name a file, those about a part of `path` alone: the block may read others.

    Args:
        path: What the block writes.
        needed_bytes: What it writes in all, where that is known.

    Raises:
        WriteError: The disk is full or read-only, or the user may not write there.
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
        if code in _BY_WRITING_ALONE or (code in _NOT_ALLOWED and about_part):
            kind = ReadOnlyError if code in _READ_ONLY else WriteError
            what = f"it cannot be written: {os.strerror(code)}"
            raise kind(what, where=str(path), fix=_OTHER_FOLDER) from error
        raise


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


def _not_replaced(path: Path, part: Path | None, error: OSError) -> WriteError:
    """The error for a user; a kind of its own where the same may succeed later."""
    kind, reason, first = _obstacle(path, error)
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
        return WriteError, "this system takes no such name", _OTHER_NAME
    if not is_held(error):
        return WriteError, error.strerror or type(error).__name__, "move it away"
    if path.is_file() and not path.stat().st_mode & stat.S_IWUSR:
        # Windows answers as of a held file.
        return WriteError, "it is read-only", "take away its read-only mark"
    fix = "close it there (Excel, a viewer, a virus scanner)"
    return HeldFileError, "another program has it open", fix


def write_text(path: Path | str, text: str, *, keep: bool = True) -> None:
    """Write UTF-8 text, whole or not at all; `keep` is that of `atomic_file`."""
    with atomic_file(path, keep=keep) as part:
        # The same bytes on every system: some files are hashed.
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def damage_named(path: Path | str, *, fix: str | None = None) -> Iterator[None]:
    """Read a file that shopsight wrote; whatever its reader raises becomes one error that names it.

    Args:
        path: The file.
        fix: How it is made anew.

    Raises:
        DamagedFileError: The block raised anything but an error of ours.
    """
    try:
        yield
    except (ShopsightError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DamagedFileError("no such file", where=str(path), fix=fix) from error
    except OSError as error:
        raise DamagedFileError(
            f"cannot be read: {error.strerror or first_line(error)}", where=str(path), fix=fix
        ) from error
    # Readers of JSON, Parquet, CSV and archives have no error in common.
    except Exception as error:
        raise DamagedFileError(
            f"is damaged: {first_line(error)}", where=str(path), fix=fix
        ) from error


def read_json(path: Path | str, *, fix: str | None = None) -> Any:
    """Read a JSON file.

    Raises:
        DamagedFileError: It is none; `fix` is how it is made anew.
    """
    with damage_named(path, fix=fix):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_json_table(path: Path | str, *, fix: str | None = None) -> dict[str, Any]:
    """Read a JSON file of keys and values; see `read_json`."""
    found = read_json(path, fix=fix)
    if not isinstance(found, dict):
        raise DamagedFileError("is damaged: it holds no keys", where=str(path), fix=fix)
    return found


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(path: Path | str) -> int:
    """Free disk space where `path` is or would be."""
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def human_bytes(count: float) -> str:
    """`1_536_000` -> `"1.5 MB"` (decimal units, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
