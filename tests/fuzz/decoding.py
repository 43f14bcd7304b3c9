"""Files of every format that is read, broken in many ways, and what decoding owes to each."""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from shopsight.audit.inspect_file import inspect
from shopsight.errors import ImageError
from shopsight.images.decode import decode, header
from shopsight.images.model_input import preprocess_image
from shopsight.images.png import SIGNATURE, chunks
from shopsight.memory import use_memory_budget
from shopsight.preprocess import Preprocess
from tests.fuzz import mutations
from tests.fuzz.file_bytes import GOOD, HEIGHT, WIDTH, contents
from tests.images.built_files import png_chunk, tiff_file
from tests.images.samples import profile_with_swapped_primaries, saved, smooth

# Less than the process may have: libraries take some, and end it where they get none.
BUDGET_GB = 1.0
SIZE_PX = 32


def decoded(path: Path) -> str:
    """Decode a file in all ways: an upright RGB array, or an `ImageError`."""
    data = path.read_bytes()
    with use_memory_budget(BUDGET_GB):
        info = inspect(str(path))
        try:
            size = header(data)
            pixels = decode(data)
            square = preprocess_image(data, Preprocess(size_px=SIZE_PX))
        except ImageError as error:
            return error.reason
    assert (pixels.dtype, pixels.shape) == (np.uint8, (size.height, size.width, 3))
    assert square.shape == (SIZE_PX, SIZE_PX, 3)
    assert info.status in {"ok", "damaged"}, f"decodes, and the audit says {info}"
    return "image"


def _of(format: str, mode: str = "RGB", **options: object) -> bytes:
    return saved(Image.fromarray(smooth(WIDTH, HEIGHT)).convert(mode), format, **options)


def _wide(format: str, kind: type = np.uint16, **options: object) -> bytes:
    ramp = np.linspace(0, 255 if kind is np.float32 else 65535, WIDTH * HEIGHT)
    return saved(Image.fromarray(ramp.reshape(HEIGHT, WIDTH).astype(kind)), format, **options)


def _with_chunk(data: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    at = len(SIGNATURE) + 25
    return data[:at] + png_chunk(kind, content) + data[at:]


@functools.cache
def seeds() -> dict[str, bytes]:
    """Whole files, one or more of each format and way of coding."""
    profile = profile_with_swapped_primaries()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    packed = b"icc\0\0" + zlib.compress(profile)
    exif = Image.Exif()
    exif[0x0112] = 6
    more = {
        "progressive": _of("JPEG", progressive=True),
        "restarts": _of("JPEG", restart_marker_blocks=2),
        "CMYK profile": _of("JPEG", "CMYK", icc_profile=lab),
        "profile": _of("JPEG", icc_profile=profile, exif=exif),
        "PNG profile": _with_chunk(_of("PNG"), b"iCCP", packed),
        "PNG key": _with_chunk(_of("PNG"), b"tRNS", bytes(6)),
        "gray and alpha": _of("PNG", "LA"),
        "TIFF LZW": _of("TIFF", compression="tiff_lzw"),
        "TIFF deflate": _of("TIFF", "RGBA", compression="tiff_adobe_deflate"),
        "TIFF JPEG": _of("TIFF", compression="jpeg"),
        "TIFF fax": _of("TIFF", "1", compression="group4"),
        "TIFF CMYK": _of("TIFF", "CMYK", compression="packbits"),
        "TIFF LAB": _of("TIFF", "LAB"),
        "TIFF 16": _wide("TIFF"),
        "TIFF floats": tiff_file(np.ones((9, 7, 3), np.float32), sample_format=3),
        "WebP lossless": _of("WEBP", "RGBA", lossless=True, icc_profile=profile),
        "WebP exif": _of("WEBP", exif=exif),
        "WebP animated": saved(
            Image.fromarray(smooth(WIDTH, HEIGHT)), "WEBP", save_all=True,
            append_images=[Image.new("RGB", (WIDTH, HEIGHT))],
        ),
        "AVIF": _of("AVIF", "RGBA", speed=10),
        "JPEG 2000": _of("JPEG2000"),
        "codestream": _of("JPEG2000", no_jp2=True),
        "GIF part": _of("GIF", "P", transparency=3),
        "BMP palette": _of("BMP", "P"),
        "ICO BMP": _of("ICO", "RGBA", bitmap_format="bmp"),
        "TGA RLE": _of("TGA", compression="tga_rle"),
        "PPM 16": b"P6\n5 4\n65535\n" + bytes(range(120)),
        "PGM text": b"P2\n3 2\n255\n" + b"1 2 3 250 5 6\n",
    }  # fmt: skip
    whole = {name: data for name, data in contents().items() if name in GOOD}
    photos = {name for name in whole if name.startswith("photo ") and name != "photo 0"}
    return {name: data for name, data in (whole | more).items() if name not in photos}


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many broken files with their names, the same for the same seed."""
    rng = random.Random(seed)
    for name, data in mutations.mutants(seeds(), count, seed):
        is_to_pass = data.startswith(SIGNATURE) and rng.random() < 0.7
        yield name, _with_right_checksums(data) if is_to_pass else data


def _with_right_checksums(data: bytes) -> bytes:
    """Let a changed PNG come past its checksums, to what they guard."""
    out = io.BytesIO(data)
    try:
        for _, start, end in chunks(data):
            if end + 4 <= len(data):
                out.seek(end)
                out.write(struct.pack(">I", zlib.crc32(data[start - 4 : end])))
    except ImageError:
        pass
    return out.getvalue()
