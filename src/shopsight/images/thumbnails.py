"""Thumbnails of 704 bytes by which images are compared: 24 x 24 luma, 8 x 8 of each chroma."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8

from shopsight.files import atomic_file

LUMA_PX, CHROMA_PX = 24, 8
LUMA_BYTES = LUMA_PX * LUMA_PX
THUMB_BYTES = LUMA_BYTES + 2 * CHROMA_PX * CHROMA_PX

SMALLEST_COMPARED_PX = 64
"""Smaller images (icons, 28 px data sets) look alike too often: only equal files count there."""

# Two images are near duplicates when all of these hold. Measured on 5,756 photos of clothes
# (16.5 M pairs): the one pair that is a copy of another encoding passes with a residual of 0.3
# levels, and the nearest pairs of different articles (T-shirts with another print on the same
# ground) reach a correlation of .977, a residual of 8.5 and a spot of 39. Of copies encoded again
# at quality 20, halved, stretched to a square, or changed in brightness by 10 %, contrast by 15 %
# or saturation by 30 %, 95 to 100 % pass; of copies cropped by 1 % on each side, half.
LOWEST_CORRELATION = 0.98
LARGEST_RESIDUAL_LEVELS = 6.0
LARGEST_SPOT_LEVELS = 40.0
LARGEST_CHROMA_LEVELS = 8.0
LARGEST_CHROMA_SPOT_LEVELS = 24
GAIN_RANGE = (0.7, 1 / 0.7)
# Below this contrast a correlation is one of noise.
LOWEST_CONTRAST_LEVELS = 2.0


def thumb(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "t"]:
    """The thumbnail of an image, whatever its size and aspect."""
    luma_chroma = cv2.cvtColor(_shrunk(rgb, LUMA_PX), cv2.COLOR_RGB2YCrCb)
    chroma = cv2.resize(luma_chroma[:, :, 1:], (CHROMA_PX, CHROMA_PX), interpolation=cv2.INTER_AREA)
    return np.concatenate([luma_chroma[:, :, 0].ravel(), chroma.ravel()])


def _shrunk(rgb: UInt8[np.ndarray, "h w 3"], side_px: int) -> UInt8[np.ndarray, "s s 3"]:
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def luma(thumbs: UInt8[np.ndarray, "n t"]) -> Float32[np.ndarray, "n l"]:
    """Luma less its mean."""
    values = thumbs[:, :LUMA_BYTES].astype(np.float32)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def write_thumbs(path: Path, sha256: pl.Series, thumbs: UInt8[np.ndarray, "n t"]) -> None:
    """Keep the thumbnail of each file, by its content.

    Rows of zeros, where an image is not compared by likeness, are left out.
    """
    table = pl.DataFrame(
        {"sha256": sha256, "thumb": [row.tobytes() for row in thumbs]},
        schema={"sha256": pl.String, "thumb": pl.Binary},
    )
    table = table.filter(pl.Series(thumbs.any(axis=1))).unique("sha256", maintain_order=True)
    with atomic_file(path) as part:
        table.write_parquet(part)


def read_thumbs(path: Path, sha256: pl.Series) -> UInt8[np.ndarray, "m t"]:
    """The thumbnails that were kept of these files."""
    kept = pl.scan_parquet(path).filter(pl.col("sha256").is_in(sha256.unique().implode())).collect()
    return unpacked(kept["thumb"])


def unpacked(thumbs: pl.Series) -> UInt8[np.ndarray, "n t"]:
    """Thumbnails from a column of their bytes, none null."""
    return np.frombuffer(b"".join(thumbs.to_list()), np.uint8).reshape(-1, THUMB_BYTES)


def is_near_duplicate(
    a: UInt8[np.ndarray, "m t"], b: UInt8[np.ndarray, "m t"]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether row i of `a` and row i of `b` show the same image.

    Brightness and contrast may differ (one gain and one offset for the whole image); what is
    left then must be small everywhere, and the colors must be the same.
    """
    luma_a, luma_b = luma(a), luma(b)
    contrast_a, contrast_b = luma_a.std(axis=1), luma_b.std(axis=1)
    flat = np.minimum(contrast_a, contrast_b) < LOWEST_CONTRAST_LEVELS
    product = np.where(flat, 1, contrast_a * contrast_b)
    correlation = (luma_a * luma_b).mean(axis=1) / product
    gain = np.clip(contrast_b / np.where(flat, 1, contrast_a), *GAIN_RANGE)
    residual = luma_b - gain[:, None] * luma_a
    chroma = np.abs(a[:, LUMA_BYTES:].astype(np.int16) - b[:, LUMA_BYTES:])
    return np.asarray(
        ~flat
        & (correlation >= LOWEST_CORRELATION)
        & (np.sqrt((residual**2).mean(axis=1)) <= LARGEST_RESIDUAL_LEVELS)
        & (np.abs(residual).max(axis=1) <= LARGEST_SPOT_LEVELS)
        & (chroma.mean(axis=1) <= LARGEST_CHROMA_LEVELS)
        & (chroma.max(axis=1) <= LARGEST_CHROMA_SPOT_LEVELS)
    )
