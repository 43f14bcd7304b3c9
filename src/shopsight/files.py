"""Files that are either there whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shopsight.control_characters import json_text
from shopsight.errors import DamagedFileError, ShopsightError, WriteError, first_line
from shopsight.held_files import (
    ON_WINDOWS,
    flush,
    flush_tree,
    remove_empty_folder,
    remove_file,
    remove_folder,
    replace,
)
from shopsight.leftovers import aside_of, bring_back, part_beside, sweep_once
from shopsight.output_paths import check_path
from shopsight.safe_names import KEPT_SUFFIX, folded_name
from shopsight.write_errors import folder_not_made, not_replaced, write_errors_named

PRIVATE = 0o700
"""Permissions of folders that shopsight makes, which have no meaning on Windows."""
_PERMISSIONS = 0o777
FLUSHES = 16
"""Files that the disk is asked to hold side by side."""


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
    check_path(path)
    make_folder(path.parent)
    sweep_once(path.parent)
    part = part_beside(path)
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
    _take_place(part, path, lambda: flush(part), keep=keep)
    flush(path.parent)


def _take_place(part: Path, path: Path, flushed: Callable[[], None], *, keep: bool) -> None:
    try:
        with write_errors_named(path):
            flushed()
        _keep_mode(path, part)
        replace(part, path)
    except WriteError:
        remove_file(part)
        raise
    except OSError as error:
        kept = _kept(part) if keep else None
        if not keep:
            remove_file(part)
        raise not_replaced(path, kept, error) from error


class FileGroup:
    """New files that take their places together, so that the disk confirms many at a time.

    Side by side, a disk confirms sixteen files in little more time than one. Until `settle`, a
    file lies under a temporary name; it never appears half-written.
    """

    def __init__(self) -> None:
        self._parts: dict[Path, Path] = {}
        self._written: set[Path] = set()
        self._folded: set[tuple[Path, str]] = set()
        self._errors: list[WriteError] = []

    def write(self, path: Path, content: bytes) -> None:
        """Write a file that takes its place later; its folder is made.

        Raises:
            WriteError: As `atomic_file`'s.
        """
        check_path(path)
        make_folder(path.parent)
        sweep_once(path.parent)
        part = part_beside(path)
        # Among a thousand names by chance two are now and then the same.
        while part in self._written:
            part = part_beside(path)
        try:
            with write_errors_named(path):
                part.write_bytes(content)
        except BaseException:
            remove_file(part)
            raise
        self._parts[path] = part
        self._written.add(part)
        self._folded.add((path.parent, folded_name(path.name)))

    def where(self, path: Path) -> Path:
        """Where a file of this group is now, and any other file."""
        if path not in self._parts and (path.parent, folded_name(path.name)) in self._folded:
            # Only the file system knows whether `A.jpg` is `a.jpg`.
            self._take_places()
        return self._parts.get(path, path)

    def settle(self) -> list[WriteError]:
        """Let all files take their places.

        Returns:
            Why files could not: the disk is full, or another program made a file of that name.
        """
        self._take_places()
        errors, self._errors = self._errors, []
        return errors

    def _take_places(self) -> None:
        parts, self._parts = self._parts, {}
        self._written.clear()
        self._folded.clear()
        with ThreadPoolExecutor(FLUSHES) as pool:
            flushes = [pool.submit(flush, part) for part in parts.values()]
        for (path, part), flushed in zip(parts.items(), flushes, strict=True):
            try:
                if path.exists():
                    remove_file(part)
                    raise WriteError("a file of this name appeared meanwhile", where=str(path))
                _take_place(part, path, flushed.result, keep=False)
            except WriteError as error:
                self._errors.append(error)
        for folder in {path.parent for path in parts}:
            flush(folder)


def _keep_mode(before: Path, after: Path) -> None:
    """Let those read what takes a place who could read what was there."""
    # A Windows folder hands its permissions down; a file's mode there is its read-only mark.
    if not ON_WINDOWS:
        with suppress(OSError):
            after.chmod(stat.S_IMODE(before.lstat().st_mode) & _PERMISSIONS)


def _kept(part: Path) -> Path:
    """Name what could not take its place as the user's, which nobody sweeps away."""
    kept = part.with_suffix(KEPT_SUFFIX)
    try:
        replace(part, kept)
    except OSError:
        return part
    return kept


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
    check_path(path)
    make_folder(path.parent)
    sweep_once(path.parent)
    bring_back(path)
    part, old = part_beside(path), aside_of(path) if path.exists() else None
    written = False
    try:
        with write_errors_named(path, needed_bytes=needed_bytes):
            part.mkdir(mode=PRIVATE)
            yield part
            flush_tree(part)
            if old is not None:
                old.parent.mkdir(mode=PRIVATE)
                _keep_mode(path, part)
        written = True
        _swap_in(part, path, old)
    except BaseException as error:
        if not (written and isinstance(error, WriteError)):
            remove_folder(part)
        if old is not None:
            remove_empty_folder(old.parent)
        raise
    flush(path.parent)


