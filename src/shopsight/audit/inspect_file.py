"""What an audit needs to know of one file, by reading it once.

A JPEG is decoded strictly at 1/8 of its size: all its entropy-coded data is read, so damage is
noticed, but few pixels are computed. What rules about images ask for is measured at full size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import polars as pl
from jaxtyping import UInt8

from shopsight.errors import ImageError
from shopsight.files import sha256_bytes
from shopsight.image_rules.file_measures import FileMeasures, measure_file
from shopsight.images.damage import check_whole
from shopsight.images.decode import Header, decode, header, read_bytes
from shopsight.images.decode_cost import jpeg_cost
from shopsight.images.decode_room import decoding, take_room
from shopsight.images.jpeg import decode_jpeg, is_jpeg, jpeg_header, shrink_for
from shopsight.images.orientation import upright
from shopsight.images.thumbnails import SMALLEST_COMPARED_PX, thumb
from shopsight.io.access import PUBLIC, Access
from shopsight.text import fix_in_line

Status = Literal["ok", "damaged", "unreadable", "missing"]
STATUSES: tuple[Status, ...] = ("ok", "damaged", "unreadable", "missing")
"""The states of a file; see `FileInfo.status`."""

# Inside `FileInfo`, `bytes` is a count.
ThumbBytes = bytes

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


def inspect(ref: str, access: Access = PUBLIC) -> FileInfo:
    """Read one file and decode it; what is wrong with it is in the result, never raised.

    Args:
        ref: a path or URL, see `images.decode.read_bytes`.
        access: which hosts in private networks may be asked.
    """
    data = _read(ref, access)
    return data if isinstance(data, FileInfo) else _inspect_bytes(data)


def inspect_and_measure(ref: str, access: Access = PUBLIC) -> tuple[FileInfo, FileMeasures]:
    """Read one file, decode it, and measure what rules about images ask of it; see `inspect`."""
    data = _read(ref, access)
    info = data if isinstance(data, FileInfo) else _inspect_bytes(data)
    if isinstance(data, FileInfo) or info.width is None:
        return info, FileMeasures(info.reason)
    return info, measure_file(data)


def _read(ref: str, access: Access) -> bytes | FileInfo:
    """The bytes of a file; what is wrong where there are none."""
    try:
        return read_bytes(ref, access)
    except ImageError as error:
        status: Status = "missing" if error.reason == "missing" else "unreadable"
        way_out = f" ({fix_in_line(error.fix)})" if error.fix else ""
        return FileInfo(status, error.reason, error.what + way_out)


def _inspect_bytes(data: bytes) -> FileInfo:
    size, sha256 = len(data), sha256_bytes(data)
    status: Status = "ok"
    reason = problem = ""
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
