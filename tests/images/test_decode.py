"""Bytes to RGB: every format and mode, orientation, profiles, and every way to be broken."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import UInt8
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from shopsight.errors import ImageError
from shopsight.images.decode import Header, check_png_checksums, decode, header, read_bytes
from shopsight.images.jpeg import decode_jpeg, jpeg_header, shrink_for

WIDTH, HEIGHT = 90, 60


def smooth(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> UInt8[np.ndarray, "h w 3"]:
    """An image without fine detail, so that lossy formats keep it, different in every corner."""
    corners = np.random.default_rng(seed).integers(20, 236, (3, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(pixels: UInt8[np.ndarray, "h w 3"] | None = None, **options: object) -> bytes:
    chosen = smooth() if pixels is None else pixels
    return saved(Image.fromarray(chosen), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


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


def test_orientation_in_a_big_endian_or_broken_exif() -> None:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    big = b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    broken = b"MM\x00*" + struct.pack(">IH", 8, 99) + entry[:6]
    for exif, shape in ((big, (WIDTH, HEIGHT)), (broken, (HEIGHT, WIDTH))):
        segment = b"Exif\x00\x00" + exif
        data = jpeg()
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
        assert decode(data).shape[:2] == shape


def profile_with_swapped_primaries() -> bytes:
    """SRGB with the red and the blue colorant exchanged: colors change, grays do not."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = int.from_bytes(profile[128:132], "big")
    places = {
        bytes(profile[132 + 12 * k : 136 + 12 * k]): struct.unpack_from(
            ">II", profile, 136 + 12 * k
        )
        for k in range(entries)
    }
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    red_bytes = bytes(profile[red[0] : sum(red)])
    profile[red[0] : sum(red)] = profile[blue[0] : sum(blue)]
    profile[blue[0] : sum(blue)] = red_bytes
    return bytes(profile)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profile_is_converted_to_srgb(format: str) -> None:
    rgb = smooth()
    options: dict[str, object] = {"quality": 95} if format in {"JPEG", "WEBP"} else {}
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = decode(saved(Image.fromarray(rgb), format, **options))
    kept = decode(saved(Image.fromarray(rgb), format, icc_profile=same, **options))
    assert difference(kept, plain) == 0
    swapped = decode(
        saved(Image.fromarray(rgb), format, icc_profile=profile_with_swapped_primaries(), **options)
    )
    assert difference(swapped, plain[:, :, ::-1]) < 2


def test_profile_of_transparent_and_broken_images() -> None:
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    rgba = Image.fromarray(np.dstack([smooth(), alpha]))
    swapped = decode(saved(rgba, "PNG", icc_profile=profile_with_swapped_primaries()))
    assert difference(swapped, smooth()[:, :, ::-1]) < 2
    plain = difference(decode(jpeg(icc_profile=b"no profile at all")), smooth())
    assert plain < 2
    gray = Image.fromarray(smooth()[:, :, 0])
    rgb_profile = decode(saved(gray, "JPEG", icc_profile=profile_with_swapped_primaries()))
    assert difference(rgb_profile[:, :, 0], smooth()[:, :, 0]) < 2


def test_progressive_and_trailing_bytes() -> None:
    assert difference(decode(jpeg(progressive=True)), smooth()) < 2
    assert difference(decode(jpeg() + b"trailing" * 9), smooth()) < 2


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(saved(Image.fromarray(smooth()), "PNG"))
    data = read_bytes(str(path))
    assert header(data).format == "png"
    assert (decode(data) == smooth()).all()


@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    min_width=st.integers(1, 300),
    min_height=st.integers(1, 300),
)
def test_shrink_never_goes_below(width: int, height: int, min_width: int, min_height: int) -> None:
    shrink = shrink_for(width, height, min_width, min_height)

    def enough(at: int) -> bool:
        return math.ceil(width / at) >= min_width and math.ceil(height / at) >= min_height

    assert shrink == 1 or enough(shrink)
    assert shrink == 8 or not enough(2 * shrink)


