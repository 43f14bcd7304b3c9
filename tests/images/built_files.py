"""PNGs and TIFFs made byte by byte, of layouts that Pillow does not write."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk with its checksum."""
    length, checksum = len(content), zlib.crc32(kind + content)
    return struct.pack(">I", length) + kind + content + struct.pack(">I", checksum)


def png_file(rows: np.ndarray, width: int, depth: int, color: int, *, extra: bytes = b"") -> bytes:
    """A PNG of one IDAT.

    Args:
        rows: one row of packed pixels each, in the order of the file (big-endian).
        width: pixels.
        depth: bits per sample.
        color: 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGB with alpha.
        extra: chunks before the pixels.
    """
    head = struct.pack(">IIBBBBB", width, len(rows), depth, color, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", packed)
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def tiff_file(
    pixels: np.ndarray,
    *,
    photometric: int | None = None,
    sample_format: int = 1,
    planar: bool = False,
    bits: int | None = None,
    more: dict[int, tuple[int, ...]] | None = None,
    compression: int = 1,
) -> bytes:
    """An uncompressed TIFF of one strip (per plane), in the byte order of `pixels`.

    Args:
        pixels: (h, w) or (h, w, c), of the type that is to be stored.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, 8 CIELab; None: 1 or 2.
        sample_format: 1 unsigned, 2 signed, 3 floats.
        planar: store the channels one after the other.
        bits: per sample; None: those of the type.
        more: entries of 16 bits by tag.
        compression: what the file claims.
    """
    order = ">" if pixels.dtype.byteorder == ">" else "<"
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    content = (np.ascontiguousarray(pixels.transpose(2, 0, 1)) if planar else pixels).tobytes()
    strips = channels if planar else 1
    entries: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("H", (width,)),
        257: ("H", (height,)),
        258: ("H", (bits or pixels.dtype.itemsize * 8,) * channels),
        259: ("H", (compression,)),
        262: ("H", ((2 if channels >= 3 else 1) if photometric is None else photometric,)),
        277: ("H", (channels,)),
        278: ("H", (height,)),
        279: ("I", (len(content) // strips,) * strips),
        284: ("H", (2 if planar else 1,)),
        339: ("H", (sample_format,) * channels),
        **{tag: ("H", values) for tag, values in (more or {}).items()},
    }
    start = 8
    each = len(content) // strips
    entries[273] = ("I", tuple(start + number * each for number in range(strips)))
    directory_at = start + len(content)
    directory, beyond = b"", b""
    beyond_at = directory_at + 2 + 12 * len(entries) + 4
    for tag, (code, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        directory += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[code], len(values))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(f"{order}I", beyond_at + len(beyond))
            beyond += packed + bytes(len(packed) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory_at)
    count = struct.pack(f"{order}H", len(entries))
    return head + content + count + directory + bytes(4) + beyond
