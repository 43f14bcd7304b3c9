"""What an audit needs to know of all files, by reading each once.

The results are kept by (path, size, modification time) while they are made, so that an interrupted
audit goes on where it was, and a second one reads only files that changed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt8

from shopsight.audit.inspect_file import FILE_SCHEMA, inspect, inspect_and_measure
from shopsight.audit.kept_info import STAMP, join_small_pieces, keep, read_known, stamped
from shopsight.audit.seen_files import FILE, SeenFiles
from shopsight.audit.thumb_rows import empty_thumbs
from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.image_rules.file_measures import MEASURES, MEASURES_VERSION
from shopsight.io.access import PUBLIC, Access
from shopsight.prefetch import MAX_THREADS, core_count, prefetch
from shopsight.progress import task

FILE_INFO_VERSION = 2
"""Version of what is kept; raised when the same file would get other results."""

_FILES_PER_CHUNK = 128
_MEASURED_PER_CHUNK = 16
_FILES_PER_PIECE = 8192
# What a killed audit loses at most.
_SECONDS_PER_PIECE = 10.0

_FACTS = pl.Schema({name: kind for name, kind in FILE_SCHEMA.items() if name != "thumb"})
# Column of the measures, in what is learned of files that are measured.
_MEASURES = "measures"


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of the files of all rows.

    Attributes:
        files: one line per row, with the columns of `FileInfo` except `thumb`.
        thumbs: thumbnail of each row, zeros where there is none.
        has_thumb: where there is one.
        measures: one line per row, see `FileMeasures`; None where nothing was measured.
    """

    files: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    has_thumb: Bool[np.ndarray, "n"]
    measures: pl.DataFrame | None = None

    def take(self, rows: Int64[np.ndarray, "m"]) -> Inspection:
        """The same of these rows, in this order."""
        measures = None if self.measures is None else self.measures[rows]
        return Inspection(self.files[rows], self.thumbs[rows], self.has_thumb[rows], measures)


