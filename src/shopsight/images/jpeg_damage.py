"""Damage in a JPEG that its decoder does not notice.

A JPEG has no checksum. Overwritten bytes show when the bits no longer fit, but in compact files
the decoder finds its step again after a few blocks and reports nothing; from there to the end the
brightness is off by a constant. That can often be proved: pixels have 8 bits, so no 8x8 block of
an intact file has a mean beyond black or white. The decoder hides such means by clipping. So the
first (DC) entry of the luma quantization table is made smaller, which draws all block means towards
gray without touching the coded data; they are decoded at 1/8 of the size and stretched again.

Measured on 960 photos of clothes (29 kB each) with 16 overwritten bytes: the strict decoder alone
notices 57 %, with this 81 to 83 %; of 5,756 intact ones none is accused (their means lie at most
2 levels beyond black or white, and 3.3 are allowed).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import simplejpeg
from jaxtyping import Float32, UInt8

from shopsight.errors import ImageError
from shopsight.images.jpeg import FRAME_MARKERS, JpegHeader, decode_jpeg, segments

_QUANTISATION_TABLES = 0xDB
# Halving leaves room for 128 levels on either side, and rounds to two levels at most.
_SHRINK = 2
# Rounding in the encoder's colors, in the decoder and in stretching.
_ROUNDING_LEVELS = 3.0

# RGB to luma, Cr, Cb of JFIF.
_TO_LUMA_CHROMA = np.array(
    [[0.299, 0.587, 0.114], [0.5, -0.418688, -0.081312], [-0.168736, -0.331264, 0.5]]
)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A file with a smaller DC entry.

    Attributes:
        data: the file.
        stretch: of each component, what undoes it.
        step: the original DC entry of the luma table.
    """

    data: bytes
    stretch: tuple[float, ...]
    step: int


def checked_eighth(
    data: bytes, header: JpegHeader, *, where: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode strictly at 1/8 of the size, as stored, refusing impossible block means too.

    Raises:
        ImageError: "truncated" or "damaged".
    """
    drawn = _drawn(data)
    if drawn is None or not _has_luma(data):
        return decode_jpeg(data, header, shrink=8, strict=True, where=where)
    small = decode_jpeg(drawn.data, header, shrink=8, strict=True, where=where)
    means = _stretched(small, drawn.stretch)
    luma = means @ _TO_LUMA_CHROMA[0].astype(np.float32)
    beyond = max(float(luma.max()) - 127, -128 - float(luma.min()))
    # A DC coefficient is off by up to half its step, which is an eighth of that in levels.
    if beyond > _ROUNDING_LEVELS + drawn.step / 16:
        raise ImageError(
            "damaged",
            f"the means of some blocks are {beyond:.0f} levels beyond black or white",
            where=where,
        )
    return np.asarray(np.clip(np.rint(means + 128), 0, 255), np.uint8)


def _stretched(
    small: UInt8[np.ndarray, "h w 3"], stretch: tuple[float, ...]
) -> Float32[np.ndarray, "h w 3"]:
    """RGB less 128, each component stretched; one matrix from RGB to RGB."""
    centred = np.asarray(small, np.float32) - np.float32(128)
    if len(stretch) == 1:
        return np.asarray(centred * np.float32(stretch[0]))
    luma, blue, red = stretch
    each = np.diag([luma, red, blue])
    matrix = np.linalg.inv(_TO_LUMA_CHROMA) @ each @ _TO_LUMA_CHROMA
    return np.asarray(centred @ matrix.T.astype(np.float32))


def _has_luma(data: bytes) -> bool:
    """Whether the components are luma (and chroma), not RGB or CMYK."""
    try:
        colorspace = simplejpeg.decode_jpeg_header(data)[2]
    except ValueError:
        return False
    return colorspace in {"YCbCr", "Gray"}


def _drawn(data: bytes) -> _Drawn | None:
    """The file with a smaller DC entry of luma; None when it has no such table, or it is 1."""
    places: dict[int, tuple[int, str]] = {}
    tables: list[int] = []
    for marker, start, end in segments(data):
        if end > len(data):
            return None
        if marker == _QUANTISATION_TABLES:
            places |= _dc_places(data, start, end)
        elif marker in FRAME_MARKERS and end - start >= 6:
            tables = [data[at] for at in range(start + 8, end, 3)]
    if len(tables) not in {1, 3} or tables[0] not in places:
        return None
    at, entry = places[tables[0]]
    (before,) = struct.unpack_from(entry, data, at)
    after = max(1, before // _SHRINK)
    if after >= before:
        return None
    changed = bytearray(data)
    struct.pack_into(entry, changed, at, after)
    stretch = tuple(before / after if table == tables[0] else 1.0 for table in tables)
    return _Drawn(bytes(changed), stretch, before)


def _dc_places(data: bytes, start: int, end: int) -> dict[int, tuple[int, str]]:
    """Where the first entry of each table in a segment lies, and how it is packed, by number."""
    places = {}
    at = start
    while at + 2 < end:
        wide, table = data[at] >> 4, data[at] & 0x0F
        places[table] = (at + 1, ">H" if wide else ">B")
        at += 1 + 64 * (2 if wide else 1)
    return places
