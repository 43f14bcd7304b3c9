"""Color and orientation: an ICC profile to sRGB, EXIF orientation to upright."""

from __future__ import annotations

import io
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

# A profile whose colors all lie within this many levels of sRGB is taken as sRGB: converting
# would cost more than the difference that anyone, or any network, could see.
_SAME_COLOR_LEVELS = 3
_CUBE_LEVELS = (0, 51, 102, 153, 204, 255)


def image_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An "L", "RGB" or "CMYK" image in `profile`, as sRGB.

    A profile that is broken or made for another kind of image is ignored, as browsers do.
    """
    transform = _transform(profile, image.mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def array_to_srgb(rgb: UInt8[np.ndarray, "h w 3"], profile: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """RGB pixels in `profile`, as sRGB; unchanged when the profile is sRGB's own."""
    if _transform(profile, "RGB") is None:
        return rgb
    return np.array(image_to_srgb(Image.fromarray(rgb), profile))


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from `profile` to sRGB, or None when there is nothing (sensible) to do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode == "RGB" and _is_identity(transform) else transform


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.array(_CUBE_LEVELS, np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(cube), transform)
    assert converted is not None
    difference = np.asarray(converted).astype(int) - cube
    return bool(np.abs(difference).max() <= _SAME_COLOR_LEVELS)


def upright(pixels: UInt8[np.ndarray, "h w c"], orientation: int) -> UInt8[np.ndarray, "h2 w2 c"]:
    """Apply an EXIF orientation, 1..8; anything else counts as 1."""
    match orientation:
        case 2:
            turned = cv2.flip(pixels, 1)
        case 3:
            turned = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(pixels, 0)
        case 5:
            turned = cv2.transpose(pixels)
        case 6:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180)
        case 8:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return pixels
    return np.asarray(turned).reshape(*turned.shape[:2], pixels.shape[2])
