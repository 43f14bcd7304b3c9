"""A stream of model inputs from images as callers pass them, in their order, without torch."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from shopsight.catalog.scan import scan_folder
from shopsight.errors import ImageError
from shopsight.images import levels
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_array, preprocess_image
from shopsight.paths import is_url
from shopsight.prefetch import default_threads, prefetch
from shopsight.preprocess import Preprocess
from shopsight.progress import notify
from shopsight.remote.addresses import PUBLIC

ImageInput = str | Path | bytes | Image.Image | np.ndarray
ImageInputs = ImageInput | Iterable[ImageInput]

# What PNG stores as it is; floats and 32-bit integers become gray first, other modes RGB.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image ready for the network, or the reason why it is not.

    Attributes:
        source: its path or URL, or "image 3" for the third input when that has no name.
        pixels: the network's input, RGB; None when the image could not be read.
        error: why not; None when it could.
    """

    source: str
    pixels: UInt8[np.ndarray, "s s 3"] | None
    error: ImageError | None


def prepare_inputs(
    images: ImageInputs, preprocess: Preprocess, *, window: int, threads: int | None = None
) -> Iterator[Prepared]:
    """Decode and preprocess images by threads, in their order.

    Memory does not grow with the number of images, whether they come as a list or as an endless
    iterator.

    Args:
        images: a path, a URL, bytes, a PIL image, a uint8 array of shape (h, w), (h, w, 3) or
            (h, w, 4), or any iterable of these; a folder stands for all images in it.
        preprocess: what the network expects.
        window: at most so many images are taken before their results are asked for.
        threads: that decode; None is `default_threads()`.

    Raises:
        CatalogError: a folder cannot be listed. What is wrong with one image comes as its `error`.
    """

    def make(named: tuple[str, ImageInput]) -> Prepared:
        source, image = named
        try:
            return Prepared(source, _preprocess_input(source, image, preprocess), None)
        except ImageError as error:
            return Prepared(source, None, error)

    return prefetch(make, _named(images), threads=threads or default_threads(), window=window)


def _preprocess_input(
    source: str, image: ImageInput, preprocess: Preprocess
) -> UInt8[np.ndarray, "s s 3"]:
    """Turn one input of any kind into the network's square."""
    if isinstance(image, str | Path):
        return preprocess_image(
            read_bytes(str(image), PUBLIC.typed(image)), preprocess, where=source
        )
    if isinstance(image, bytes):
        if not image:
            raise ImageError("empty", "no bytes", where=source)
        return preprocess_image(image, preprocess, where=source)
    if isinstance(image, np.ndarray):
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
            return preprocess_array(image, preprocess, where=source)
        image = _image_of_array(image, source)
    return preprocess_image(_as_png(image, source), preprocess, where=source)


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


def _named(images: ImageInputs) -> Iterator[tuple[str, ImageInput]]:
    """Pair each image with its name."""
    for number, image in enumerate(_one_by_one(images), start=1):
        yield (str(image) if isinstance(image, str | Path) else f"image {number}"), image


def _one_by_one(images: ImageInputs) -> Iterator[ImageInput]:
    """Yield the images one by one, folders replaced by their files."""
    several: Iterable[ImageInput]
    if isinstance(images, np.ndarray) and images.ndim == 4:
        several = images
    elif isinstance(images, str | Path | bytes | Image.Image | np.ndarray):
        several = (images,)
    else:
        several = images
    for image in several:
        if isinstance(image, str | Path):
            yield from _files(image)
        else:
            yield image


def _files(path: str | Path) -> Iterator[str | Path]:
    """Yield the images in a folder, or the path itself when it is not a folder."""
    if not is_url(str(path)) and Path(path).is_dir():
        scan = scan_folder(str(path))
        for line in scan.denied_notes():
            notify(line)
        # A name that no table takes is good enough for opening the file.
        names = sorted([*scan.images, *scan.not_unicode]) if scan.not_unicode else scan.images
        yield from (str(Path(path) / name) for name in names)
    else:
        yield path
