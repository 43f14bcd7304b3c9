"""PNG: the checksums, which Pillow does not compare for the pixels' own chunks."""

from __future__ import annotations

import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def broken_chunk(data: bytes) -> str | None:
    """What is wrong with a PNG's chunks, or None (also when these bytes are no PNG)."""
    if not data.startswith(SIGNATURE):
        return None
    view = memoryview(data)
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        kind, end = bytes(view[at + 4 : at + 8]), at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return f"checksum of PNG chunk {kind!r} does not match"
        if kind == b"IEND":
            return None
        at = end + 4
    return None if at > len(data) else "the PNG ends before its last chunk"
