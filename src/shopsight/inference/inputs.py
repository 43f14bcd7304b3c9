"""A stream of model inputs from images as callers pass them, in their order, without torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from shopsight.errors import ImageError
from shopsight.images import levels
from shopsight.images.damage import find_damage
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_array, preprocess_image
from shopsight.inference.image_stream import (
    ImageInputs,
    NamedImage,
    open_images,
    with_used_boxes,
)
from shopsight.io.access import PUBLIC, Access
from shopsight.prefetch import default_threads, prefetch
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions

# What PNG stores as it is; floats and 32-bit integers become gray first, other modes RGB.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image ready for the network, or the reason why it is not.

    Attributes:
        source: its path or URL, or "image 3" for the third input when that has no name.
        pixels: the network's input, RGB; None when the image could not be read.
        error: why not; None when it could.
        damaged: what is damaged in a file that decodes; None of one that is whole.
        row: of a table, its row, counted from 0.
        name: of a table, the image as the table names it.
        access: which hosts in private networks may be asked for it.
    """

    source: str
    pixels: UInt8[np.ndarray, "s s 3"] | None
    error: ImageError | None
    damaged: str | None = None
    row: int | None = None
    name: str | None = None
    access: Access = PUBLIC


def prepare_inputs(
    images: ImageInputs,
    preprocess: Preprocess,
    *,
    window: int,
    read: ReadOptions | None = None,
    threads: int | None = None,
) -> Iterator[Prepared]:
    """Decode and preprocess images by threads, in their order.

    Memory does not grow with the number of images, whether they come as a list or as an endless
    iterator.

    Args:
        images: a path, a URL, bytes, a PIL image, a uint8 array of shape (h, w), (h, w, 3) or
            (h, w, 4), a catalog, or any iterable of these; a folder stands for all images in it, a
            table or the name of a data set for its rows.
        preprocess: what the network expects.
        window: at most so many images are taken before their results are asked for.
        read: how DATA is read; None guesses everything.
        threads: that decode; None is `default_threads()`.

    Raises:
        CatalogError: see `open_images`. What is wrong with one image comes as its `error`.
        ImageError: the network looks at boxes, and an image comes from where none has one.
    """

    def make(one: NamedImage) -> Prepared:
        try:
            pixels, damaged = _preprocess_input(one, preprocess)
        except ImageError as error:
            return Prepared(one.source, None, error, None, one.row, one.name, one.access)
        return Prepared(one.source, pixels, None, damaged, one.row, one.name, one.access)

    opened = with_used_boxes(open_images(images, read), used=preprocess.boxes)
    return prefetch(make, opened, threads=threads or default_threads(), window=window)


def file_of(one: NamedImage) -> bytes:
    """An input of any kind as a file: its own bytes, or its pixels as a PNG.

    Raises:
        ImageError: it cannot be read.
    """
    image = one.image
    if isinstance(image, str | Path):
        image = read_bytes(str(image), one.access)
    if isinstance(image, bytes):
        if not image:
            raise ImageError("empty", "no bytes", where=one.source)
        return image
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
            image = Image.fromarray(image)
        else:
            image = _image_of_array(image, one.source)
    return _as_png(image, one.source)


def _preprocess_input(
    one: NamedImage, preprocess: Preprocess
) -> tuple[UInt8[np.ndarray, "s s 3"], str | None]:
    """Turn one input of any kind into the network's square; and say what is damaged in it."""
    source, image, box = one.source, one.image, one.box
    if isinstance(image, str | Path):
        image = read_bytes(str(image), one.access)
    if isinstance(image, bytes):
        if not image:
            raise ImageError("empty", "no bytes", where=source)
        pixels = preprocess_image(image, preprocess, box=box, where=source)
        return pixels, find_damage(image)
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
            return preprocess_array(image, preprocess, box=box, where=source), None
        image = _image_of_array(image, source)
    return preprocess_image(_as_png(image, source), preprocess, box=box, where=source), None


def _image_of_array(array: np.ndarray, source: str) -> Image.Image:
    """Wrap a gray or RGBA array; refuse every other shape and type."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 4)
    if not known or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            "unsupported",
            f"an array of shape {array.shape} and type {array.dtype}; "
            "an image is uint8 of shape (h, w), (h, w, 3) or (h, w, 4)",
            where=source,
        )
    return Image.fromarray(array)


def _as_png(image: Image.Image, source: str) -> bytes:
    """Encode an image, so that it takes the path of files: orientation, profile, alpha, 16 bits."""
    try:
        exif = image.getexif()
        if image.mode in {"I", "F"}:
            image = Image.fromarray(levels.from_any(np.asarray(image), where=source))
        elif image.mode not in _PNG_MODES:
            image = image.convert("RGB")
        file = io.BytesIO()
        extras = {
            key: image.info[key] for key in ("icc_profile", "transparency") if key in image.info
        }
        image.save(file, "PNG", compress_level=0, exif=exif, **extras)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("damaged", str(error), where=source) from error
    return file.getvalue()
