"""The one list of what an image file is, and what the first bytes of a file say."""

from __future__ import annotations

import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.decode import decode
from shopsight.images.kinds import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    KINDS,
    OTHER_SUFFIXES,
    SUFFIXES_OF_FORMAT,
    has_image_suffix,
    is_image_kind,
    kind_of_bytes,
)
from tests.images.samples import saved, smooth


def container(brand: bytes, *compatible: bytes) -> bytes:
    brands = brand + bytes(4) + b"".join(compatible)
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + bytes(200)


def archive(module: str) -> bytes:
    out = io.BytesIO()
    if module == "tar":
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.jpg"))
    else:
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("a.jpg", b"x")
    return out.getvalue()


def numpy_file() -> bytes:
    out = io.BytesIO()
    np.save(out, smooth())
    return out.getvalue()


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        *[(name, name.lower()) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")],
        *[("PPM", "pnm"), ("JPEG2000", "jpeg2000"), ("ICO", "ico"), ("TGA", "tga")],
        *[("MPO", "jpeg"), ("PCX", "pcx"), ("SGI", "sgi"), ("DDS", "dds"), ("EPS", "eps")],
        *[("ICNS", "icns"), ("QOI", "qoi"), ("PDF", "pdf")],
    ],
)
def test_every_format_by_the_file_that_pillow_writes(format: str, kind: str) -> None:
    data = saved(Image.fromarray(smooth(64, 64)), format)
    assert kind_of_bytes(data) == kind
    assert kind_of_bytes(data[:HEAD_BYTES]) == kind


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tga_rle"])
def test_tga_has_no_signature(mode: str, compression: str | None) -> None:
    image = Image.fromarray(smooth()).convert(mode)
    assert kind_of_bytes(saved(image, "TGA", compression=compression)) == "tga"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (container(b"heic", b"mif1", b"heic"), "heic"),
        (container(b"mif1", b"heic"), "heic"),
        (container(b"mif1", b"mif1", b"avif"), "avif"),
        (container(b"avis"), "avif"),
        (container(b"crx ", b"isom"), "raw"),
        (container(b"isom", b"mp42"), "video"),
        (container(b"qt  "), "video"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jpeg-xl"),
        (b"8BPS\x00\x01", "photoshop"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "raw"),
        (b"FUJIFILMCCD-RAW 0201", "raw"),
        (bytes(128) + b"DICM" + bytes(20), "dicom"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- Inkscape -->\n<svg >", "svg"),
        (b"\n\n<!DOCTYPE html><html>", "html"),
        (b"<!-- cached -->\n<HTML lang='de'>", "html"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>", "html"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "xml"),
        (b'{"message": "Not Found"}', "json"),
        (b"[{}]", "json"),
        (b"[InternetShortcut]\r\nURL=https://example.org/a.jpg", "text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-lfs"),
        (b"%PDF-1.7", "pdf"),
        (b"RIFF\x00\x01\x00\x00AVI LIST", "video"),
        (b"\x1aE\xdf\xa3\x01", "video"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "apple-double"),
        (bytes(3000), "zeros"),
        ("Straße\n".encode(), "text"),
        ("ß".encode() * 600, "text"),
        ("a" + "ß" * 600, "text"),
        ("path,label\n".encode("utf-16"), "text"),
        (archive("zip"), "archive"),
        (archive("tar"), "archive"),
        (numpy_file(), "numpy"),
        (b"", None),
        (b"\x00", None),
        (b"\x00\x00\x08\x03\x00\x00\x00\x0a\x00\x00\x00\x1c\x00\x00\x00\x1c", None),
        (b"\x80\x04\x95\x0b\x00\x00", None),
    ],
)
def test_what_the_first_bytes_say(head: bytes | str, kind: str | None) -> None:
    assert kind_of_bytes(head.encode() if isinstance(head, str) else head) == kind


def test_random_bytes_are_hardly_ever_an_image() -> None:
    rng = np.random.default_rng(0)
    kinds = [kind_of_bytes(rng.bytes(64)) for _ in range(20_000)]
    assert sum(is_image_kind(kind) for kind in kinds) <= 3


def test_no_suffix_belongs_to_two_kinds() -> None:
    assert sum(map(len, SUFFIXES_OF_FORMAT.values())) == len(IMAGE_SUFFIXES)
    assert not IMAGE_SUFFIXES & OTHER_SUFFIXES
    for suffix in IMAGE_SUFFIXES | OTHER_SUFFIXES:
        assert suffix == suffix.lower()
        assert suffix.rfind(".") == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[("a.JPG", True), ("IMG_1.HEIC", True), ("a.b/c.dng", True), ("logo.svg", True)],
        *[("a.jpg.txt", False), ("jpg", False), ("", False), ("a.", False), (".jpg", True)],
    ],
)
def test_suffixes(name: str, expected: bool) -> None:
    assert has_image_suffix(name) == expected


@pytest.mark.parametrize(
    ("data", "reason", "said"),
    [
        (b"<html>Not found</html>", "not an image", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "not an image", "git lfs pull"),
        (container(b"isom"), "not an image", "a video"),
        (archive("zip"), "not an image", "unpack it"),
        (b"%PDF-1.7", "not an image", "a PDF"),
        (bytes(500), "not an image", "nothing but zero bytes"),
        (b"8BPS\x00\x01" + bytes(40), "unsupported", "a Photoshop file, which is not read: export"),
        (b"\xff\x0a" + bytes(40), "unsupported", "a JPEG XL"),
        (b"\x01\x02\x03\x04\xfe", "not an image", r"starts with b'\x01\x02"),
    ],
)
def test_decoding_says_what_the_file_is(data: bytes, reason: str, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, where="a.jpg")
    assert caught.value.reason == reason
    assert said in caught.value.what
    assert "\n" not in caught.value.what


def test_every_kind_that_is_not_read_has_a_way_out() -> None:
    unread = {name for name, kind in KINDS.items() if kind.is_image and kind.way_out}
    assert {"heic", "jpeg-xl", "photoshop", "raw", "svg"} <= unread
    assert not unread & {"jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "pnm", "jpeg2000"}
