"""A copy of a published data set on this machine: where its parts lie, and which are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from shopsight.errors import SourceError
from shopsight.io.local_files import read_file
from shopsight.text import counted, lines_of, listed

LIST_BYTES = 1 << 30
"""The most that a published list of images may have."""
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_LOOKED_INTO = 64


def copy_folder(
    root: Path | None,
    name: str,
    *,
    parts: Sequence[str],
    inside: Sequence[str] = (),
    publisher: str,
) -> Path:
    """The folder that holds the parts of a published data set.

    Args:
        root: what the user named; None where nothing was.
        name: of the data set.
        parts: files, and folders with a slash at their end, that must be in it; see `part_of`.
        inside: folders below `root` in which the parts may lie, as its archive unpacks.
        publisher: where a copy can be had.

    Raises:
        SourceError: `root` is None, or parts are missing; the archives that lie there are named.
    """
    layout = listed(parts)
    if root is None:
        raise SourceError(
            f"{name} is read from a copy on this machine, and none was named",
            where=name,
            details=[f"its publisher: {publisher}"],
            fix=f"--root FOLDER with {layout}",
        )
    homes = [root, *(root / folder for folder in inside)]
    lacking = {home: [part for part in parts if part_of(home, part) is None] for home in homes}
    found = min(homes, key=lambda home: len(lacking[home]))
    if lacking[found]:
        raise SourceError(
            f"{listed(lacking[found])} {'is' if len(lacking[found]) == 1 else 'are'} missing",
            where=str(found),
            details=[f"{name} has {layout}"],
            fix=_unpack(found) or f"--root FOLDER with {layout}",
        )
    return found.absolute()


def part_of(home: Path, part: str) -> Path | None:
    """A part of a copy where it lies: in its own place, or, as many keep it, directly in the copy.

    Args:
        home: the folder of the copy.
        part: `Eval/list.txt`, or a folder with a slash at its end.
    """
    for path in (home / part, home / Path(part).name):
        if path.is_dir() if part.endswith("/") else path.is_file():
            return path
    return None


def require_folders(root: Path, folders: Sequence[str], *, named_by: str) -> None:
    """Refuse a copy of which whole folders of images are missing.

    Args:
        root: what the folders are relative to.
        folders: of images.
        named_by: the list that names them.

    Raises:
        SourceError: some are not there; they are named.
    """
    wanted = sorted(set(folders))
    missing = [f"{folder}/" for folder in wanted if not (root / folder).is_dir()]
    if missing:
        raise SourceError(
            f"{len(missing):,} of {counted(len(wanted), 'folder')} of images that {named_by} names "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            where=str(root),
            details=missing,
            fix=_unpack(root)
            or f"copy them there; a part of the images is read as a folder, shopsight audit {root}",
        )


def read_word_table(
    path: Path, columns: Sequence[str], *, begins_with_count: bool = False
) -> pl.DataFrame:
    """Read a published list: words between blanks, under a line of column names.

    Args:
        path: the file.
        columns: their names, as published.
        begins_with_count: the first line is the number of rows.

    Returns:
        The columns, all String.

    Raises:
        SourceError: the file cannot be read, has other columns, or is cut off.
    """
    try:
        lines = lines_of(read_file(path, most_bytes=LIST_BYTES).decode())
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise SourceError("is damaged: it is no text", where=str(path)) from error
    count = lines.pop(0).strip() if begins_with_count and lines else ""
    header = lines.pop(0).split() if lines else []
    if header != list(columns) or (begins_with_count and not count.isdecimal()):
        raise SourceError(
            f"is not the published list, whose columns are {', '.join(columns)}",
            where=str(path),
            details=[f"it begins with {' '.join([count, *header]).strip()[:80]!r}"],
        )
    while lines and not lines[-1].strip():
        lines.pop()
    words = pl.Series(lines, dtype=pl.String).str.extract_all(r"\S+")
    odd = (words.list.len() != len(columns)).arg_true()
    if len(odd):
        row = int(odd[0])
        raise SourceError(
            f"is damaged: row {row + 1:,} has {counted(len(words[row]), 'cell')}, not "
            f"{len(columns)}",
            where=str(path),
            details=[f"{lines[row][:80]!r}"],
        )
    if begins_with_count and int(count) != len(lines):
        raise SourceError(
            f"is cut off: it says {int(count):,} rows and has {len(lines):,}", where=str(path)
        )
    return pl.DataFrame([words.list.get(at).alias(name) for at, name in enumerate(columns)])


def _unpack(folder: Path) -> str:
    """How to unpack the archives that lie in a folder; empty without any."""
    if not folder.is_dir():
        return ""
    names = sorted(path.name for path in folder.iterdir())[:_LOOKED_INTO]
    archives = [name for name in names if name.lower().endswith(_ARCHIVES)]
    return f"unpack {listed(archives)} there" if archives else ""
