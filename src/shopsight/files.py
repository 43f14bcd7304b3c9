"""Files that are either there whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from shopsight.errors import WriteError
from shopsight.held_files import (
    flush,
    is_held,
    longest_path,
    remove_file,
    remove_folder,
    replace,
)

CACHE_VARIABLE = "SHOPSIGHT_CACHE"
# Files that are being written, or that a killed process left behind; scans skip hidden names.
PART_PREFIX, PART_SUFFIX = ".shopsight-", ".part"


def _part_beside(path: Path) -> Path:
    # A name of its own: with the target's in it, a long name would become too long.
    return path.with_name(f"{PART_PREFIX}{uuid.uuid4().hex[:12]}{PART_SUFFIX}")


@contextmanager
def atomic_file(path: Path | str, *, keep: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block succeeds.

    A reader never sees half a file, and a failure leaves what was there before.

    Args:
        path: The file to write; its folder is made.
        keep: When `path` cannot be replaced, keep what the block wrote in a file that the error
            names. Switched off for what the caller writes again later.

    Yields:
        Where the block writes.

    Raises:
        WriteError: The disk is full; the path is too long for Windows; or `path` cannot be
            replaced, mostly because another program has it open.
    """
    path = Path(path)
    check_path_length(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_beside(path)
    kept = False
    try:
        with _full_disk_named(path):
            yield part
            flush(part)
        try:
            replace(part, path)
        except OSError as error:
            kept = keep
            raise _not_replaced(path, part if keep else None, error) from error
    finally:
        if not kept:
            remove_file(part)
    flush(path.parent)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside `path`; swap it in for `path` when the block succeeds.

    Args:
        path: The folder to write.

    Yields:
        Where the block writes.

    Raises:
        WriteError: As `atomic_file`'s.
    """
    path = Path(path)
    check_path_length(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_beside(path)
    part.mkdir()
    kept = False
    try:
        with _full_disk_named(path):
            yield part
        try:
            _swap_in(part, path)
        except OSError as error:
            kept = True
            raise _not_replaced(path, part, error) from error
    finally:
        if not kept:
            remove_folder(part)
    flush(path.parent)


def _swap_in(part: Path, path: Path) -> None:
    """Rename the folder `part` to `path`; on an error both are what they were."""
    if not path.exists():
        replace(part, path)
        return
    # A folder that holds files cannot be renamed over: move the old one aside first.
    old = _part_beside(path)
    replace(path, old)
    try:
        replace(part, path)
    except OSError:
        replace(old, path)
        raise
    remove_folder(old)


def check_path_length(path: Path, *, reserve: int = 0) -> None:
    """Refuse a path that this system cannot open; only Windows has such a limit.

    Args:
        path: A file or folder.
        reserve: Characters that will be added to it: of the longest name below a folder.

    Raises:
        WriteError: It is too long.
    """
    most = longest_path()
    length = len(str(path.absolute())) + reserve
    if most is not None and length > most:
        raise WriteError(
            f"files in it would have paths of {length} characters; Windows opens {most}"
            if reserve
            else f"the path has {length} characters; Windows opens {most}",
            where=str(path),
            fix="1. a folder with a shorter path\n"
            "2. switch on long paths (docs/install.md says how), then start again",
        )


@contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that says which disk, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WriteError(
            f"the disk is full ({human_bytes(free_bytes(path.parent))} free)",
            where=str(path),
            fix="free some space, then run the same command again; what was there is unchanged",
        ) from error


def _not_replaced(path: Path, part: Path | None, error: OSError) -> WriteError:
    held = is_held(error)
    reason = "another program has it open" if held else error.strerror or type(error).__name__
    first = "close it there (Excel, a viewer, a virus scanner)" if held else "move it away"
    return WriteError(
        f"it could not be replaced: {reason}",
        where=str(path),
        details=[] if part is None else [f"what was to be written is in {part}"],
        fix=first if part is None else f"{first}, then rename {part.name} to {path.name}",
    )


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_file(path) as part:
        # The same bytes on every system: some files are hashed.
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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


_chosen_cache: ContextVar[Path | None] = ContextVar("shopsight_cache_dir", default=None)


@contextmanager
def use_cache_dir(folder: Path | str | None) -> Iterator[None]:
    """Keep decoded images and downloads below `folder` inside the block; None changes nothing."""
    if folder is None:
        yield
        return
    token = _chosen_cache.set(Path(folder).expanduser().absolute())
    try:
        yield
    finally:
        _chosen_cache.reset(token)


def cache_folder() -> Path:
    """Where decoded images and downloads are kept.

    The folder of `use_cache_dir` (the flag `--cache-dir`), else $SHOPSIGHT_CACHE, else
    ~/.cache/shopsight.
    """
    chosen = _chosen_cache.get()
    if chosen is not None:
        return chosen
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "shopsight")


def cache_folder_is_chosen() -> bool:
    """Whether `use_cache_dir` or $SHOPSIGHT_CACHE names the cache folder."""
    return _chosen_cache.get() is not None or bool(os.environ.get(CACHE_VARIABLE))
