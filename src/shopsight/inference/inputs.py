"""Whatever a caller hands over as images, as a stream of canvases in the same order."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from shopsight.catalog.scan import scan_folder
from shopsight.errors import ImageError
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_array, preprocess_image
from shopsight.preprocess import Preprocess

ImageInput = str | Path | bytes | Image.Image | np.ndarray
ImageInputs = ImageInput | Iterable[ImageInput]

MAX_THREADS = 8
# What PNG stores as it is; other modes (CMYK, Lab, floats) become RGB first.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"})


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image ready for the network, or the reason why it is not.

    Attributes:
        source: its path, or "image 3" for the third of images without a name.
    """

    source: str
    pixels: UInt8[np.ndarray, "s s 3"] | None
    error: ImageError | None


def prepare(
    images: ImageInputs, preprocess: Preprocess, *, prefetch: int, threads: int | None = None
) -> Iterator[Prepared]:
    """Decode images by threads, at most `prefetch` of them before they are asked for.

    Folders stand for all images in them. Order is kept; memory does not grow with the number of
    images, however lazily or eagerly they come.
    """
    threads = threads or min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Prepared]] = deque()
    named = _named(images)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        while True:
            for source, image in islice(named, max(1, prefetch) - len(waiting)):
                waiting.append(pool.submit(_prepare, source, image, preprocess))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(source: str, image: ImageInput, preprocess: Preprocess) -> Prepared:
    try:
        return Prepared(source, _preprocess_input(source, image, preprocess), None)
    except ImageError as error:
        return Prepared(source, None, error)


def _preprocess_input(
    source: str, image: ImageInput, preprocess: Preprocess
) -> UInt8[np.ndarray, "s s 3"]:
    if isinstance(image, str | Path):
        return preprocess_image(read_bytes(str(image)), preprocess, where=source)
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
    # Through bytes, so that orientation, profile, transparency and 16 bits are treated as in files.
    try:
        if image.mode not in _PNG_MODES:
            image = image.convert("RGB")
        file = io.BytesIO()
        extras = {
            key: image.info[key] for key in ("icc_profile", "transparency") if key in image.info
        }
        image.save(file, "PNG", compress_level=0, exif=image.getexif(), **extras)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError("damaged", str(error), where=source) from error
    return file.getvalue()


def _named(images: ImageInputs) -> Iterator[tuple[str, ImageInput]]:
    for number, image in enumerate(_one_by_one(images), start=1):
        yield (str(image) if isinstance(image, str | Path) else f"image {number}"), image


def _one_by_one(images: ImageInputs) -> Iterator[ImageInput]:
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
    if "://" not in str(path) and Path(path).is_dir():
        yield from (str(Path(path) / name) for name in scan_folder(str(path)).images)
    else:
        yield path
