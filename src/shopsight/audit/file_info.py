"""What an audit needs to know of each file, by reading it once.

A JPEG is decoded strictly at 1/8 of its size: all its entropy-coded data is read, so damage is
noticed, but few pixels are computed. The results are kept by (path, size, modification time), so
that a second audit reads only files that changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import polars as pl
from jaxtyping import Bool, UInt8

from shopsight.cache_place import cache_folder, unless_unwritable
from shopsight.errors import HeldFileError, ImageError, LocationError
from shopsight.files import atomic_file, sha256_bytes
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
from shopsight.images.thumbnails import SMALLEST_COMPARED_PX, THUMB_BYTES, thumb, unpacked
from shopsight.io.access import PUBLIC, Access
from shopsight.io.confinement import place_of
from shopsight.paths import is_url
from shopsight.prefetch import MAX_THREADS, core_count, prefetch
from shopsight.progress import task

Status = Literal["ok", "damaged", "unreadable", "missing"]
STATUSES: tuple[Status, ...] = ("ok", "damaged", "unreadable", "missing")
"""The states of a file; see `FileInfo.status`."""

# Inside `FileInfo`, `bytes` is a count.
ThumbBytes = bytes

FILE_INFO_VERSION = 2
"""Version of the cache file; raised when the same file would get other results."""

_FILES_PER_CHUNK = 128
# Twice the thumbnail's side, so that each of its pixels is a mean of several, whatever the scale.
_SMALL_PX = 48

_SCHEMA = pl.Schema(
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
_STAMP = {"ref": pl.String, "stamp_bytes": pl.Int64, "stamp_ns": pl.Int64}


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
        way_out = f" ({error.fix})" if error.fix else ""
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
        kept: a Parquet file with the results of earlier audits; it is read and updated.
    """
    rows = pl.DataFrame({"ref": list(refs)}, schema={"ref": pl.String})
    files = _stamped(rows["ref"].unique(maintain_order=True).to_list(), access)
    known = _known(files, kept)
    new = files.join(known, on="ref", how="anti")
    found = _inspect_files(new, access, threads or core_count())
    if kept is not None and found.height:
        _keep(pl.concat([known, found]), kept)
    everything = rows.join(pl.concat([known, found]), on="ref", how="left", maintain_order="left")
    has_thumb = everything["thumb"].is_not_null().to_numpy()
    thumbs = np.zeros((len(refs), THUMB_BYTES), np.uint8)
    thumbs[has_thumb] = unpacked(everything["thumb"].drop_nulls())
    files = everything.select(name for name in _SCHEMA if name != "thumb")
    return Inspection(files, thumbs, has_thumb)


def file_info_path(folder: Path, root: str) -> Path:
    """The file in a cache folder that keeps the results for the images under `root`."""
    name = hashlib.sha256(root.encode()).hexdigest()[:16]
    return folder / "audit" / f"files-{FILE_INFO_VERSION}-{name}.parquet"


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


def _inspect_files(files: pl.DataFrame, access: Access, threads: int) -> pl.DataFrame:
    refs = files["ref"].to_list()
    # A server is waited for, not computed: more threads than cores, and a few images each.
    remote = any(map(is_url, refs))
    each, threads = (1, max(threads, MAX_THREADS)) if remote else (_FILES_PER_CHUNK, threads)
    starts = range(0, len(refs), each)

    def inspect_chunk(number: int) -> pl.DataFrame:
        chunk = refs[starts[number] : starts[number] + each]
        infos = [inspect(ref, access) for ref in chunk]
        columns = {name: [getattr(info, name) for info in infos] for name in _SCHEMA}
        return pl.DataFrame(columns, schema=_SCHEMA)

    chunks = []
    with task("Reading images", total=len(refs)) as advance:
        for done in prefetch(inspect_chunk, range(len(starts)), threads=threads):
            chunks.append(done)
            advance(done.height)
    return pl.concat([files, pl.concat([pl.DataFrame(schema=_SCHEMA), *chunks])], how="horizontal")


def _stamped(refs: Sequence[str], access: Access) -> pl.DataFrame:
    """Each file with its size and modification time, null for URLs and missing files.

    Members of a container get the size and time of the container. Null as well for files that may
    not be read: what an audit with another access learned of them is not known to this one.
    """
    stamps: dict[str, tuple[int | None, int | None]] = {}

    def stamp(ref: str) -> tuple[int | None, int | None]:
        member = idx_member(ref)
        path = member[0] if member is not None else ref
        if path not in stamps:
            try:
                stat = Path(place_of(path, access.roots)).stat()
                stamps[path] = (stat.st_size, stat.st_mtime_ns)
            except (OSError, ValueError, LocationError):
                stamps[path] = (None, None)
        return stamps[path]

    found = [stamp(ref) for ref in refs]
    columns = (refs, [size for size, _ in found], [time_ns for _, time_ns in found])
    return pl.DataFrame(dict(zip(_STAMP, columns, strict=True)), schema=_STAMP)


def _known(files: pl.DataFrame, kept: Path | None) -> pl.DataFrame:
    """The files whose results were kept and that have not changed since."""
    nothing = pl.DataFrame(schema={**_STAMP, **_SCHEMA})
    try:
        if kept is None or not kept.is_file():
            return nothing
        before = pl.read_parquet(kept, glob=False)
    except (pl.exceptions.PolarsError, OSError):
        return nothing  # The user cannot fix it: the file is written again.
    if before.schema != nothing.schema:
        return nothing
    # Nulls match nothing: files without size and time are read again.
    return files.join(before, on=list(_STAMP), how="inner", maintain_order="left")


def _keep(files: pl.DataFrame, kept: Path) -> None:
    """Write the results; those of other files under the same root stay.

    What is too large for one memory budget may fit another.
    """
    files = files.filter(pl.col("stamp_ns").is_not_null(), pl.col("reason") != "too large")
    try:
        before = pl.read_parquet(kept, glob=False) if kept.is_file() else files.clear()
    except (pl.exceptions.PolarsError, OSError):
        before = files.clear()
    if before.schema == files.schema:
        files = pl.concat([files, before.join(files, on="ref", how="anti")])
    # Another audit may have it open: the next one keeps its results, or reads the files again.
    with unless_unwritable(cache_folder()), suppress(HeldFileError):  # noqa: SIM117 - in this order
        with atomic_file(kept, keep=False) as part:
            files.write_parquet(part)
