"""What audits learned of files, kept in pieces: an interrupted audit goes on where it was.

A folder holds what is known of the files under one root, in Parquet files of random names. Each is
written beside and renamed, so it is whole or not there, and none is ever changed: audits side by
side add pieces of their own. A line holds for a file of the same path, size and modification time;
lines of files that have changed since match nothing. Many small pieces, as short audits leave them,
are joined. What earlier versions kept, one file beside the folder, is read as another piece.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl

from shopsight.cache_place import cache_folder, unless_unwritable
from shopsight.errors import HeldFileError, LocationError
from shopsight.files import atomic_file
from shopsight.held_files import remove_file
from shopsight.images.idx import idx_member
from shopsight.io.access import Access
from shopsight.io.confinement import place_of
from shopsight.io.parquet import read_parquet

STAMP = pl.Schema({"ref": pl.String, "stamp_bytes": pl.Int64, "stamp_ns": pl.Int64})
"""What a file is known by."""
MANY_PIECES = 64
"""So many small pieces are joined."""

_FEWEST_JOINED = 65_536
_SMALL_BYTES = 1_000_000
_MOST_JOINED = 256
_NO_STAMP = -1


def stamped(refs: pl.Series, access: Access) -> pl.DataFrame:
    """Each file with its size and modification time, null for URLs and missing files.

    Members of a container get the size and time of the container. Null as well for files that may
    not be read: what an audit with another access learned of them is not known to this one.
    """
    containers: dict[str, tuple[int, int]] = {}
    stamps = np.full((len(refs), 2), _NO_STAMP, np.int64)
    for number, ref in enumerate(refs):
        member = idx_member(ref)
        if member is None:
            stamps[number] = _stamp(ref, access)
            continue
        if member[0] not in containers:
            containers[member[0]] = _stamp(member[0], access)
        stamps[number] = containers[member[0]]
    columns = {"ref": refs, "stamp_bytes": stamps[:, 0], "stamp_ns": stamps[:, 1]}
    known = pl.col("stamp_bytes", "stamp_ns").replace(_NO_STAMP, None)
    return pl.DataFrame(columns, schema=STAMP).with_columns(known)


def _stamp(path: str, access: Access) -> tuple[int, int]:
    try:
        stat = Path(place_of(path, access.roots)).stat()
    except (OSError, ValueError, LocationError):
        return _NO_STAMP, _NO_STAMP
    return stat.st_size, stat.st_mtime_ns


def read_known(folder: Path, files: pl.DataFrame, like: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What was kept of files that have not changed since, a piece at a time.

    Args:
        folder: of the pieces; it need not exist.
        files: the files, with the columns of `STAMP` and others that stay.
        like: a table of what is known of a file. Pieces with other columns are passed over.

    Yields:
        Lines of `files`, those that a piece knows, with its columns. A file may come twice.
    """
    # Each join goes through all files, so pieces are joined together.
    at_once = max(_FEWEST_JOINED, len(files) // 16)
    waiting = [pl.DataFrame(schema={**STAMP, **like.schema})]
    for piece in _pieces(folder, like=waiting[0]):
        waiting.append(piece)
        if sum(map(len, waiting)) >= at_once:
            yield _of_files(files, pl.concat(waiting))
            del waiting[1:]
    yield _of_files(files, pl.concat(waiting))


def _pieces(folder: Path, *, like: pl.DataFrame) -> Iterator[pl.DataFrame]:
    earlier = folder.with_name(f"{folder.name}.parquet")
    for path in [earlier, *sorted(folder.glob("*.parquet"))]:
        piece = _read(path, like=like)
        if piece is not None:
            yield piece


def _read(path: Path, *, like: pl.DataFrame) -> pl.DataFrame | None:
    # What cannot be read the user cannot fix: its files are inspected again.
    with suppress(OSError, ValueError, LocationError):
        piece = read_parquet(path)
        if piece.schema == like.schema:
            return piece
    return None


def _of_files(files: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """The known of these files. Nulls match nothing: what has no size and time is read again."""
    known = known.unique(list(STAMP), keep="any")
    return files.join(known, on=list(STAMP), how="inner")


def keep(folder: Path, known: pl.DataFrame) -> None:
    """Add a piece; what has no size and time is left out, and so is what another setting changes.

    Where nothing can be written, that is said once, and nothing is kept.

    Args:
        folder: of the pieces.
        known: see `read_known`.
    """
    # What is too large for one memory budget may fit another.
    known = known.filter(pl.col("stamp_ns").is_not_null(), pl.col("reason") != "too large")
    if len(known):
        _write(folder, known)


def join_small_pieces(folder: Path, like: pl.DataFrame) -> None:
    """Join the small pieces of a folder, where there are many of them.

    The joined one is there before the others go: an audit that reads them at this moment inspects
    their files again at worst.

    Args:
        folder: of the pieces; it need not exist.
        like: see `read_known`.
    """
    small = [path for path in sorted(folder.glob("*.parquet")) if _is_small(path)][:_MOST_JOINED]
    if len(small) < MANY_PIECES:
        return
    empty = pl.DataFrame(schema={**STAMP, **like.schema})
    read = ((path, _read(path, like=empty)) for path in small)
    pieces = [(path, piece) for path, piece in read if piece is not None]
    joined = pl.concat([empty, *(piece for _, piece in pieces)]).unique(list(STAMP), keep="any")
    if len(pieces) > 1 and _write(folder, joined):
        for path, _ in pieces:
            remove_file(path)


def _is_small(path: Path) -> bool:
    with suppress(OSError):
        return path.stat().st_size < _SMALL_BYTES
    return False


def _write(folder: Path, piece: pl.DataFrame) -> bool:
    """Add a piece; whether it is there."""
    path = folder / f"{uuid.uuid4().hex[:12]}.parquet"
    with unless_unwritable(cache_folder()), suppress(HeldFileError):
        with atomic_file(path, keep=False) as part:
            piece.write_parquet(part)
        return True
    return False
