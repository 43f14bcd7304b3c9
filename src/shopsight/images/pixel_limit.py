"""How many pixels an image may have."""

from __future__ import annotations

from shopsight.errors import ImageError

MAX_PIXELS = 178_956_970
"""Larger images are refused unread: half a gigabyte as RGB, and Pillow's own limit."""


def check_pixels(width: int, height: int, where: str | None) -> None:
    """Refuse a decompression bomb: a small file whose header claims very many pixels.

    Args:
        width: as the header says.
        height: likewise.
        where: the file's name, for the error.

    Raises:
        ImageError: "too large", more than `MAX_PIXELS`.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(
            "too large", f"{width}x{height} is more than {MAX_PIXELS:,} pixels", where=where
        )
