"""Bytes of files as they lie in folders of photos: good ones, broken ones, and other things."""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.images.built_files import png_chunk, png_file, tiff_file
from tests.images.samples import saved, smooth

WIDTH, HEIGHT = 26, 22


@functools.cache
def photo(number: int) -> bytes:
    """A JPEG unlike that of any other number."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    large = coarse.resize((WIDTH + number % 3, HEIGHT), Image.Resampling.BICUBIC)
    return saved(large, "JPEG", quality=90)


def _mode(mode: str, format: str, **options: object) -> bytes:
    return saved(Image.fromarray(smooth(WIDTH, HEIGHT)).convert(mode), format, **options)


def _animated(format: str) -> bytes:
    frames = [Image.fromarray(smooth(WIDTH, HEIGHT, seed=number)) for number in range(3)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:])


def _with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _mode("RGB", "JPEG", exif=exif)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("shoe/1.jpg", photo(1))
    return buffer.getvalue()


def _huge_png() -> bytes:
    """A PNG that says it has ten billion pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def _own_tail(data: bytes) -> bytes:
    return data + b"\0" * 40 + b"appended by a camera"


def _floats() -> np.ndarray:
    return np.linspace(0, 1, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)


def _sixteen() -> np.ndarray:
    return (_floats() * 65535).astype(np.uint16)


def _image(pixels: np.ndarray, format: str) -> bytes:
    return saved(Image.fromarray(pixels), format)


GOOD: dict[str, Callable[[], bytes]] = {
    **{f"photo {number}": functools.partial(photo, number) for number in range(24)},
    "gray": lambda: _mode("L", "JPEG"),
    "CMYK": lambda: _mode("CMYK", "JPEG"),
    "PNG": lambda: _mode("RGB", "PNG"),
    "RGBA": lambda: _mode("RGBA", "PNG"),
    "palette": lambda: _mode("P", "PNG"),
    "one bit": lambda: _mode("1", "PNG"),
    "WebP": lambda: _mode("RGB", "WEBP"),
    "GIF": lambda: _animated("GIF"),
    "APNG": lambda: _animated("PNG"),
    "BMP": lambda: _mode("RGB", "BMP"),
    "TIFF": lambda: _mode("RGB", "TIFF"),
    "pages": lambda: _animated("TIFF"),
    "ICO": lambda: _mode("RGBA", "ICO"),
    "TGA": lambda: _mode("RGB", "TGA"),
    "PPM": lambda: _mode("RGB", "PPM"),
    "16 bits": lambda: _image(_sixteen(), "PNG"),
    "float": lambda: _image(_floats(), "TIFF"),
    "turned": lambda: _with_exif(6),
    "one pixel": lambda: saved(Image.new("RGB", (1, 1)), "PNG"),
    "a line": lambda: saved(Image.new("RGB", (1, 300)), "PNG"),
    "tail": lambda: _own_tail(photo(3)),
}
ODD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "half a JPEG": lambda: photo(4)[: len(photo(4)) // 2],
    "head of a JPEG": lambda: photo(5)[:20],
    "JPEG of two bytes": lambda: b"\xff\xd8",
    "gap in a JPEG": lambda: photo(6)[:-120] + b"\0" * 60 + photo(6)[-60:],
    "half a PNG": lambda: _mode("RGB", "PNG")[:200],
    "head of a PNG": lambda: b"\x89PNG\r\n\x1a\n",
    "half a WebP": lambda: _mode("RGB", "WEBP")[:60],
    "half a GIF": lambda: _animated("GIF")[:80],
    "half a TIFF": lambda: _mode("RGB", "TIFF")[:90],
    "half a BMP": lambda: _mode("RGB", "BMP")[:100],
    "half an icon": lambda: _mode("RGBA", "ICO")[:30],
    "huge": _huge_png,
    "no such orientation": lambda: _with_exif(99),
    "ten-bit PNG": lambda: png_file(np.zeros((2, 30), np.uint8), 10, 10, 0),
    "floats beyond": lambda: _image(_floats() * 1e9, "TIFF"),
    "no numbers": lambda: _image(np.full((9, 9), np.nan, np.float32), "TIFF"),
    "TIFF without pixels": lambda: tiff_file(np.zeros((0, 0), np.uint8)),
    "page": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "LFS pointer": lambda: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
    ),
    "HEIC": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300),
    "AVIF head": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
    "JPEG XL": lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60),
    "PSD": lambda: b"8BPS\0\1" + bytes(60),
    "raw photo": lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(60),
    "SVG": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": lambda: b"%PDF-1.7\n%%EOF",
    "zip": _zip,
    "gzip": lambda: gzip.compress(photo(7), mtime=0),
    "video": lambda: b"\0\0\0\x18ftypmp42" + bytes(100),
    "text": lambda: b"image,label\na.jpg,shoe\n",
    "JSON": lambda: b'{"image": "a.jpg"}',
    "zeros": lambda: bytes(500),
    "NumPy": lambda: b"\x93NUMPY\x01\0" + bytes(100),
    "IDX": lambda: b"\0\0\x08\x03" + struct.pack(">III", 2, 4, 4) + bytes(32),
    "short IDX": lambda: b"\0\0\x08\x03" + struct.pack(">III", 9999, 400, 400) + bytes(32),
    "Parquet ends": lambda: b"PAR1" + bytes(40) + b"PAR1",
    "pickle": lambda: b"\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94.",
    "surprise": lambda: np.random.default_rng(5).bytes(700),
}


@functools.cache
def contents() -> dict[str, bytes]:
    """All files by what they are."""
    return {name: make() for name, make in (GOOD | ODD).items()}


def files(*, good: int = 6) -> st.SearchStrategy[str]:
    """Names of contents, photos and other good images `good` times as often as odd ones."""
    photos = [name for name in GOOD if name.startswith("photo")]
    often = [st.sampled_from(photos)] * good + [st.sampled_from([*GOOD])] * (good // 2)
    return st.one_of(*often, st.sampled_from([*ODD]))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file cut off, or with bytes changed, inserted or removed."""
    data = bytearray(contents()[draw(st.sampled_from([*contents()]))])
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(1, 40))
        change = draw(st.sampled_from(["cut", "zeros", "other", "insert", "remove"]))
        if change == "cut":
            del data[at:]
        elif change == "remove":
            del data[at : at + length]
        else:
            new = bytes(length) if change == "zeros" else draw(st.binary(max_size=length))
            end = at if change == "insert" else at + len(new)
            data[at:end] = new
    return bytes(data)
