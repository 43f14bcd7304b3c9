"""Images that stay in a run, on which another machine finds out in which precision it predicts.

The few golden images are of the training part and say little about close decisions. These are up
to 500 validation images as the network sees them, each a JPEG: some ten megabytes at 224 px.
What a JPEG changes does not matter, since two engines are compared on the same pixels.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import Int64, UInt8

from shopsight.errors import ArchiveError, ImageError, LocationError
from shopsight.files import atomic_file
from shopsight.images.jpeg import jpeg_header
from shopsight.io.arrays import read_arrays
from shopsight.loading.cache import PixelSource
from shopsight.loading.loader import OrderedBatches
from shopsight.memory import memory_budget_bytes

MOST_IMAGES = 500
JPEG_QUALITY = 90
_BATCH_IMAGES = 64
_MEMORY_SHARE = 0.25
"""Of the budget that the images may take: 500 at 224 px have 75 MB."""


def choose_rows(rows: Int64[np.ndarray, "n"], *, seed: int) -> Int64[np.ndarray, "m"]:
    """At most `MOST_IMAGES` of the rows, at random, so that the first few are a sample too."""
    return np.random.default_rng(seed).permutation(rows)[:MOST_IMAGES]


def write_precision_images(
    path: Path, source: PixelSource, rows: Int64[np.ndarray, "m"]
) -> UInt8[np.ndarray, "m s s 3"]:
    """Keep the network's inputs of these rows.

    Returns:
        The images as `read_precision_images` reads them.
    """
    encoded = [
        simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorsubsampling="444")
        for batch in OrderedBatches(source, rows, batch_size=_BATCH_IMAGES)
        for image in batch.images.numpy()
    ]
    ends = np.cumsum([len(data) for data in encoded])
    file = io.BytesIO()
    np.savez(file, bytes=np.frombuffer(b"".join(encoded), np.uint8), ends=ends)
    with atomic_file(path) as part:
        part.write_bytes(file.getvalue())
    return _decoded(encoded, source.size_px)


def read_precision_images(path: Path, *, size_px: int) -> UInt8[np.ndarray, "m s s 3"] | None:
    """The images that `write_precision_images` kept; None where there are none to read.

    A run of an earlier version has no such file, and without it the golden images decide. Of
    images for which there is not memory enough, the first ones are read.

    Args:
        path: the file.
        size_px: side of the network's input; others are none of this network.
    """
    try:
        # Nothing in it is compressed: unpacked, it is no larger than it is.
        arrays = read_arrays(path, most_bytes=path.stat().st_size)
        data, ends = arrays["bytes"], arrays["ends"][:MOST_IMAGES]
        if ends.dtype.kind not in "iu":
            return None
        # One after the other: overlapping ones would take many times what the file has.
        edges = np.concatenate([[0], ends, [data.size]])
        if data.dtype != np.uint8 or data.ndim != 1 or (np.diff(edges) < 0).any():
            return None
        images = _decoded([part.tobytes() for part in np.split(data, ends)[:-1]], size_px)
    except (OSError, ValueError, KeyError, ImageError, ArchiveError, LocationError):
        return None
    return images if len(images) else None


def _decoded(encoded: list[bytes], size_px: int) -> UInt8[np.ndarray, "m s s 3"]:
    count = min(len(encoded), int(_MEMORY_SHARE * memory_budget_bytes()) // (3 * size_px**2))
    images = np.empty((count, size_px, size_px, 3), np.uint8)
    for image, data in zip(images, encoded, strict=False):
        header = jpeg_header(data)
        if (header.height, header.width) != (size_px, size_px):
            raise ValueError("an image that is not the network's input")
        image[:] = simplejpeg.decode_jpeg(data)
    return images
