"""Paths that cannot be written to, refused before any work is done."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from shopsight.errors import ConfigError, WriteError
from shopsight.held_files import SWITCH_ON_LONG_PATHS, limits_names, longest_path
from shopsight.safe_names import OTHER_NAME, PART_LENGTH, is_windows_name
from shopsight.text import as_unicode, is_unicode

PAGE_SUFFIXES = (".html", ".htm")
TABLE_SUFFIXES = (".csv", ".parquet", ".jsonl")
_LONGEST_NAME = 255
"""Bytes of the longest name of a file or folder; Windows counts its characters."""


def check_suffix(path: Path | str, suffixes: Sequence[str], *, things: str) -> Path:
    """Refuse a file whose name says that it will be of another format; gives the path back.

    Args:
        path: The file.
        suffixes: Of the formats that there are, in lower case; the name may have capitals.
        things: What is written, in the plural.

    Raises:
        ConfigError: Its suffix is none of them.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ConfigError(
            f"{things} are not written as {path.suffix!r}"
            if path.suffix
            else f"{things} are not written to a file without a suffix",
            where=str(path),
            fix=f"name a file that ends in {' or '.join(suffixes)}",
        )
    return path


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
    check_path(path, reserve=reserve)


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


def check_path(path: Path, *, reserve: int = 0) -> None:
    """Refuse a name or a length that the system does not take; see `check_output_path`.

    Raises:
        WriteError: It does not.
    """
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
                fix=OTHER_NAME,
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
