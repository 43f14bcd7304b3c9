"""Color profiles: from the ICC profile that comes with an image to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

# A profile that moves no color by more than this many levels is taken as sRGB. Cameras and editors
# write sRGB in a dozen versions, which differ by one or two levels after rounding; converting costs
# as much as decoding does, and 3 of 255 levels are below what JPEG's own rounding changes.
_SAME_COLOR_LEVELS = 3
# Colors at which a profile is compared with sRGB: a cube of six levels per channel. Profiles are
# smooth (a curve per channel and a matrix, or a table), so what differs, differs on this grid.
_CUBE_LEVELS = (0, 51, 102, 153, 204, 255)
# A catalog has a handful of profiles; building a transform takes a millisecond.
_KEPT_TRANSFORMS = 64


def image_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image to sRGB.

    Args:
        image: of mode "L", "RGB" or "CMYK".
        profile: ICC profile that the image's values are in. One that is broken, or made for
            another mode, is ignored, as browsers do.

    Returns:
        An "RGB" image; `image` itself when there is nothing to convert.
    """
    transform = _transform(profile, image.mode)
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def array_to_srgb(rgb: UInt8[np.ndarray, "h w 3"], profile: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Convert RGB pixels to sRGB, as `image_to_srgb` does; `rgb` itself when they already are."""
    if _transform(profile, "RGB") is None:
        return rgb
    return np.array(image_to_srgb(Image.fromarray(rgb), profile))


@lru_cache(maxsize=_KEPT_TRANSFORMS)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform to sRGB; None when the profile is broken, unfit or sRGB's own."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode == "RGB" and _is_identity(transform) else transform


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether the transform moves no color of the cube by more than `_SAME_COLOR_LEVELS`."""
    levels = np.array(_CUBE_LEVELS, np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(cube), transform)
    assert converted is not None
    difference = np.asarray(converted).astype(int) - cube
    return bool(np.abs(difference).max() <= _SAME_COLOR_LEVELS)
