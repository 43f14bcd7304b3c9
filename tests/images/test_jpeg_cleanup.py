"""Which of libjpeg's warnings cost pixels: files with each oddity, built from real ones."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.damage import find_damage
from shopsight.images.decode import decode
from shopsight.images.jpeg import decode_jpeg, jpeg_header
from tests.images.samples import jpeg, smooth

Change = Callable[[bytes], bytes]


def before(marker: bytes, stray: bytes) -> Change:
    def change(data: bytes) -> bytes:
        at = data.index(marker)
        return data[:at] + stray + data[at:]

    return change


def at_the_end(padding: bytes) -> Change:
    return lambda data: data[:-2] + padding + data[-2:]


def revision_3(data: bytes) -> bytes:
    at = data.index(b"JFIF\0") + 5
    return data[:at] + b"\x03\x01" + data[at + 2 :]


def scan_of_zeros(data: bytes) -> bytes:
    start = data.index(b"\xff\xda")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return data[: end - 3] + b"\0\0\0" + data[end:]


def profile_in_parts(data: bytes) -> bytes:
    """The first of two parts of a profile, without the second."""
    return before(b"\xff\xdb", b"\xff\xe2\x00\x14ICC_PROFILE\x00\x01\x02abcd")(data)


ODDITIES: dict[str, Change] = {
    "stray zeros before the tables": before(b"\xff\xdb", bytes(10)),
    "stray bytes before the frame": before(b"\xff\xc0", b"shop"),
    "stray bytes before the scan": before(b"\xff\xda", b"\x01\x02\x03"),
    "fill bytes before the scan": before(b"\xff\xda", b"\xff\xff\xff"),
    "zeros before the end": at_the_end(bytes(200)),
    "a shop's footer": lambda data: data + b"<!-- cached -->",
    "JFIF revision 3": revision_3,
    "a scan that names no coefficients": scan_of_zeros,
    "part of a profile": profile_in_parts,
    "a comment": before(b"\xff\xdb", b"\xff\xfe\x00\x06abcd"),
    "all at once": lambda data: at_the_end(bytes(90))(
        before(b"\xff\xdb", b"\x07\x08")(profile_in_parts(revision_3(scan_of_zeros(data))))
    ),
}


def by_pillow(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("oddity", ODDITIES)
def test_what_cost_no_pixels_is_read_as_viewers_do(oddity: str) -> None:
    intact = jpeg(smooth(320, 240), quality=90)
    odd = ODDITIES[oddity](intact)
    assert odd != intact
    assert (decode(odd) == decode(intact)).all()
    assert np.abs(decode(odd).astype(int) - by_pillow(odd)).max() <= 1
    assert find_damage(odd) is None


@pytest.mark.parametrize("oddity", ODDITIES)
def test_an_oddity_does_not_hide_damage(oddity: str) -> None:
    intact = jpeg(smooth(320, 240), quality=90)
    scan = intact.index(b"\xff\xda")
    lost = intact[: scan + 400] + intact[scan + 600 :]
    assert find_damage(lost) is not None
    odd = ODDITIES[oddity](lost)
    assert find_damage(odd) is not None
    assert decode(odd).shape == (240, 320, 3)


def test_coded_data_that_ends_too_early_is_damage() -> None:
    data = jpeg(smooth(320, 240), quality=90)
    with pytest.raises(ImageError) as caught:
        decode_jpeg(at_the_end(b"\x5a" * 90)(data), jpeg_header(data), strict=True)
    assert caught.value.reason == "damaged"


def test_twelve_bits_are_not_supported() -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="8 bits") as caught:
        decode(bytes(data))
    assert caught.value.reason == "unsupported"
