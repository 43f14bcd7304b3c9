"""What audits learned of files, kept in pieces: an interrupted audit goes on where it was.

A folder holds what is known of the files under one root, in Parquet files of random names. Each is
written beside and renamed, so it is whole or not there, and none is ever changed: audits side by
side add pieces of their own. A line holds for a file of the same path, size and modification time;
lines of files that have changed since match nothing. What earlier versions kept, one file beside
the folder, is read as another piece.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl

from shopsight.cache_place import cache_folder, unless_unwritable
from shopsight.errors import HeldFileError
from shopsight.files import atomic_file

STAMP = pl.Schema({"ref": pl.String, "stamp_bytes": pl.Int64, "stamp_ns": pl.Int64})
"""What a file is known by."""
_FEWEST_JOINED = 65_536


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
        # What cannot be read the user cannot fix: its files are inspected again.
        with suppress(pl.exceptions.PolarsError, OSError):
            piece = pl.read_parquet(path, glob=False)
            if piece.schema == like.schema:
                yield piece


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
    if not len(known):
        return
    with unless_unwritable(cache_folder()), suppress(HeldFileError):  # noqa: SIM117 - in this order
        with atomic_file(folder / f"{uuid.uuid4().hex[:12]}.parquet", keep=False) as part:
            known.write_parquet(part)
