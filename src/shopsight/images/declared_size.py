"""What a file says of itself before a decoder sees it: its length, and how many pixels it has.

What ends before its length is cut off, whatever else it is: decoders say of a cut file what they
happen to miss first ("could not create decoder object"). And some readers take memory for all
pixels as soon as they open a file.
"""

from __future__ import annotations

import struct

_PNG = b"\x89PNG\r\n\x1a\n"


def is_cut_off(kind: str, data: bytes) -> bool:
    """Whether a file ends before its containers do; False for kinds that have none.

    Args:
        kind: as `kinds.kind_of_bytes` names it.
        data: the file.
    """
    match kind:
        case "webp":
            return len(data) < 12 or 8 + int.from_bytes(data[4:8], "little") > len(data)
        case "avif" | "heic":
            return _end_of_boxes(data) > len(data)
        case _:
            return False


def size_before_opening(kind: str, data: bytes) -> tuple[int, int] | None:
    """Width and height for which a reader takes memory when it opens a file.

    Args:
        kind: as `kinds.kind_of_bytes` names it.
        data: the file.

    Returns:
        None for kinds whose reader takes none, and where the header is cut off.
    """
    try:
        match kind:
            case "webp":
                return _extended_webp_size(data)
            case "ico":
                return _largest_icon(data)
    except struct.error:
        pass
    return None


def _extended_webp_size(data: bytes) -> tuple[int, int] | None:
    """The canvas of an extended WebP; plain ones have at most 2^14 pixels a side."""
    if data[12:16] != b"VP8X":
        return None
    low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
    return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1


def _largest_icon(data: bytes) -> tuple[int, int]:
    """The largest of the images of an icon: each is a PNG, or a BMP that counts its mask's rows."""
    (count,) = struct.unpack_from("<H", data, 4)
    largest = (0, 0)
    for entry in range(count):
        (at,) = struct.unpack_from("<I", data, 6 + 16 * entry + 12)
        if data.startswith(_PNG, at):
            size = struct.unpack_from(">II", data, at + 16)
        else:
            width, height = struct.unpack_from("<ii", data, at + 4)
            size = (abs(width), abs(height) // 2)
        largest = max(largest, size, key=lambda side: side[0] * side[1])
    return largest


def _end_of_boxes(data: bytes) -> int:
    """Where the last of the top boxes of an ISO container ends; beyond `data` where that is cut."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            return at + 8
        size, kind = struct.unpack_from(">I4s", data, at)
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        elif size == 0:
            return len(data)  # The last box may leave its size open.
        if size < 8 or not kind.isascii():
            return len(data)  # No box: the decoder judges it.
        at += size
    return at