def inspect_all(
    refs: Sequence[str],
    *,
    access: Access = PUBLIC,
    threads: int | None = None,
    kept: Path | None = None,
    measured: bool = False,
) -> Inspection:
    """Inspect every file once, however many rows name it.

    Args:
        refs: paths or URLs, one per row.
        access: which hosts in private networks may be asked.
        threads: None takes one per core.
        kept: a folder with the results of earlier audits, which is read and added to.
        measured: measure also what rules about images ask for, which decodes at full size.
    """
    rows = pl.DataFrame({"ref": list(refs)}, schema={"ref": pl.String})
    distinct = rows["ref"].unique(maintain_order=True)
    files = stamped(distinct, access).with_row_index(FILE)
    seen = SeenFiles(len(files), pl.DataFrame(schema=_FACTS))
    places = _Places(kept, None if kept is None or not measured else _measures_place(kept))
    places.read(files, seen)
    known = seen.has_file & seen.has_measures if measured else seen.has_file
    unknown = files.filter(~pl.Series(known))
    _inspect_files(unknown, access, threads or core_count(), seen, places, measured=measured)
    places.join()
    measures = seen.measures() if measured else None
    if len(files) == len(rows):
        return Inspection(seen.files(), seen.thumbs, seen.has_thumb, measures)
    file = rows.join(files.select("ref", FILE), on="ref", how="left", maintain_order="left")[FILE]
    thumbs = empty_thumbs(len(rows))
    for some in np.array_split(np.arange(len(rows)), 1 + len(rows) // _FILES_PER_PIECE):
        thumbs[some] = seen.thumbs[file[some].to_numpy()]
    measures = None if measures is None else measures[file]
    return Inspection(seen.files()[file], thumbs, seen.has_thumb[file.to_numpy()], measures)


def inspect_catalog(
    catalog: Catalog,
    *,
    threads: int | None = None,
    remember: bool = True,
    measured: bool = False,
) -> Inspection:
    """Inspect the files of all rows.

    Args:
        catalog: the images.
        threads: None takes one per core.
        remember: keep what is learned of each file in the cache folder, so that only files that
            changed are read again.
        measured: see `inspect_all`.
    """
    return inspect_all(
        catalog.refs(),
        access=catalog.access,
        threads=threads,
        kept=known_path(catalog) if remember else None,
        measured=measured,
    )


def known_path(catalog: Catalog) -> Path:
    """The folder that keeps what audits learned of a catalog's files."""
    return file_info_path(cache_folder(), str(Path(catalog.root).absolute()))


def file_info_path(folder: Path, root: str) -> Path:
    """The folder in a cache folder that keeps the results for the images under `root`."""
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return folder / "audit" / f"files-{FILE_INFO_VERSION}-{name}"


def _measures_place(kept: Path) -> Path:
    return kept.with_name(f"measures-{MEASURES_VERSION}-{kept.name}")


@dataclass(frozen=True)
class _Places:
    """The folders that keep what is learned; None keeps nothing.

    Attributes:
        files: of what is known of each file.
        measures: of what rules ask for.
    """

    files: Path | None
    measures: Path | None

    def read(self, files: pl.DataFrame, seen: SeenFiles) -> None:
        """Add what earlier audits kept of these files."""
        if self.files is not None:
            for known in read_known(self.files, files, pl.DataFrame(schema=FILE_SCHEMA)):
                seen.add(known)
        if self.measures is not None:
            for known in read_known(self.measures, files, pl.DataFrame(schema=MEASURES)):
                seen.add_measures(known)

    def keep(self, piece: pl.DataFrame) -> None:
        """Keep what was learned of some files."""
        if self.files is not None:
            keep(self.files, piece.select(*STAMP, *FILE_SCHEMA))
        if self.measures is not None:
            keep(self.measures, piece.select(*STAMP, _MEASURES).unnest(_MEASURES))

    def join(self) -> None:
        """Join the small pieces, where there are many."""
        for place, schema in ((self.files, FILE_SCHEMA), (self.measures, MEASURES)):
            if place is not None:
                join_small_pieces(place, pl.DataFrame(schema=schema))


def _inspect_files(
    files: pl.DataFrame,
    access: Access,
    threads: int,
    seen: SeenFiles,
    places: _Places,
    *,
    measured: bool,
) -> None:
    """Inspect files, and keep what is learned piece by piece."""
    # A server is waited for, not computed: more threads than cores, and a few images each.
    remote = bool(files["ref"].str.contains("://", literal=True).any())
    each, threads = (1, max(threads, MAX_THREADS)) if remote else (_FILES_PER_CHUNK, threads)
    each = min(each, _MEASURED_PER_CHUNK) if measured else each

    def inspect_chunk(start: int) -> pl.DataFrame:
        found = _inspected(files["ref"][start : start + each].to_list(), access, measured=measured)
        return pl.concat([files[start : start + each], found], how="horizontal")

    waiting: list[pl.DataFrame] = []

    def settle() -> None:
        piece = pl.concat(waiting, rechunk=True)
        waiting.clear()
        seen.add(piece)
        if measured:
            seen.add_measures(piece.select(FILE, _MEASURES).unnest(_MEASURES))
        places.keep(piece)

    settled_at_s = time.monotonic()
    try:
        with task("Reading images", total=len(files)) as advance:
            for done in prefetch(inspect_chunk, range(0, len(files), each), threads=threads):
                waiting.append(done)
                advance(len(done))
                late = time.monotonic() - settled_at_s > _SECONDS_PER_PIECE
                if late or sum(map(len, waiting)) >= _FILES_PER_PIECE:
                    settle()
                    settled_at_s = time.monotonic()
    finally:
        if waiting:
            settle()


def _inspected(refs: Sequence[str], access: Access, *, measured: bool) -> pl.DataFrame:
    """What is learned of some files, with a column of measures where these are asked for."""
    pairs = [inspect_and_measure(ref, access) for ref in refs] if measured else []
    infos = [info for info, _ in pairs] if measured else [inspect(ref, access) for ref in refs]
    columns = {name: [getattr(info, name) for info in infos] for name in FILE_SCHEMA}
    found = pl.DataFrame(columns, schema=FILE_SCHEMA)
    if not measured:
        return found
    values = {name: [getattr(one, name) for _, one in pairs] for name in MEASURES}
    return found.with_columns(pl.DataFrame(values, schema=MEASURES).to_struct(_MEASURES))
