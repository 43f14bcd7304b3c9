"""What stands before the first image of a GIF: extensions, each of blocks of at most 255 bytes."""

from __future__ import annotations

from shopsight.errors import ImageError

MOST_BLOCKS = 100_000
"""Pillow takes some microseconds for each; this many hold 25 MB of comments or XMP."""

_HEADER_BYTES = 13
_EXTENSION = 0x21


def check_blocks(data: bytes, *, where: str | None = None) -> None:
    """Refuse a GIF that has more than `MOST_BLOCKS` before its first image.

    Args:
        data: the file.
        where: the file's name, for the error.

    Raises:
        ImageError: "unsupported".
    """
    at, blocks = _HEADER_BYTES, 0
    if len(data) > 10 and data[10] & 0x80:
        at += 3 * 2 ** ((data[10] & 7) + 1)
    while at + 2 < len(data) and data[at] == _EXTENSION:
        at += 2
        while at < len(data) and data[at]:
            at, blocks = at + 1 + data[at], blocks + 1
        at, blocks = at + 1, blocks + 1
        if blocks > MOST_BLOCKS:
            what = f"a GIF of more than {MOST_BLOCKS:,} blocks before its first image"
            raise ImageError("unsupported", what, where=where)
