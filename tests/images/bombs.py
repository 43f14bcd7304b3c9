"""Small files that ask for much memory or time, each made by code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from shopsight.images.png import SIGNATURE
from tests.images.built_files import png_chunk, tiff_file
from tests.images.samples import jpeg, profile_with_swapped_primaries, saved, smooth

ZEROS = 4_000_000


def png(kind: bytes, content: bytes, *, count: int = 1) -> bytes:
    """A PNG with chunks behind its header."""
    plain, at = saved(Image.fromarray(smooth()), "PNG"), len(SIGNATURE) + 25
    return plain[:at] + png_chunk(kind, content) * count + plain[at:]


def packed(head: bytes) -> bytes:
    """What is unpacked to a thousand times its size."""
    return head + zlib.compress(bytes(ZEROS), 9)


def jpeg_with(marker: int, contents: Sequence[bytes]) -> bytes:
    """A JPEG with segments behind its start."""
    segments = (bytes([0xFF, marker]) + struct.pack(">H", len(c) + 2) + c for c in contents)
    plain = jpeg()
    return plain[:2] + b"".join(segments) + plain[2:]


def profiled(profile: bytes) -> bytes:
    """A JPEG with a color profile."""
    each = 65_519
    parts = [profile[at : at + each] for at in range(0, len(profile), each)]
    head = b"ICC_PROFILE\0"
    return jpeg_with(
        0xE2, [head + bytes([n, len(parts)]) + part for n, part in enumerate(parts, start=1)]
    )


def table_profile(grid: int, table: bytes) -> bytes:
    """An RGB profile that says it has a table of `grid` points for each channel."""
    lut = b"mft2" + bytes(4) + bytes([3, 3, grid, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut += struct.pack(">HH6H", 2, 2, *[0, 65535] * 3) + table + b"\0\0\xff\xff" * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": lut + bytes(-len(lut) % 4), b"desc": b"desc" + bytes(92), b"wtpt": white}
    at, entries = 132 + 12 * len(tags), b""
    for name, content in tags.items():
        entries += name + struct.pack(">II", at, len(content))
        at += len(content)
    head = struct.pack(">I", at) + b"lcms\x02\x40\0\0prtrRGB Lab " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + b"".join(tags.values())


def scans(count: int) -> bytes:
    """A progressive JPEG of which the last scan comes again and again."""
    whole = jpeg(progressive=True)
    last = whole.rfind(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def gif(extension: bytes) -> bytes:
    """A GIF with something before its image."""
    plain = saved(Image.fromarray(smooth()).convert("P"), "GIF")
    at = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    return plain[:at] + extension + plain[at:]


def bigtiff(entries: int) -> bytes:
    """A BigTIFF whose directory says that it is long."""
    entry = struct.pack("<HHQQ", 256, 3, 1, 9)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, entries) + entry * min(entries, 9_000)


def tiff_of_shared_values(count: int) -> bytes:
    """A TIFF whose entries all have the whole file for their values."""
    entries = b"".join(
        struct.pack("<HHII", tag, 3, count, 8) for tag in (256, 257, 273, 279, 320, 324, 325)
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 7) + entries + bytes(2 * count)


def tiff_strips(count: int) -> bytes:
    """A TIFF of so many strips, each of one pixel."""
    tags = {256: 1, 257: count, 258: 8, 259: 1, 262: 1, 273: 0, 278: 1, 279: 0}
    lists_at = 8 + 2 + 12 * len(tags) + 4
    places = {273: (count, lists_at), 279: (count, lists_at + 4 * count)}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, *places.get(tag, (1, value))) for tag, value in tags.items()
    )
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    return head + struct.pack("<I", 8) * count + struct.pack("<I", 1) * count


def webp_of_size(width: int, height: int) -> bytes:
    """An extended WebP that says it is large."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    frame = saved(Image.new("RGB", (4, 4)), "WEBP")[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += b"ANMF" + struct.pack("<I", 16 + len(frame)) + bytes(6) + b"\3\0\0\3\0\0" + bytes(4)
    return b"RIFF" + struct.pack("<I", len(body) + len(frame)) + body + frame


