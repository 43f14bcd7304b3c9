"""Images that stay in a run, on which another machine finds out in which precision it predicts.

The few golden images are of the training part and say little about close decisions. These are up
to 500 validation images as the network sees them, each a JPEG: some ten megabytes at 224 px.
What a JPEG changes does not matter, since two engines are compared on the same pixels.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import simplejpeg
from jaxtyping import Int64, UInt8

from shopsight.files import atomic_file
from shopsight.loading.cache import PixelSource
from shopsight.loading.loader import OrderedBatches

MOST_IMAGES = 500
JPEG_QUALITY = 90
_BATCH_IMAGES = 64


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
    return _decoded(encoded)


def read_precision_images(path: Path) -> UInt8[np.ndarray, "m s s 3"] | None:
    """The images that `write_precision_images` kept; None where there are none to read.

    A run of an earlier version has no such file, and without it the golden images decide.
    """
    try:
        # np.load would leave a file open that is no archive.
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            data, ends = arrays["bytes"].tobytes(), arrays["ends"].tolist()
        begins = [0, *ends[:-1]]
        return _decoded([data[first:end] for first, end in zip(begins, ends, strict=True)])
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def _decoded(encoded: list[bytes]) -> UInt8[np.ndarray, "m s s 3"]:
    return np.stack([simplejpeg.decode_jpeg(data) for data in encoded])
