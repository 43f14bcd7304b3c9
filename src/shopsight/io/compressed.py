"""Gzip's files, unpacked to no more than may be: a thousandth of a file can be all of it."""

from __future__ import annotations

import zlib

from shopsight.errors import ArchiveError, first_line

GZIP_MARK = b"\x1f\x8b"
_WITH_HEADER = zlib.MAX_WBITS | 16
_BLOCK_BYTES = 1 << 16
MOST_TIMES, FREE_BYTES = 200, 256 << 20
"""Content may have `FREE_BYTES`, and beyond them so many times the bytes of its file.

Tables of paths have 10 to 50 times; gzip reaches 1,032 with what says nothing, so that a megabyte
would take a gigabyte.
"""


def gunzip(data: bytes, *, most_bytes: int) -> bytes:
    """Unpack a gzip file, of several parts perhaps.

    Args:
        data: the file.
        most_bytes: the content may have, and no more than `MOST_TIMES` says.

    Raises:
        ArchiveError: "damaged" (also cut off), or "too large".
    """
    most_bytes = min(most_bytes, max(FREE_BYTES, MOST_TIMES * len(data)))
    if not data.startswith(GZIP_MARK):
        raise ArchiveError("damaged", "not a gzip file")
    blocks, size, unpacker = list[bytes](), 0, zlib.decompressobj(_WITH_HEADER)
    for at in range(0, len(data), _BLOCK_BYTES):
        packed = data[at : at + _BLOCK_BYTES]
        has_more = True
        while packed or has_more:
            if unpacker.eof:
                # Another part; or what fills up the last block, mostly zeros.
                start = min(at + _BLOCK_BYTES, len(data)) - len(packed)
                if data[start : start + len(GZIP_MARK)] != GZIP_MARK:
                    return b"".join(blocks)
                unpacker = zlib.decompressobj(_WITH_HEADER)
            blocks.append(_unpacked(unpacker, packed, _BLOCK_BYTES))
            size += len(blocks[-1])
            if size > most_bytes:
                raise ArchiveError("too large", f"unpacked it has more than {most_bytes:,} bytes")
            packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            has_more = len(blocks[-1]) == _BLOCK_BYTES and not unpacker.eof
    if not unpacker.eof:
        raise ArchiveError("damaged", "the gzip file is damaged or cut off: it ends early")
    return b"".join(blocks)


def gunzip_start(data: bytes, count: int) -> bytes:
    """The first `count` bytes that a gzip file, or its beginning, holds; fewer where it ends.

    Raises:
        ArchiveError: "damaged".
    """
    return _unpacked(zlib.decompressobj(_WITH_HEADER), data, count)


def _unpacked(unpacker: zlib._Decompress, data: bytes, most_bytes: int) -> bytes:
    try:
        return unpacker.decompress(data, most_bytes)
    except zlib.error as error:
        what = f"the gzip file is damaged or cut off: {first_line(error)}"
        raise ArchiveError("damaged", what) from error
