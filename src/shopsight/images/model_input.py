"""From a file's bytes to the square that the network sees: the one code path.

Training, evaluation, prediction and export all call this module, which imports no torch. Mean and
standard deviation are not applied here but to the batch, by the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images.decode import decode, decode_jpeg_upright
from shopsight.images.decode_room import decoding
from shopsight.images.jpeg import JpegHeader, is_jpeg, jpeg_header, shrink_for
from shopsight.images.orientation import upright_size
from shopsight.images.pixel_limit import check_pixels
from shopsight.preprocess import Color, Interpolation, Preprocess

try:
    import cykooz_resizer
except ImportError:  # There is no wheel for Linux on ARM.
    cykooz_resizer = None


_COPIED_PIXELS = 1 << 21
"""The library gets larger images in strips of columns, of which it makes copies."""


BOX_FIX = (
    "name a table with the columns image, box_x, box_y, box_w, box_h, in pixels\n"
    "of a photo that is cropped already, the box is its whole size"
)
"""The next step where an image lacks its box."""


class Box(NamedTuple):
    """The part of an image that counts, in pixels of the upright image at full size.

    Attributes:
        x: left edge.
        y: upper edge.
        w: width.
        h: height.
    """

    x: float
    y: float
    w: float
    h: float


def box_at(boxes: Float64[np.ndarray, "n 4"] | None, row: int) -> Box | None:
    """The box of a row of a catalog's boxes; None where it has none, which is a row of NaN."""
    if boxes is None or np.isnan(boxes[row]).any():
        return None
    return Box(*boxes[row].tolist())


WHOLE_IMAGE = Box(0.0, 0.0, float(1 << 31), float(1 << 31))
"""A box that holds all of any image."""


def preprocess_image(
    data: bytes, preprocess: Preprocess, *, box: Box | None = None, where: str | None = None
) -> UInt8[np.ndarray, "s s 3"]:
    """Decode an image and fit it into the square of side `preprocess.size_px`.

    A JPEG is decoded at the smallest power-of-two scale from which nothing has to be enlarged.

    Args:
        data: the file.
        preprocess: what the network expects.
        box: the part to use; None is the whole image.
        where: the file's name, for the error.

    Raises:
        ImageError: the bytes cannot be decoded, the box lies outside the image, or there is none
            where the network needs one.
    """
    (square,) = preprocess_each(data, [preprocess], box=box, where=where)
    return square


