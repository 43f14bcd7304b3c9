"""Thumbnails of 704 bytes by which images are compared, and the comparison.

A thumbnail is the image squashed to a square: 24 x 24 values of luma and 8 x 8 of each chroma. Each
value is the mean of an area, so noise, JPEG artifacts and the size of the original average out,
while a print on a shirt of a tenth of its width still covers several values. Chroma needs fewer,
because it only has to tell articles of one cut in two colors apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8

from shopsight.files import atomic_file, damage_named
from shopsight.io.parquet import read_rows

LUMA_PX, CHROMA_PX = 24, 8
LUMA_BYTES = LUMA_PX * LUMA_PX
THUMB_BYTES = LUMA_BYTES + 2 * CHROMA_PX * CHROMA_PX

SMALLEST_COMPARED_PX = 64
"""Smaller images (icons, 28 px data sets) look alike too often: only equal files count there."""

# Two images are near duplicates when all of these hold; see `is_near_duplicate` for the quantities.
#
# Measured on 5,756 photos of clothes (16.5 M pairs): the one pair that is a copy in another
# encoding passes with a residual of 0.3 levels, and the nearest pairs of different articles
# (T-shirts with another print before the same background) reach a correlation of .977, a residual
# of 8.5 and a spot of 39. The limits lie between these two, nearer to the different articles, so
# that more edits pass. Of copies encoded again at quality 20, halved, stretched to a square, or
# changed in brightness by 10 %, contrast by 15 % or saturation by 30 %, 95 to 100 % pass; of copies
# cropped by 1 % on each side, half.
LOWEST_CORRELATION = 0.98
LARGEST_RESIDUAL_LEVELS = 6.0
LARGEST_SPOT_LEVELS = 40.0
LARGEST_CHROMA_LEVELS = 8.0
LARGEST_CHROMA_SPOT_LEVELS = 24
# Twice as wide as the edits of contrast above.
GAIN_RANGE = (0.7, 1 / 0.7)
# Below this standard deviation, JPEG's rounding and the camera's noise decide the correlation.
LOWEST_CONTRAST_LEVELS = 2.0


def thumb(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "t"]:
    """Make the thumbnail of an image of any size and aspect.

    Returns:
        `THUMB_BYTES` values: luma row by row, then the pairs of chroma.
    """
    import cv2  # Imported late, so that decoding images does not wait for it.

    square = cv2.resize(rgb, (LUMA_PX, LUMA_PX), interpolation=cv2.INTER_AREA)
    luma_chroma = cv2.cvtColor(square, cv2.COLOR_RGB2YCrCb)
    chroma = cv2.resize(luma_chroma[:, :, 1:], (CHROMA_PX, CHROMA_PX), interpolation=cv2.INTER_AREA)
    return np.concatenate([luma_chroma[:, :, 0].ravel(), chroma.ravel()])


def luma(thumbs: UInt8[np.ndarray, "n t"]) -> Float32[np.ndarray, "n l"]:
    """Luma of each thumbnail, less its mean."""
    values = thumbs[:, :LUMA_BYTES].astype(np.float32)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def write_thumbs(path: Path, sha256: pl.Series, thumbs: UInt8[np.ndarray, "n t"]) -> None:
    """Write the thumbnails of files, one per content.

    Args:
        path: the Parquet file, with columns `sha256` and `thumb`.
        sha256: hash of each file.
        thumbs: thumbnail of each file. Rows of zeros, of images too small to be compared, are left
            out.
    """
    table = pl.DataFrame(
        {"sha256": sha256, "thumb": [row.tobytes() for row in thumbs]},
        schema={"sha256": pl.String, "thumb": pl.Binary},
    )
    table = table.filter(pl.Series(thumbs.any(axis=1))).unique("sha256", maintain_order=True)
    with atomic_file(path) as part:
        table.write_parquet(part)


def read_thumbs(path: Path, sha256: pl.Series) -> UInt8[np.ndarray, "m t"]:
    """Read the thumbnails of the files with these hashes; those that were not written are missing.

    Args:
        path: what `write_thumbs` wrote.
        sha256: hashes of files.

    Returns:
        One row per file that was found, in the order of `path`.
    """
    wanted = pl.col("sha256").is_in(sha256.unique().implode())
    with damage_named(path):
        return unpacked(read_rows(path, wanted)["thumb"])


def unpacked(thumbs: pl.Series) -> UInt8[np.ndarray, "n t"]:
    """Turn a column of thumbnails' bytes, none null, into an array."""
    return np.frombuffer(b"".join(thumbs.to_list()), np.uint8).reshape(-1, THUMB_BYTES)


def is_near_duplicate(
    a: UInt8[np.ndarray, "m t"], b: UInt8[np.ndarray, "m t"]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether row i of `a` and row i of `b` are thumbnails of the same photo, edited at most.

    Brightness and contrast may differ by one offset and one gain for the whole image. Let x and y
    be the two lumas less their means, and s their standard deviations. Then y is compared with
    g x, where g = s_y / s_x clipped to `GAIN_RANGE`: the gain that gives both the same contrast
    (least squares would give g times the correlation, which is within 2 % of it here). Four
    quantities must be small, or large in the case of the first:

    - the correlation mean(x y) / (s_x s_y);
    - the residual y - g x, in the root of its mean square and in its largest value (the "spot",
      which finds a small print on an otherwise equal shirt);
    - the difference of the chroma, which no gain excuses, in its mean and its largest value.
    """
    chroma = np.abs(a[:, LUMA_BYTES:].astype(np.int16) - b[:, LUMA_BYTES:])
    alike = (chroma.max(axis=1) <= LARGEST_CHROMA_SPOT_LEVELS) & (
        chroma.mean(axis=1) <= LARGEST_CHROMA_LEVELS
    )
    # Chroma is quick to compare and rules out most of what is not alike.
    luma_a, luma_b = luma(a[alike]), luma(b[alike])
    contrast_a, contrast_b = luma_a.std(axis=1), luma_b.std(axis=1)
    flat = np.minimum(contrast_a, contrast_b) < LOWEST_CONTRAST_LEVELS
    product = np.where(flat, 1, contrast_a * contrast_b)
    correlation = (luma_a * luma_b).mean(axis=1) / product
    gain = np.clip(contrast_b / np.where(flat, 1, contrast_a), *GAIN_RANGE)
    residual = luma_b - gain[:, None] * luma_a
    alike[alike] = (
        ~flat
        & (correlation >= LOWEST_CORRELATION)
        & (np.sqrt((residual**2).mean(axis=1)) <= LARGEST_RESIDUAL_LEVELS)
        & (np.abs(residual).max(axis=1) <= LARGEST_SPOT_LEVELS)
    )
    return np.asarray(alike)
