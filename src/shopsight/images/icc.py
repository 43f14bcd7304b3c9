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
# Pixels that are converted at a time, which Pillow stores in four bytes each, before and after.
_STRIP_PIXELS = 1 << 20


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


def array_to_srgb(pixels: UInt8[np.ndarray, "h w c"], profile: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Convert gray or RGB pixels to sRGB, as `image_to_srgb` does.

    Args:
        pixels: of one channel or three, contiguous; those of RGB are changed.
        profile: ICC profile that the values are in.

    Returns:
        `pixels` itself, if they are RGB.
    """
    mode = "RGB" if pixels.shape[2] == 3 else "L"
    if mode == "RGB" and _transform(profile, mode) is None:
        return pixels
    rgb = pixels if mode == "RGB" else np.empty((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows]
        image = Image.fromarray(strip if mode == "RGB" else strip[:, :, 0])
        rgb[top : top + rows] = image_to_srgb(image, profile).convert("RGB")
    return rgb


SRGB = "sRGB"
BROKEN_PROFILE = "broken profile"


@lru_cache(maxsize=_KEPT_TRANSFORMS)
def profile_name(profile: bytes) -> str:
    """What a profile of RGB values calls itself; "sRGB" where it moves no color, whatever its name.

    Args:
        profile: an ICC profile, perhaps a broken one: then the name is "broken profile".
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() == "RGB" and _transform(profile, "RGB") is None:
            return SRGB
        return ImageCms.getProfileDescription(opened).strip() or "unnamed profile"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return BROKEN_PROFILE


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
