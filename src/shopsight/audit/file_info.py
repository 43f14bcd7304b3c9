"""What an audit needs to know of each file, by reading it once.

A JPEG is decoded strictly at 1/8 of its size: all its entropy-coded data is read, so damage is
noticed, but few pixels are computed. The results are kept by (path, size, modification time) while
they are made, so that an interrupted audit goes on where it was, and a second one reads only files
that changed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt8

from shopsight.audit.kept_info import STAMP, join_small_pieces, keep, read_known
from shopsight.audit.thumb_rows import empty_thumbs
from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError, LocationError
from shopsight.files import sha256_bytes
from shopsight.images.damage import check_whole
from shopsight.images.decode import (
    Header,
    decode,
    header,
    read_bytes,
)
from shopsight.images.decode_cost import jpeg_cost
from shopsight.images.decode_room import decoding, take_room
from shopsight.images.idx import idx_member
from shopsight.images.jpeg import decode_jpeg, is_jpeg, jpeg_header, shrink_for
from shopsight.images.orientation import upright
from shopsight.images.thumbnails import SMALLEST_COMPARED_PX, thumb, unpacked
from shopsight.io.access import PUBLIC, Access
from shopsight.io.confinement import place_of
from shopsight.prefetch import MAX_THREADS, core_count, prefetch
from shopsight.progress import task
from shopsight.text import fix_in_line

Status = Literal["ok", "damaged", "unreadable", "missing"]
STATUSES: tuple[Status, ...] = ("ok", "damaged", "unreadable", "missing")
"""The states of a file; see `FileInfo.status`."""

# Inside `FileInfo`, `bytes` is a count.
ThumbBytes = bytes

FILE_INFO_VERSION = 2
"""Version of what is kept; raised when the same file would get other results."""

_FILES_PER_CHUNK = 128
_FILES_PER_PIECE = 8192
# What a killed audit loses at most.
_SECONDS_PER_PIECE = 10.0
# Number of a file among those that are inspected.
_FILE = "file"
# Twice the thumbnail's side, so that each of its pixels is a mean of several, whatever the scale.
_SMALL_PX = 48

FILE_SCHEMA = pl.Schema(
    {
        "status": pl.String,
        "reason": pl.String,
        "problem": pl.String,
        "format": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "bytes": pl.Int64,
        "sha256": pl.String,
        "contrast": pl.Float32,
        "thumb": pl.Binary,
    }
)
_FACTS = {name: kind for name, kind in FILE_SCHEMA.items() if name != "thumb"}
_NO_STAMP = -1


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is known of one file.

    Attributes:
        status: "ok"; "damaged": decodes, but its content is corrupted; "unreadable"; "missing".
        reason: the `ImageError.reason`, empty when ok.
        problem: the reason in a sentence, empty when ok.
        format: "jpeg", "png", ..., by content; None when it does not decode.
        width: pixels of the upright image.
        height: pixels of the upright image.
        bytes: size of the file.
        sha256: hash of the file in hex.
        contrast: standard deviation of the strongest channel, in levels of 255; 0 is one color.
        thumb: see `shopsight.images.thumbnails`; None where the image is too small to be compared.
    """

    status: Status
    reason: str = ""
    problem: str = ""
    format: str | None = None
    width: int | None = None
    height: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    contrast: float | None = None
    thumb: ThumbBytes | None = None


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of the files of all rows.

    Attributes:
        files: one line per row, with the columns of `FileInfo` except `thumb`.
        thumbs: thumbnail of each row, zeros where there is none.
        has_thumb: where there is one.
    """

    files: pl.DataFrame
    thumbs: UInt8[np.ndarray, "n t"]
    has_thumb: Bool[np.ndarray, "n"]

    def take(self, rows: Int64[np.ndarray, "m"]) -> Inspection:
        """The same of these rows, in this order."""
        return Inspection(self.files[rows], self.thumbs[rows], self.has_thumb[rows])


def inspect(ref: str, access: Access = PUBLIC) -> FileInfo:
    """Read one file and decode it; what is wrong with it is in the result, never raised.

    Args:
        ref: a path or URL, see `images.decode.read_bytes`.
        access: which hosts in private networks may be asked.
    """
    try:
        data = read_bytes(ref, access)
    except ImageError as error:
        status: Status = "missing" if error.reason == "missing" else "unreadable"
        way_out = f" ({fix_in_line(error.fix)})" if error.fix else ""
        return FileInfo(status, error.reason, error.what + way_out)
    size, sha256 = len(data), sha256_bytes(data)
    status, reason, problem = "ok", "", ""
    try:
        head = header(data)
        with decoding():
            try:
                pixels = _small(data, strict=True)
            except ImageError as error:
                if error.reason != "damaged":
                    raise
                status, reason, problem = "damaged", error.reason, error.what
                pixels = _small(data, strict=False)
            found = FileInfo(status, reason, problem, bytes=size, sha256=sha256)
            return _file_info(pixels, head, found)
    except ImageError as error:
        return FileInfo("unreadable", error.reason, error.what, bytes=size, sha256=sha256)


def inspect_all(
    refs: Sequence[str],
    *,
    access: Access = PUBLIC,
    threads: int | None = None,
    kept: Path | None = None,
) -> Inspection:
    """Inspect every file once, however many rows name it.

    Args:
        refs: paths or URLs, one per row.
        access: which hosts in private networks may be asked.
        threads: None takes one per core.
        kept: a folder with the results of earlier audits, which is read and added to.
    """
    rows = pl.DataFrame({"ref": list(refs)}, schema={"ref": pl.String})
    distinct = rows["ref"].unique(maintain_order=True)
    files = stamped(distinct, access).with_row_index(_FILE)
    seen = _Seen(len(files))
    if kept is not None:
        for known in read_known(kept, files, pl.DataFrame(schema=FILE_SCHEMA)):
            seen.add(known)
    _inspect_files(
        files.filter(~pl.Series(seen.has_file)), access, threads or core_count(), seen, kept
    )
    if kept is not None:
        join_small_pieces(kept, pl.DataFrame(schema=FILE_SCHEMA))
    if len(files) == len(rows):
        return Inspection(seen.files(), seen.thumbs, seen.has_thumb)
    file = rows.join(files.select("ref", _FILE), on="ref", how="left", maintain_order="left")[_FILE]
    thumbs = empty_thumbs(len(rows))
    for some in np.array_split(np.arange(len(rows)), 1 + len(rows) // _FILES_PER_PIECE):
        thumbs[some] = seen.thumbs[file[some].to_numpy()]
    return Inspection(seen.files()[file], thumbs, seen.has_thumb[file.to_numpy()])


def inspect_catalog(
    catalog: Catalog, *, threads: int | None = None, remember: bool = True
) -> Inspection:
    """Inspect the files of all rows.

    Args:
        catalog: the images.
        threads: None takes one per core.
        remember: keep what is learned of each file in the cache folder, so that only files that
            changed are read again.
    """
    kept = known_path(catalog) if remember else None
    return inspect_all(catalog.refs(), access=catalog.access, threads=threads, kept=kept)


def known_path(catalog: Catalog) -> Path:
    """The folder that keeps what audits learned of a catalog's files."""
    return file_info_path(cache_folder(), str(Path(catalog.root).absolute()))


