"""Sources of square images: decoded at each call, or read from the cache's files.

Each is a `shopsight.loading.cache.PixelSource`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
import simplejpeg
from jaxtyping import Float64, Int64, UInt8

from shopsight.errors import ImageError
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import Box, preprocess_image
from shopsight.loading.blob_store import FixedBlobs, Keys, Segments
from shopsight.preprocess import Preprocess


@dataclass(frozen=True)
class ImageSet:
    """The images of a catalog and what they are to become."""

    refs: Sequence[str]
    boxes: Float64[np.ndarray, "n 4"] | None
    preprocess: Preprocess

    @property
    def raw_bytes(self) -> int:
        """Of one image."""
        return self.preprocess.size_px**2 * 3

    def box(self, row: int) -> Box | None:
        if self.boxes is None or np.isnan(self.boxes[row]).any():
            return None
        return Box(*self.boxes[row].tolist())

    def make(self, row: int, *, sha: str | None = None) -> UInt8[np.ndarray, "s s 3"]:
        """Decode one image.

        Raises:
            ImageError: it cannot be decoded, or its bytes do not have the hash `sha`.
        """
        ref = self.refs[row]
        data = read_bytes(ref)
        if sha is not None and sha256(data).hexdigest() != sha:
            raise ImageError("changed", "the file changed while it was being read", where=ref)
        return preprocess_image(data, self.preprocess, box=self.box(row), where=ref)


class DecodingSource:
    """No cache: every image is decoded whenever it is asked for."""

    mode: Literal["off"] = "off"

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    @property
    def size_px(self) -> int:
        return self._images.preprocess.size_px

    def __len__(self) -> int:
        return len(self._images.refs)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        side = self.size_px
        out = np.empty((len(rows), side, side, 3), np.uint8)
        for image, row in zip(out, rows.tolist(), strict=True):
            image[:] = self._images.make(row)
        return out


class RawSource:
    """Pixels in memory-mapped files."""

    mode: Literal["raw"] = "raw"

    def __init__(self, segments: Segments, keys: Keys, size_px: int) -> None:
        self._size_px = size_px
        self._images = FixedBlobs(segments, keys, np.uint8, (size_px, size_px, 3))

    @property
    def size_px(self) -> int:
        return self._size_px

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        return self._images.take(rows)


class JpegSource:
    """Squares compressed as JPEGs, in memory-mapped files."""

    mode: Literal["jpeg"] = "jpeg"

    def __init__(self, segments: Segments, keys: Keys, size_px: int) -> None:
        self._size_px = size_px
        self._maps = [
            np.memmap(path, np.uint8, "r", shape=(int(ends[-1]),))
            for path, ends in zip(segments.paths, segments.ends, strict=True)
        ]
        self._segment, slot = segments.find(keys)
        assert (self._segment >= 0).all(), "an image is not in the cache"
        self._start, self._end = segments.spans(self._segment, slot)

    @property
    def size_px(self) -> int:
        return self._size_px

    def __len__(self) -> int:
        return len(self._segment)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        out = np.empty((len(rows), self._size_px, self._size_px, 3), np.uint8)
        for image, row in zip(out, rows.tolist(), strict=True):
            blob = self._maps[self._segment[row]][self._start[row] : self._end[row]]
            simplejpeg.decode_jpeg(blob, "RGB", buffer=image)
        return out
