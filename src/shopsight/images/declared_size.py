"""How long a file should be by its own account: what ends before is cut off, whatever else it is.

Decoders say of a cut file what they happen to miss first ("could not create decoder object").
"""

from __future__ import annotations

import struct


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