def file_info_path(folder: Path, root: str) -> Path:
    """The folder in a cache folder that keeps the results for the images under `root`."""
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return folder / "audit" / f"files-{FILE_INFO_VERSION}-{name}"


class _Seen:
    """What is known of the files so far.

    Args:
        count: number of files.

    Attributes:
        thumbs: thumbnail of each file, zeros where there is none.
        has_thumb: where there is one.
        has_file: which files are known.
    """

    def __init__(self, count: int) -> None:
        self.thumbs = empty_thumbs(count)
        self.has_thumb, self.has_file = np.zeros(count, bool), np.zeros(count, bool)
        self._parts: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame) -> None:
        """Add what is known of some files; what is known already stays."""
        part = part.filter(~pl.Series(self.has_file[part[_FILE].to_numpy()]))
        with_thumb = part.filter(pl.col("thumb").is_not_null())
        file = with_thumb[_FILE].to_numpy()
        self.thumbs[file] = unpacked(with_thumb["thumb"])
        self.has_thumb[file] = self.has_file[part[_FILE].to_numpy()] = True
        self._parts.append(part.select(_FILE, *_FACTS).rechunk())

    def files(self) -> pl.DataFrame:
        """The facts of all files, without thumbnails, in order."""
        empty = pl.DataFrame(schema={_FILE: pl.UInt32, **_FACTS})
        return pl.concat([empty, *self._parts], rechunk=True).sort(_FILE).drop(_FILE)


def _small(data: bytes, *, strict: bool) -> UInt8[np.ndarray, "h w 3"]:
    """A small upright version, without its color profile, on which nothing here depends."""
    checked = check_whole(data) if strict else None
    if not is_jpeg(data):
        return decode(data)
    jpeg = jpeg_header(data)
    shrink = shrink_for(jpeg.width, jpeg.height, _SMALL_PX, _SMALL_PX)
    if checked is None or shrink < 8:
        cost = jpeg_cost(jpeg, len(data), shrink=shrink)
        take_room(cost, size=(jpeg.width, jpeg.height), where=None)
        checked = decode_jpeg(data, jpeg, shrink=shrink)
    # The last row and column may cover only a fraction of a pixel. They are cut off below half of
    # one, so that copies of different sizes are not shifted against each other.
    height, width = (max(1, round(side / shrink)) for side in (jpeg.height, jpeg.width))
    return upright(np.ascontiguousarray(checked[:height, :width]), jpeg.orientation)


def _file_info(pixels: UInt8[np.ndarray, "h w 3"], head: Header, file: FileInfo) -> FileInfo:
    deviations = cv2.meanStdDev(pixels)[1]
    compared = min(head.width, head.height) >= SMALLEST_COMPARED_PX
    return FileInfo(
        status=file.status,
        reason=file.reason,
        problem=file.problem,
        format=head.format,
        width=head.width,
        height=head.height,
        bytes=file.bytes,
        sha256=file.sha256,
        contrast=float(deviations.max()),
        thumb=thumb(pixels).tobytes() if compared else None,
    )


def _inspect_files(
    files: pl.DataFrame, access: Access, threads: int, seen: _Seen, kept: Path | None
) -> None:
    """Inspect files, and keep what is learned piece by piece."""
    # A server is waited for, not computed: more threads than cores, and a few images each.
    remote = bool(files["ref"].str.contains("://", literal=True).any())
    each, threads = (1, max(threads, MAX_THREADS)) if remote else (_FILES_PER_CHUNK, threads)

    def inspect_chunk(start: int) -> pl.DataFrame:
        infos = [inspect(ref, access) for ref in files["ref"][start : start + each]]
        columns = {name: [getattr(info, name) for info in infos] for name in FILE_SCHEMA}
        found = pl.DataFrame(columns, schema=FILE_SCHEMA)
        return pl.concat([files[start : start + each], found], how="horizontal")

    waiting: list[pl.DataFrame] = []

    def settle() -> None:
        piece = pl.concat(waiting, rechunk=True)
        waiting.clear()
        seen.add(piece)
        if kept is not None:
            keep(kept, piece.drop(_FILE))

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