@contextmanager
def scratch_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside `path` for what is not kept, such as a download.

    What a killed process leaves in it, `shopsight.leftovers` removes; in the system's folder for
    temporary files it would stay. Within an `atomic_folder` of the same path, it is removed before
    that one takes its place: where the result is there, nothing else is.

    Args:
        path: Beside which; its folder is made.

    Raises:
        WriteError: The folder cannot be made, or the disk is full.
    """
    path = Path(path)
    make_folder(path.parent)
    sweep_once(path.parent)
    scratch = part_beside(path)
    try:
        make_folder(scratch)
        yield scratch
    finally:
        remove_folder(scratch)


def _swap_in(part: Path, path: Path, old: Path | None) -> None:
    """Rename the folder `part` to `path`; on an error both are what they were.

    Killed between the two renames, `shopsight.leftovers` brings the old one back.

    Args:
        part: The new folder.
        path: Its name from now on.
        old: Where the folder is moved that has this name, if there is one. A folder that holds
            files cannot be renamed over.

    Raises:
        WriteError: One of them is held; `part` is kept.
    """
    try:
        if old is not None:
            replace(path, old)
    except OSError as error:
        raise not_replaced(path, _kept(part), error) from error
    try:
        replace(part, path)
    except OSError as error:
        kept = _kept(part)
        if old is not None:
            _put_back(old, path, kept, error)
        raise not_replaced(path, kept, error) from error
    if old is not None:
        remove_folder(old.parent)


def _put_back(old: Path, path: Path, kept: Path, reason: OSError) -> None:
    try:
        replace(old, path)
    except OSError:
        error = not_replaced(path, kept, reason)
        raise type(error)(
            error.what,
            where=error.where,
            details=[*error.details, f"what was there before is in {old}"],
            fix=f"{error.fix}, or {old.parent.name}/{old.name}",
        ) from reason


def discard_folder(path: Path) -> None:
    """Remove a folder, whole or not at all, as far as nothing of it is held."""
    if not path.exists():
        return
    part = part_beside(path)
    try:
        replace(path, part)
    except OSError:
        part = path
    remove_folder(part)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for this user alone.

    Folders that are there stay as they are: who else may read is their owner's to say.

    Raises:
        WriteError: It cannot be made, or the system takes no such path: then none of them is made.
    """
    check_path(folder)
    missing = [folder, *folder.parents]
    try:
        while missing and missing[-1].is_dir():
            missing.pop()
        for each in reversed(missing):
            each.mkdir(mode=PRIVATE, exist_ok=True)
    except OSError as error:
        raise folder_not_made(folder, error) from error


def write_text(path: Path | str, text: str, *, keep: bool = True) -> None:
    """Write UTF-8 text, whole or not at all; `keep` is that of `atomic_file`."""
    with atomic_file(path, keep=keep) as part:
        # The same bytes on every system: some files are hashed.
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json_text(value, indent=2) + "\n")


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


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(values: Any) -> str:
    """SHA-256 of plain values as JSON, in hexadecimal; the order of a mapping's keys is none."""
    return sha256_bytes(json.dumps(values, sort_keys=True).encode())


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
