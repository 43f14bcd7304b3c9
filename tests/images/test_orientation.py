"""The orientation of EXIF or XMP: read from every format, and applied."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from shopsight.images.decode import decode, header
from shopsight.images.orientation import exif_orientation, upright, upright_size
from tests.images.built_files import png_chunk, png_file
from tests.images.samples import HEIGHT, WIDTH, difference, jpeg, saved, smooth


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(
        format, {}
    )
    data = saved(Image.fromarray(smooth()), format, exif=exif, **options)
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: np.rot90,
    }[orientation]
    expected = turn(smooth())
    pixels = decode(data)
    assert difference(pixels, expected) < 3
    found = header(data)
    assert (found.height, found.width) == expected.shape[:2]


ATTRIBUTE = b"<rdf:Description xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/>"
ELEMENT = b"<rdf:Description><tiff:Orientation> 6 </tiff:Orientation></rdf:Description>"
FORMATS = ("JPEG", "CMYK", "PNG", "WEBP", "TIFF", "AVIF")


def with_metadata(format: str, xmp: bytes, exif: dict[int, object] | None = None) -> bytes:
    """An image whose blocks say how it is to be turned."""
    image = Image.fromarray(smooth())
    tags = Image.Exif()
    tags.update(exif or {})
    match format:
        case "PNG":
            text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
            extra = png_chunk(b"iTXt", text)
            extra += png_chunk(b"eXIf", tags.tobytes()[6:]) if exif else b""
            return png_file(smooth(), WIDTH, 8, 2, extra=extra)
        case "TIFF":
            return saved(image, "TIFF", tiffinfo={700: xmp, **(exif or {})})
        case "CMYK":
            return saved(image.convert("CMYK"), "JPEG", xmp=xmp, exif=tags.tobytes())
        case _:
            options = {"lossless": True} if format == "WEBP" else {"quality": 95}
            return saved(image, format, xmp=xmp, exif=tags.tobytes(), **options)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("xmp", [ATTRIBUTE, ELEMENT])
def test_xmp_turns_every_format_where_exif_says_nothing(format: str, xmp: bytes) -> None:
    for exif in (None, {0x010F: "a camera"}):
        data = with_metadata(format, xmp, exif)
        assert difference(decode(data), np.rot90(smooth(), -1)) < 4
        assert (header(data).width, header(data).height) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("format", FORMATS[:-1])
def test_exif_goes_before_xmp(format: str) -> None:
    """AVIF has neither: the container says how it is turned, and Pillow writes no "upright"."""
    data = with_metadata(format, ATTRIBUTE, {0x0112: 1})
    assert difference(decode(data), smooth()) < 4
    data = with_metadata(format, ATTRIBUTE, {0x0112: 3})
    assert difference(decode(data), np.rot90(smooth(), 2)) < 4


def test_orientation_in_a_big_endian_or_broken_exif() -> None:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    big = b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    broken = b"MM\x00*" + struct.pack(">IH", 8, 99) + entry[:6]
    for exif, shape in ((big, (WIDTH, HEIGHT)), (broken, (HEIGHT, WIDTH))):
        segment = b"Exif\x00\x00" + exif
        data = jpeg()
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        assert decode(data).shape[:2] == shape


@pytest.mark.parametrize("orientation", range(12))
@pytest.mark.parametrize("channels", [1, 3])
def test_upright_size_is_the_size_of_upright(orientation: int, channels: int) -> None:
    pixels = np.zeros((3, 5, channels), np.uint8)
    height, width, same_channels = upright(pixels, orientation).shape
    assert (width, height) == upright_size(5, 3, orientation)
    assert same_channels == channels


@pytest.mark.parametrize(
    "exif", [b"", b"II", b"II*\0", b"XX*\0\x08\0\0\0", b"MM\0*\xff\xff\xff\xff"]
)
def test_exif_that_is_cut_off_or_broken_is_upright(exif: bytes) -> None:
    assert exif_orientation(exif) is None


def test_pillow_reads_the_same_orientation() -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010F], exif[0x0112], exif[0x0132] = "Maker", orientation, "2026:01:01 00:00:00"
        block = exif.tobytes().removeprefix(b"Exif\0\0")
        assert exif_orientation(block) == orientation
