"""The chunks of a PNG: its depth, its checksums, and a copy without broken extras and animation."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from shopsight.errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND"
MOST_CHUNKS = 200_000
"""An encoder puts 8 kB or more of pixels into a chunk, in all 30,000 of the largest file."""

_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Of texts, those that say the orientation. Others may be unpacked to a thousand times their size.
_USED_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# Length, kind and checksum.
_FRAME_BYTES = 12


def chunks(data: bytes, *, where: str | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Walk over the chunks, to the one that ends the image.

    Yields:
        The kind, and where its content starts and ends in `data`. The last end lies beyond `data`
        when the file is cut off there.

    Raises:
        ImageError: "unsupported", more than `MOST_CHUNKS`.
    """
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + 8 + length
        if kind == _END:
            return
        at += _FRAME_BYTES + length
    raise ImageError("unsupported", f"a PNG of more than {MOST_CHUNKS:,} chunks", where=where)


def depth_and_color(data: bytes) -> tuple[int, int]:
    """Bits per sample, and the color type (0 gray, 2 RGB, 3 palette, 4 and 6 with alpha)."""
    return data[24], data[25]


def check_checksums(data: bytes, *, where: str | None = None) -> None:
    """Compare the checksums of all chunks, which decoding does not.

    Args:
        data: the file; anything but a PNG passes.
        where: the file's name, for the error.

    Raises:
        ImageError: "damaged".
    """
    if not data.startswith(SIGNATURE):
        return
    kind = b""
    for kind, start, end in chunks(data, where=where):
        if not _is_intact(data, start, end):
            name = kind.decode("ascii", "replace")
            what = f"the checksum of PNG chunk {name} is wrong or cut off"
            raise ImageError("damaged", what, where=where)
    if kind != _END:
        raise ImageError("damaged", "the PNG's last chunk is missing", where=where)


def still(data: bytes, *, where: str | None = None) -> bytes:
    """Leave out what pixels do not need: animation, texts, and ancillary chunks that are broken.

    Viewers pass over broken text, times and profiles. Without the animation's chunks, what is wrong
    with them does not matter, and the first image is the same.

    Raises:
        ImageError: see `chunks`.
    """
    parts, kept = list[bytes](), 0
    for kind, start, end in chunks(data, where=where):
        needless = kind in _ANIMATION or (kind in _TEXT and not data.startswith(_USED_TEXTS, start))
        if needless or (_is_ancillary(kind) and not _is_intact(data, start, end)):
            parts.append(data[kept : start - 8])
            kept = end + 4
    return b"".join((*parts, data[kept:])) if parts else data


def _is_ancillary(kind: bytes) -> bool:
    """Bit 5 of the first letter, which makes it a small one, says "not needed for the pixels"."""
    return bool(kind[0] & 0x20)


def _is_intact(data: bytes, start: int, end: int) -> bool:
    if end + 4 > len(data):
        return False
    return zlib.crc32(data[start - 4 : end]) == int.from_bytes(data[end : end + 4], "big")
