"""Bytes to RGB: every format and mode, and every way to be broken."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shopsight.errors import ImageError
from shopsight.images.damage import find_damage
from shopsight.images.decode import Header, decode, header, read_bytes
from shopsight.images.png import check_checksums
from tests.images.samples import (
    HEIGHT,
    WIDTH,
    difference,
    jpeg,
    profile_with_swapped_primaries,
    saved,
    smooth,
)


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("PPM", 0), ("WEBP", 6), ("AVIF", 6), ("JPEG", 2)],
)
def test_formats(format: str, tolerance: float) -> None:
    data = saved(Image.fromarray(smooth()), format)
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    assert difference(pixels, smooth()) <= tolerance
    expected = {"PPM": "pnm"}.get(format, format.lower())
    assert header(data) == Header(expected, WIDTH, HEIGHT)


def test_gif_gives_its_first_frame() -> None:
    first = Image.new("RGB", (20, 10), (200, 30, 40))
    data = saved(first, "GIF", save_all=True, append_images=[Image.new("RGB", (20, 10), "blue")])
    assert tuple(decode(data)[5, 5]) == (200, 30, 40)


def test_animated_webp_gives_its_first_frame() -> None:
    first = Image.new("RGB", (20, 10), (200, 30, 40))
    more = [Image.new("RGB", (20, 10), "blue")]
    data = saved(first, "WEBP", save_all=True, append_images=more, lossless=True)
    assert tuple(decode(data)[5, 5]) == (200, 30, 40)


def test_gray_and_bilevel() -> None:
    gray = smooth()[:, :, 0]
    for format in ("PNG", "TIFF", "PPM", "JPEG"):
        pixels = decode(saved(Image.fromarray(gray), format))
        assert (pixels[:, :, 0] == pixels[:, :, 2]).all()
        assert difference(pixels[:, :, 1], gray) < 1
    bilevel = Image.fromarray(gray > 128)
    assert set(np.unique(decode(saved(bilevel, "PNG")))) == {0, 255}
    assert set(np.unique(decode(saved(bilevel, "TIFF")))) == {0, 255}


def test_16_bit() -> None:
    values = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    expected = np.round(values / 257).astype(np.uint8)
    for format in ("PNG", "TIFF"):
        assert difference(decode(saved(Image.fromarray(values), format))[:, :, 0], expected) < 0.01
    pgm = b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + values.astype(">u2").tobytes()
    assert difference(decode(pgm)[:, :, 1], expected) < 0.01
    encoded = cv2.imencode(".png", np.repeat(values[:, :, None], 3, axis=2))[1].tobytes()
    assert difference(decode(encoded)[:, :, 0], expected) <= 1


def test_transparency_lies_on_the_matte() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, : WIDTH // 2] = 255
    rgba = Image.fromarray(np.dstack([smooth(), alpha]))
    for data in (saved(rgba, "PNG"), saved(rgba, "WEBP", lossless=True)):
        pixels = decode(data, matte=(255, 0, 128))
        assert (pixels[:, WIDTH // 2 + 1 :] == (255, 0, 128)).all()
        assert difference(pixels[:, : WIDTH // 2], smooth()[:, : WIDTH // 2]) < 1
    half = np.dstack([smooth(), np.full_like(alpha, 128)])
    blended = decode(saved(Image.fromarray(half), "PNG"))
    assert difference(blended, (smooth().astype(float) * 128 + 255 * 127) / 255) < 1


def test_transparency_of_palettes_gray_and_color_keys() -> None:
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.paste(0, (0, 0, 5, 10))
    assert tuple(decode(saved(palette, "PNG"))[5, 8]) == (40, 50, 60)
    keyed = decode(saved(palette, "PNG", transparency=1), matte=(1, 2, 3))
    assert tuple(keyed[5, 8]) == (1, 2, 3)
    assert tuple(keyed[5, 2]) == (10, 20, 30)
    partial = saved(palette, "PNG", transparency=bytes([255, 0]))
    assert tuple(decode(partial, matte=(1, 2, 3))[5, 8]) == (1, 2, 3)
    la = Image.merge("LA", [Image.new("L", (4, 4), 90), Image.new("L", (4, 4), 0)])
    assert (decode(saved(la, "PNG")) == 255).all()
    color_key = saved(Image.new("RGB", (4, 4), (9, 8, 7)), "PNG", transparency=(9, 8, 7))
    assert (decode(color_key) == 255).all()


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str) -> None:
    rgb = smooth()
    cmyk = Image.fromarray(np.dstack([255 - rgb, np.zeros((HEIGHT, WIDTH), np.uint8)]), "CMYK")
    data = saved(cmyk, format, **({"quality": 95} if format == "JPEG" else {}))
    # Pillow writes CMYK JPEGs inverted, with Adobe's marker, as Photoshop does.
    assert (b"Adobe" in data) == (format == "JPEG")
    assert difference(decode(data), rgb) < 3
    assert decode(data, at_least_px=20).shape[0] >= 20


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(saved(Image.fromarray(smooth()), "PNG"))
    data = read_bytes(str(path))
    assert header(data).format == "png"
    assert (decode(data) == smooth()).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_truncated_files_give_a_reason(format: str, fraction: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * fraction)], where="a.jpg")
    assert caught.value.reason in {"truncated", "damaged", "not an image"}
    assert "a.jpg" in str(caught.value)


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_damage_in_any_png_chunk_shows_by_its_checksum(kind: bytes) -> None:
    text = PngInfo()
    text.add_text("title", "a red shoe")
    intact = saved(Image.fromarray(smooth()), "PNG", pnginfo=text)
    check_checksums(intact)
    data = bytearray(intact)
    data[intact.index(kind) + 9] ^= 0x55
    with pytest.raises(ImageError) as caught:
        check_checksums(bytes(data), where="a.png")
    assert caught.value.reason in {"damaged", "not an image"}
    assert "a.png" in str(caught.value)


def test_png_without_its_last_chunk() -> None:
    data = saved(Image.fromarray(smooth()), "PNG")[:-12]
    assert (decode(data) == smooth()).all()
    with pytest.raises(ImageError) as caught:
        check_checksums(data)
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "PPM"])
def test_other_formats_have_no_checksums_to_compare(format: str) -> None:
    check_checksums(saved(Image.fromarray(smooth()), format))


def test_what_is_no_image(tmp_path: Path) -> None:
    for content, reason in (
        (b"<html>Not found</html>", "not an image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "truncated"),
        (bytes(4) + b"ftypheic" + bytes(60), "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"%PDF-1.7", "not an image"),
    ):
        with pytest.raises(ImageError) as caught:
            decode(content)
        assert caught.value.reason == reason
        with pytest.raises(ImageError):
            header(content)
    for make, reason in (
        (lambda path: None, "missing"),
        (lambda path: path.touch(), "empty"),
        (lambda path: path.mkdir(), "not an image"),
    ):
        path = tmp_path / reason.replace(" ", "-")
        make(path)
        with pytest.raises(ImageError) as caught:
            read_bytes(str(path))
        assert caught.value.reason == reason
        assert str(path) in str(caught.value)


def bomb_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_unread() -> None:
    huge_jpeg = bytearray(jpeg())
    frame = huge_jpeg.index(b"\xff\xc0")
    huge_jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    for data in (bomb_png(60000), bytes(huge_jpeg), b"P6 99999 99999 255\n"):
        with pytest.raises(ImageError) as caught:
            decode(data)
        assert caught.value.reason == "too large"


@given(
    st.binary(max_size=60), st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
)
def test_any_bytes_decode_or_give_a_reason(content: bytes, format: str) -> None:
    data = saved(Image.fromarray(smooth(16, 12)), format)
    for broken in (content, data[:20] + content + data[20 + len(content) :]):
        # Anything but an ImageError fails the test.
        with suppress(ImageError):
            assert decode(broken).shape[2] == 3
        with suppress(ImageError):
            check_checksums(broken)


def test_many_threads_see_the_same() -> None:
    files = [
        jpeg(),
        saved(Image.fromarray(smooth()), "PNG"),
        saved(Image.fromarray(smooth()), "GIF"),
    ]
    files.append(jpeg(icc_profile=profile_with_swapped_primaries()))
    alone = [decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(decode, files * 20))
    for number, pixels in enumerate(threaded):
        assert (pixels == alone[number % len(files)]).all()


def test_a_cmyk_jpeg_without_its_end_is_refused_as_the_audit_does() -> None:
    whole = saved(Image.fromarray(smooth()).convert("CMYK"), "JPEG")
    cut = whole[:-2] + b"\xff\xe0"
    for verdict in (decode, find_damage):
        with pytest.raises(ImageError) as caught:
            verdict(cut)
        assert caught.value.reason == "truncated"
