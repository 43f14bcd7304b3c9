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
from shopsight.io.access import PUBLIC, Access
from shopsight.loading.blob_store import BlobStore, FixedBlobs, Keys
from shopsight.preprocess import Preprocess


@dataclass(frozen=True)
class ImageSet:
    """The images of a catalog and what they are to become.

    Attributes:
        refs: Paths or URLs, one per row.
        boxes: Left, top, width and height of the part to use, pixels; NaN: the whole image.
        preprocess: The square that they become.
        access: Which hosts in private networks may be asked for them.
    """

    refs: Sequence[str]
    boxes: Float64[np.ndarray, "n 4"] | None
    preprocess: Preprocess
    access: Access = PUBLIC

    @property
    def raw_bytes(self) -> int:
        """Bytes of one square."""
        return self.preprocess.size_px**2 * 3

    def box(self, row: int) -> Box | None:
        """Return the row's box; None: the whole image."""
        if self.boxes is None or np.isnan(self.boxes[row]).any():
            return None
        return Box(*self.boxes[row].tolist())

    def make(self, row: int, *, sha: str | None = None) -> UInt8[np.ndarray, "s s 3"]:
        """Decode one image to its square.

        Args:
            row: Row of the catalog.
            sha: SHA-256 that the file's bytes must have, as hex; None: any.

        Raises:
            ImageError: It cannot be decoded, or its bytes do not have that hash.
        """
        ref = self.refs[row]
        data = read_bytes(ref, self.access)
        if sha is not None and sha256(data).hexdigest() != sha:
            raise ImageError("changed", "the file changed since the audit read it", where=ref)
        return preprocess_image(data, self.preprocess, box=self.box(row), where=ref)


class DecodingSource:
    """No cache: every image is decoded whenever it is requested.

    Args:
        images: That it decodes.
        shas: SHA-256 that each row's file must have, as hex; None: any.
    """

    mode: Literal["off"] = "off"

    def __init__(self, images: ImageSet, shas: Sequence[str | None] | None = None) -> None:
        self._images = images
        self._shas = shas

    @property
    def size_px(self) -> int:
        """Side of the squares."""
        return self._images.preprocess.size_px

    def __len__(self) -> int:
        return len(self._images.refs)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        """Return the images of these rows."""
        side = self.size_px
        out = np.empty((len(rows), side, side, 3), np.uint8)
        for image, row in zip(out, rows.tolist(), strict=True):
            sha = None if self._shas is None else self._shas[row]
            image[:] = self._images.make(row, sha=sha)
        return out


class RawSource:
    """Pixels in memory-mapped files.

    Args:
        store: Store of the pixels.
        keys: Keys of the rows' images.
        size_px: Side of the squares.
    """

    mode: Literal["raw"] = "raw"

    def __init__(self, store: BlobStore, keys: Keys, size_px: int) -> None:
        self._size_px = size_px
        self._images = FixedBlobs(store, keys, np.uint8, (size_px, size_px, 3))

    @property
    def size_px(self) -> int:
        """Side of the squares."""
        return self._size_px

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        """Return the images of these rows."""
        return self._images.take(rows)


class JpegSource:
    """Squares compressed as JPEGs, in memory-mapped files.

    Args:
        store: Store of the JPEGs.
        keys: Keys of the rows' images.
        size_px: Side of the squares.
    """

    mode: Literal["jpeg"] = "jpeg"

    def __init__(self, store: BlobStore, keys: Keys, size_px: int) -> None:
        self._size_px = size_px
        self._maps = [
            np.memmap(path, np.uint8, "r", shape=(int(ends[-1]),))
            for path, ends in zip(store.paths, store.ends, strict=True)
        ]
        self._segment, index = store.find(keys)
        assert (self._segment >= 0).all(), "an image is not in the cache"
        self._start, self._end = store.spans(self._segment, index)

    @property
    def size_px(self) -> int:
        """Side of the squares."""
        return self._size_px

    def __len__(self) -> int:
        return len(self._segment)

    def gather(self, rows: Int64[np.ndarray, "b"]) -> UInt8[np.ndarray, "b s s 3"]:
        """Return the images of these rows."""
        out = np.empty((len(rows), self._size_px, self._size_px, 3), np.uint8)
        for image, row in zip(out, rows.tolist(), strict=True):
            blob = self._maps[self._segment[row]][self._start[row] : self._end[row]]
            simplejpeg.decode_jpeg(blob, "RGB", buffer=image)
        return out