def icon_of(image: bytes) -> bytes:
    """An icon of one PNG."""
    return struct.pack("<HHH4BHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(image), 22) + image


def png_head(width: int, height: int, depth: int, color: int) -> bytes:
    """The begin of a PNG."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return SIGNATURE + png_chunk(b"IHDR", head)


def huge_png(width: int, height: int, depth: int, color: int) -> bytes:
    """A PNG of zeros."""
    channels = {0: 1, 2: 3, 6: 4}[color]
    packer = zlib.compressobj(9)
    row = bytes(1 + width * channels * depth // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = png_head(width, height, depth, color)
    return head + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


QUICK: dict[str, tuple[Callable[[], bytes], str]] = {
    "packed text": (lambda: png(b"zTXt", packed(b"a\0\0")), "image"),
    "packed EXIF": (lambda: png(b"zTXt", packed(b"Raw profile type exif\0\0")), "too large"),
    "packed XMP": (lambda: png(b"iTXt", packed(b"XML:com.adobe.xmp\0\1\0\0\0")), "too large"),
    "packed profile": (lambda: png(b"iCCP", packed(b"a\0\0")), "too large"),
    "chunks": (lambda: png(b"tEXt", b"", count=200_000), "unsupported"),
    "scans": (lambda: scans(200), "unsupported"),
    "some scans": (lambda: scans(60), "image"),
    "segments": (lambda: jpeg_with(0xE1, [b""] * 100_000), "truncated"),
    "zeros among the scan": (
        lambda: jpeg()[:-40] + bytes(1_000_000) + b"\1" + jpeg()[-40:], "image",
    ),
    "EXIF entries": (lambda: jpeg_with(0xE1, [b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(65_000)]),
                     "image"),
    "XMP of blanks": (lambda: jpeg_with(
        0xE1, [b"http://ns.adobe.com/xap/1.0/\0tiff:Orientation" + b" " * 65_000] * 50), "image"),
    "table of 255^3 that is not there": (lambda: profiled(table_profile(255, bytes(99))), "image"),
    "table of 65^3": (lambda: profiled(table_profile(65, bytes(65**3 * 6))), "image"),
    "large profile": (
        lambda: profiled(profile_with_swapped_primaries() + bytes(9_000_000)), "image"),
    "comments in a GIF": (lambda: gif(b"\x21\xfe" + (b"\x40" + b"c" * 64) * 150_000 + b"\0"),
                          "unsupported"),
    "extensions of a GIF": (lambda: gif(b"\x21\xf9\x04\0\0\0\0\0" * 100_000), "unsupported"),
    "canvas of a GIF": (lambda: gif(b"")[:6] + b"\xff\xff\xff\xff" + gif(b"")[10:], "too large"),
    "entries of a BigTIFF": (lambda: bigtiff(1 << 60), "truncated"),
    "values of a TIFF": (lambda: tiff_of_shared_values(1_000_000), "truncated"),
    "strips of a TIFF": (lambda: tiff_strips(250_000), "unsupported"),
    "gigapixels of WebP": (lambda: webp_of_size(60_000, 60_000), "too large"),
    "canvas of a WebP": (lambda: webp_of_size(13_000, 13_000), "too large"),
    "icon": (lambda: icon_of(png_head(60_000, 60_000, 8, 0)), "too large"),
    "floats": (lambda: tiff_file(np.zeros((1, 1, 3), np.float64), sample_format=3,
                                 more={256: (50_000,), 257: (3_500,)}), "too large"),
    "PPM": (lambda: b"P6 13000 13000 255\n", "truncated"),
}  # fmt: skip
"""Each with what becomes of it, in 2 GB of addresses and a memory budget of 1 GB."""
LARGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "16 bits": (lambda: huge_png(10_000, 9_000, 16, 0), "image"),
    "16 bits beyond": (lambda: huge_png(13_000, 13_000, 16, 0), "too large"),
    "RGBA": (lambda: huge_png(9_000, 8_000, 8, 6), "image"),
    "RGBA beyond": (lambda: huge_png(13_000, 13_000, 8, 6), "too large"),
}
