"""Whatever a caller hands over as pictures, as a stream of canvases in the same order."""

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
from shopsight.images.model_input import canvas, canvas_of_array
from shopsight.preprocess import Preprocess

Picture = str | Path | bytes | Image.Image | np.ndarray
Pictures = Picture | Iterable[Picture]

MAX_THREADS = 8
# What PNG stores as it is; other modes (CMYK, Lab, floats) become RGB first.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"})


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture ready for the network, or the reason why it is not.

    Attributes:
        ref: its path, or "image 3" for the third of pictures without a name.
    """

    ref: str
    pixels: UInt8[np.ndarray, "s s 3"] | None
    error: ImageError | None


def prepare(
    pictures: Pictures, preprocess: Preprocess, *, ahead: int, threads: int | None = None
) -> Iterator[Prepared]:
    """Decode pictures by threads, at most `ahead` of them before they are asked for.

    Folders stand for all images in them. Order is kept; memory does not grow with the number of
    pictures, however lazily or eagerly they come.
    """
    threads = threads or min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Prepared]] = deque()
    named = _named(pictures)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        while True:
            for ref, picture in islice(named, max(1, ahead) - len(waiting)):
                waiting.append(pool.submit(_prepare, ref, picture, preprocess))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(ref: str, picture: Picture, preprocess: Preprocess) -> Prepared:
    try:
        return Prepared(ref, _canvas(ref, picture, preprocess), None)
    except ImageError as error:
        return Prepared(ref, None, error)


def _canvas(ref: str, picture: Picture, preprocess: Preprocess) -> UInt8[np.ndarray, "s s 3"]:
    if isinstance(picture, str | Path):
        return canvas(read_bytes(str(picture)), preprocess, where=ref)
    if isinstance(picture, bytes):
        if not picture:
            raise ImageError("empty", "no bytes", where=ref)
        return canvas(picture, preprocess, where=ref)
    if isinstance(picture, np.ndarray):
        if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
            return canvas_of_array(picture, preprocess, where=ref)
        picture = _image_of_array(picture, ref)
    return canvas(_as_png(picture, ref), preprocess, where=ref)


def _image_of_array(array: np.ndarray, ref: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 4)
    if not known or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(
            "unsupported",
            f"an array of shape {array.shape} and type {array.dtype}; "
            "a picture is uint8 of shape (h, w), (h, w, 3) or (h, w, 4)",
            where=ref,
        )
    return Image.fromarray(array)


def _as_png(image: Image.Image, ref: str) -> bytes:
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
        raise ImageError("damaged", str(error), where=ref) from error
    return file.getvalue()


def _named(pictures: Pictures) -> Iterator[tuple[str, Picture]]:
    for number, picture in enumerate(_one_by_one(pictures), start=1):
        yield (str(picture) if isinstance(picture, str | Path) else f"image {number}"), picture


def _one_by_one(pictures: Pictures) -> Iterator[Picture]:
    several: Iterable[Picture]
    if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
        several = pictures
    elif isinstance(pictures, str | Path | bytes | Image.Image | np.ndarray):
        several = (pictures,)
    else:
        several = pictures
    for picture in several:
        if isinstance(picture, str | Path):
            yield from _files(picture)
        else:
            yield picture


def _files(path: str | Path) -> Iterator[str | Path]:
    if "://" not in str(path) and Path(path).is_dir():
        yield from (str(Path(path) / name) for name in scan_folder(str(path)).images)
    else:
        yield path