@pytest.mark.parametrize("at_least", [10, 60, 61, 120, 300])
def test_scaled_decode_is_the_small_image(at_least: int) -> None:
    large = smooth(400, 480)
    data = jpeg(large)
    small = decode(data, at_least_px=at_least)
    assert min(small.shape[:2]) >= at_least
    resized = cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert difference(small, np.asarray(resized)) < 2


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_truncated_files_give_a_reason(format: str, fraction: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), format)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * fraction)], where="a.jpg")
    assert caught.value.reason in {"truncated", "damaged", "not an image"}
    assert "a.jpg" in str(caught.value)


def test_jpeg_without_its_end_marker() -> None:
    data = jpeg()[:-2]
    assert difference(decode(data), smooth()) < 2
    with pytest.raises(ImageError, match="end marker"):
        decode_jpeg(data, jpeg_header(data), strict=True)


def test_damaged_jpeg_decodes_unless_strict() -> None:
    intact = jpeg(smooth(400, 300), quality=90)
    middle = len(intact) * 2 // 3
    data = intact[:middle] + b"\xff" * 40 + intact[middle + 40 :]
    with pytest.raises(ImageError) as caught:
        decode_jpeg(data, jpeg_header(data), strict=True)
    assert caught.value.reason == "damaged"
    assert decode(data).shape == (300, 400, 3)


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_damage_in_any_png_chunk_shows_by_its_checksum(kind: bytes) -> None:
    text = PngInfo()
    text.add_text("title", "a red shoe")
    intact = saved(Image.fromarray(smooth()), "PNG", pnginfo=text)
    check_png_checksums(intact)
    data = bytearray(intact)
    data[intact.index(kind) + 9] ^= 0x55
    with pytest.raises(ImageError) as caught:
        check_png_checksums(bytes(data), where="a.png")
    assert caught.value.reason in {"damaged", "not an image"}
    assert "a.png" in str(caught.value)


def test_png_without_its_last_chunk() -> None:
    data = saved(Image.fromarray(smooth()), "PNG")[:-12]
    assert (decode(data) == smooth()).all()
    with pytest.raises(ImageError) as caught:
        check_png_checksums(data)
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "PPM"])
def test_other_formats_have_no_checksums_to_compare(format: str) -> None:
    check_png_checksums(saved(Image.fromarray(smooth()), format))


def test_what_is_no_image(tmp_path: Path) -> None:
    for content, reason in (
        (b"<html>Not found</html>", "not an image"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "truncated"),
        (bytes(4) + b"ftypheic" + bytes(60), "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported"),
        (b"%PDF-1.7", "unsupported"),
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
            check_png_checksums(broken)


def test_idx_members(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 20), dtype=np.uint8)
    content = bytes((0, 0, 8, 3)) + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    plain, packed = tmp_path / "train-images-idx3-ubyte", tmp_path / "t10k-images-idx3-ubyte.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for container in (plain, packed):
        for index in range(3):
            data = read_bytes(f"{container}#{index}")
            assert header(data) == Header("pnm", 20, 28)
            assert (decode(data) == pixels[index][:, :, None]).all()
        with pytest.raises(ImageError, match="holds 3 images"):
            read_bytes(f"{container}#3")
    with pytest.raises(ImageError, match="no such file"):
        read_bytes(f"{tmp_path / 'absent-idx3-ubyte.gz'}#0")
    (tmp_path / "cut-idx3-ubyte").write_bytes(content[:-9])
    with pytest.raises(ImageError, match="9 bytes are missing"):
        read_bytes(f"{tmp_path / 'cut-idx3-ubyte'}#0")


def test_a_hash_in_an_ordinary_name(tmp_path: Path) -> None:
    path = tmp_path / "shirt#2.jpg"
    path.write_bytes(jpeg())
    assert decode(read_bytes(str(path))).shape == (HEIGHT, WIDTH, 3)


def test_urls_go_through_fsspec() -> None:
    import fsspec

    with fsspec.open("memory://photos/a.jpg", "wb") as file:
        file.write(jpeg())
    assert decode(read_bytes("memory://photos/a.jpg")).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ImageError, match="no such file"):
        read_bytes("memory://photos/absent.jpg")


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


def test_header_agrees_with_the_decoder() -> None:
    data = jpeg(smooth(123, 77), progressive=True)
    facts = jpeg_header(data)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    assert (facts.height, facts.width, facts.components) == (height, width, 3)