def preprocess_each(
    data: bytes,
    preprocesses: Sequence[Preprocess],
    *,
    box: Box | None = None,
    where: str | None = None,
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """What `preprocess_image` makes of one image by several descriptions, decoded once.

    A JPEG is decoded once for each scale that is wanted of it, of which small images have one.

    Args:
        data: the file.
        preprocesses: each gives a square of its own side.
        box: see `preprocess_image`, as for the next.
        where: the file's name, for the error.

    Raises:
        ImageError: the bytes cannot be decoded, the box lies outside the image, or there is none
            where the network needs one.
    """
    for one in preprocesses:
        check_has_box(box, one, where)
    with decoding():
        if not is_jpeg(data):
            by_matte: dict[Color, UInt8[np.ndarray, "_ _ 3"]] = {}
            for one in preprocesses:
                if one.matte not in by_matte:
                    by_matte[one.matte] = decode(data, matte=one.matte, where=where)
            return [
                preprocess_array(by_matte[one.matte], one, box=box, where=where)
                for one in preprocesses
            ]
        jpeg = jpeg_header(data, where=where)
        check_pixels(jpeg.width, jpeg.height, where)
        width, height = upright_size(jpeg.width, jpeg.height, jpeg.orientation)
        crop = crop_of_box(box, width, height, where)
        by_shrink: dict[int, UInt8[np.ndarray, "_ _ 3"]] = {}
        squares = []
        for one in preprocesses:
            goal = resized_size(crop.w, crop.h, one)
            shrink = shrink_for(crop.w, crop.h, *goal)
            if shrink not in by_shrink:
                by_shrink[shrink] = decode_jpeg_upright(data, jpeg, shrink=shrink, where=where)
            squares.append(_fit(_cut(by_shrink[shrink], crop, width, height), goal, one))
        return squares


def jpeg_shrink(jpeg: JpegHeader, preprocess: Preprocess) -> int:
    """By how much a whole JPEG is shrunk while it is decoded for `preprocess`: 8, 4, 2 or 1."""
    width, height = upright_size(jpeg.width, jpeg.height, jpeg.orientation)
    return shrink_for(width, height, *resized_size(width, height, preprocess))


def preprocess_array(
    rgb: UInt8[np.ndarray, "h w 3"],
    preprocess: Preprocess,
    *,
    box: Box | None = None,
    where: str | None = None,
) -> UInt8[np.ndarray, "s s 3"]:
    """Fit RGB pixels into the square of side `preprocess.size_px`.

    Args:
        rgb: upright pixels.
        preprocess: what the network expects.
        box: the part to use; None is the whole image.
        where: the image's name, for the error.

    Raises:
        ImageError: the box lies outside the image, or there is none where the network needs one.
    """
    check_has_box(box, preprocess, where)
    height, width = rgb.shape[:2]
    crop = crop_of_box(box, width, height, where)
    goal = resized_size(crop.w, crop.h, preprocess)
    return _fit(_cut(rgb, crop, width, height), goal, preprocess)


def resize(
    rgb: UInt8[np.ndarray, "h w 3"],
    width: int,
    height: int,
    interpolation: Interpolation = "bicubic",
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize with antialiasing, in 8 bits per channel.

    The filters are Pillow's: a triangle of half-width 1 ("bilinear") and Keys' cubic with
    a = -1/2 of half-width 2 ("bicubic", also called Catmull-Rom), both widened by the factor by
    which a side shrinks. Height and width are filtered one after the other, with rounding to 8 bits
    in between. `cykooz_resizer` does this with SIMD instructions and outside the interpreter lock,
    five to eight times faster than Pillow; docs/benchmarks.md has the alternatives.

    The height is filtered first where that leaves fewer rows for the width, and last where it adds
    some. The values lie within one level of Pillow's in the same order ("bicubic" within two on
    noise). Pillow chooses the order in another way. It shows only where the cubic overshoots black
    or white and the values in between are clipped: on photos, in one value of a thousand at most.

    Args:
        rgb: RGB pixels.
        width: of the result, pixels.
        height: of the result, pixels.
        interpolation: the filter.

    Returns:
        A contiguous array that may be written to; `rgb` itself if it has that size and is one.
    """
    if rgb.shape[:2] == (height, width):
        return np.ascontiguousarray(rgb)
    if cykooz_resizer is None:
        method = Image.Resampling[interpolation.upper()]
        return np.array(Image.fromarray(rgb).resize((width, height), method))
    options = _resize_options(interpolation)
    if height > rgb.shape[0]:
        # The library filters the height first, so the width is done by a call of its own.
        return _resized(_resized(rgb, width, rgb.shape[0], options), width, height, options)
    columns = max(1, _COPIED_PIXELS // rgb.shape[0])
    if columns >= rgb.shape[1]:
        return _resized(rgb, width, height, options)
    lowered = np.empty((height, rgb.shape[1], 3), np.uint8)
    for left in range(0, rgb.shape[1], columns):
        part = rgb[:, left : left + columns]
        lowered[:, left : left + columns] = _resized(part, part.shape[1], height, options)
    return _resized(lowered, width, height, options)


def _resized(
    rgb: UInt8[np.ndarray, "h w 3"], width: int, height: int, options: Any
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Resize by the library, which takes bytes and copies them."""
    kind = cykooz_resizer.PixelType.U8x3
    source = cykooz_resizer.ImageData(rgb.shape[1], rgb.shape[0], kind, rgb.tobytes())
    target = cykooz_resizer.ImageData(width, height, kind)
    # A resizer of its own for each call: a shared one would let one thread work at a time.
    cykooz_resizer.Resizer().resize(source, target, options)
    resized = np.frombuffer(target.get_buffer(), np.uint8).reshape(height, width, 3)
    return resized.copy()  # Bytes cannot be written to, and callers may.


@lru_cache
def _resize_options(interpolation: Interpolation) -> Any:
    """The library's name for a filter."""
    filters = cykooz_resizer.FilterType
    chosen = {"bilinear": filters.bilinear, "bicubic": filters.catmull_rom}[interpolation]
    return cykooz_resizer.ResizeOptions(cykooz_resizer.ResizeAlg.convolution(chosen))


def edge_color(rgb: UInt8[np.ndarray, "h w 3"]) -> Color:
    """Mean color of the outermost pixels, the corners counted once."""
    edges = (rgb[0], rgb[-1], rgb[1:-1, 0], rgb[1:-1, -1])
    red, green, blue = np.concatenate(edges).mean(axis=0).round().astype(int).tolist()
    return red, green, blue


class Crop(NamedTuple):
    """A rectangle in whole pixels of the upright image, not empty.

    Attributes:
        x: left edge.
        y: upper edge.
        w: width.
        h: height.
    """

    x: int
    y: int
    w: int
    h: int


def crop_of_box(box: Box | None, width: int, height: int, where: str | None) -> Crop:
    """Round the box to whole pixels and clip it to the image.

    Raises:
        ImageError: the box lies outside the image.
    """
    if box is None:
        return Crop(0, 0, width, height)
    problem = why_outside(box, width, height)
    if problem:
        raise ImageError("bad box", problem, where=where)
    left, top = max(0, round(box.x)), max(0, round(box.y))
    right, bottom = min(width, round(box.x + box.w)), min(height, round(box.y + box.h))
    return Crop(left, top, max(1, right - left), max(1, bottom - top))


def check_has_box(box: Box | None, preprocess: Preprocess, where: str | None = None) -> None:
    """Refuse a whole image where the network has learned from boxes alone.

    Raises:
        ImageError: there is no box.
    """
    if preprocess.boxes and box is None:
        raise without_box(where)


def without_box(where: str | None) -> ImageError:
    """The error of an image that has no box where the network needs one."""
    return ImageError(
        "no box",
        "the model was trained on the parts of images in their boxes, and this image has none",
        where=where,
        fix=BOX_FIX,
    )


def why_outside(box: Box, width: int, height: int) -> str:
    """Why a box is no part of an image; "" when it is.

    Args:
        box: in pixels of the upright image.
        width: of the upright image, pixels.
        height: of the upright image, pixels.
    """
    left, top = max(0, round(box.x)), max(0, round(box.y))
    right, bottom = round(box.x + box.w), round(box.y + box.h)
    if box.w > 0 and box.h > 0 and left < width and top < height and right >= 0 and bottom >= 0:
        return ""
    numbers = ", ".join(f"{number:g}" for number in box)
    return f"the box ({numbers}) lies outside the {width} x {height} image"


def _cut(
    rgb: UInt8[np.ndarray, "h w 3"], crop: Crop, width: int, height: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Cut out `crop`, which is in pixels of the full `width` x `height`; `rgb` may be smaller."""
    if crop == (0, 0, width, height):
        return rgb
    scale_x, scale_y = rgb.shape[1] / width, rgb.shape[0] / height
    left, top = round(crop.x * scale_x), round(crop.y * scale_y)
    right, bottom = round((crop.x + crop.w) * scale_x), round((crop.y + crop.h) * scale_y)
    return rgb[top : max(bottom, top + 1), left : max(right, left + 1)]


def resized_size(width: int, height: int, preprocess: Preprocess) -> tuple[int, int]:
    """Width and height to which the whole image is resized, before it is padded or cropped."""
    size = preprocess.size_px
    match preprocess.resize:
        case "squash":
            return size, size
        case "pad":
            scale = size / max(width, height)
        case "crop":
            scale = max(size, round(size / preprocess.crop_fraction)) / min(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fit(
    rgb: UInt8[np.ndarray, "h w 3"], goal: tuple[int, int], preprocess: Preprocess
) -> UInt8[np.ndarray, "s s 3"]:
    """Resize to `goal` (width, height) and make it square."""
    resized = resize(rgb, *goal, preprocess.interpolation)
    match preprocess.resize:
        case "squash":
            return resized
        case "crop":
            return _center_crop(resized, preprocess.size_px)
        case "pad":
            color = preprocess.pad_color
            return _pad(resized, preprocess.size_px, edge_color(rgb) if color == "edge" else color)


def _center_crop(rgb: UInt8[np.ndarray, "h w 3"], size: int) -> UInt8[np.ndarray, "s s 3"]:
    top, left = round((rgb.shape[0] - size) / 2), round((rgb.shape[1] - size) / 2)
    return np.ascontiguousarray(rgb[top : top + size, left : left + size])


def _pad(rgb: UInt8[np.ndarray, "h w 3"], size: int, color: Color) -> UInt8[np.ndarray, "s s 3"]:
    height, width = rgb.shape[:2]
    if (height, width) == (size, size):
        return rgb
    square = np.empty((size, size, 3), np.uint8)
    # Whole rows at a time: writing three values at a time would cost as much as the resize.
    square.reshape(size, -1)[:] = np.tile(np.array(color, np.uint8), size)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = rgb
    return square
