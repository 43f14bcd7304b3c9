"""Color profiles: converted to sRGB, or ignored when they are unfit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from shopsight.images.decode import decode
from tests.images.samples import (
    HEIGHT,
    WIDTH,
    difference,
    jpeg,
    profile_with_swapped_primaries,
    saved,
    smooth,
)


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
