"""Images and files that the tests of this folder share."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

WIDTH, HEIGHT = 90, 60


def smooth(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> UInt8[np.ndarray, "h w 3"]:
    """An image without fine detail, so that lossy formats keep it, different in every corner."""
    corners = np.random.default_rng(seed).integers(20, 236, (3, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The bytes of the file that Pillow writes."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(pixels: UInt8[np.ndarray, "h w 3"] | None = None, **options: object) -> bytes:
    """A JPEG of high quality, of `smooth()` unless said otherwise."""
    chosen = smooth() if pixels is None else pixels
    return saved(Image.fromarray(chosen), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference, in levels."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


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
