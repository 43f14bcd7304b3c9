"""Seeded images for the benchmarks, with the statistics of photographs."""

from __future__ import annotations

import io

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image


def photo(
    width: int, height: int, *, seed: int, grain_levels: float = 2.0
) -> UInt8[np.ndarray, "h w 3"]:
    """Detail at every scale (amplitude falls as the scale does) and a camera's grain.

    Args:
        width: pixels.
        height: pixels.
        seed: another one gives another photo.
        grain_levels: standard deviation of the noise. At 2 a JPEG of quality 90 has .12 to .17
            bytes per pixel, like the photos of the clothing data set.
    """
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.float32)
    cells, amplitude = 4, 45.0
    while cells * 2 < min(width, height):
        coarse = rng.normal(0, 1, (cells * height // min(width, height) + 1, cells, 3))
        # Mostly luma, as in nature: the channels rise and fall together.
        coarse = 0.35 * coarse + 0.65 * coarse.mean(axis=2, keepdims=True)
        pixels += amplitude * cv2.resize(
            coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        cells, amplitude = cells * 2, amplitude * 0.6
    pixels += rng.normal(0, grain_levels, (height, width, 1)).astype(np.float32)
    pixels += rng.normal(0, grain_levels / 3, (height, width, 3)).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def product_on_white(
    width: int, height: int, *, seed: int, grain_levels: float = 2.0
) -> UInt8[np.ndarray, "h w 3"]:
    """The middle of a photo, cut out along an ellipse with a soft edge, on white."""
    inside = photo(width, height, seed=seed, grain_levels=grain_levels).astype(np.float32)
    mask = np.zeros((height, width), np.float32)
    middle, axes = (width // 2, height // 2), (int(width * 0.36), int(height * 0.42))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 1.0, -1)
    share = cv2.GaussianBlur(mask, (0, 0), 2)[:, :, None]
    return (255 - share * (255 - inside)).astype(np.uint8)


def jpeg(pixels: UInt8[np.ndarray, "h w 3"], *, quality: int = 90) -> bytes:
    """As shops' cameras and programs write them: chroma at half the size."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling="4:2:0")
    return out.getvalue()
