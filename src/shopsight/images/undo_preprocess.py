"""From a map over the network's square back to the image as people see it.

The square was padded, cropped or squashed out of the upright image (`shopsight.images.model_input`,
whose geometry is repeated here in reverse). What the crop cut off, the network has not seen: there
the map has no value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from shopsight.images.model_input import Box, crop_of_box, resized_size
from shopsight.preprocess import Preprocess


class InSquare(NamedTuple):
    """Where the upright image lies in the square, in pixels of the square; it may reach beyond.

    Attributes:
        left: of its left edge.
        top: of its upper edge.
        width: of the whole image.
        height: likewise.
    """

    left: float
    top: float
    width: float
    height: float


def place_in_square(width: int, height: int, preprocess: Preprocess) -> InSquare:
    """Where an upright image of this size lies in the square.

    Args:
        width: pixels.
        height: pixels.
        preprocess: what fits it into the square.
    """
    size = preprocess.size_px
    w, h = resized_size(width, height, preprocess)
    match preprocess.resize:
        case "squash":
            return InSquare(0, 0, size, size)
        case "crop":
            return InSquare(-round((w - size) / 2), -round((h - size) / 2), w, h)
        case "pad":
            return InSquare((size - w) // 2, (size - h) // 2, w, h)


def undone(
    heat: Float[np.ndarray, "r c"],
    width: int,
    height: int,
    preprocess: Preprocess,
    *,
    box: Box | None = None,
    shape: tuple[int, int] | None = None,
) -> Float32[np.ndarray, "h2 w2"]:
    """A map of coarse cells over the square, as one over the upright image.

    Args:
        heat: cells of the square, each the value at its middle.
        width: of the image, pixels.
        height: likewise.
        preprocess: what fitted the image into the square.
        box: the part of the image that was fitted into it; None is the whole image.
        shape: rows and columns of the result; None: those of the image, a value for each pixel.

    Returns:
        Values between the middles of cells are interpolated; NaN where the network saw nothing.
    """
    crop = crop_of_box(box, width, height, None)
    place, size = place_in_square(crop.w, crop.h, preprocess), preprocess.size_px
    num_rows, num_columns = (height, width) if shape is None else shape
    # In pixels of the crop, then of the square.
    across = (np.arange(num_columns) + 0.5) * width / num_columns - crop.x
    down = (np.arange(num_rows) + 0.5) * height / num_rows - crop.y
    x = place.left + across * place.width / crop.w
    y = place.top + down * place.height / crop.h
    rows, columns = heat.shape
    low_y, high_y, part_y = _between(y * rows / size, rows)
    low_x, high_x, part_x = _between(x * columns / size, columns)
    upper = heat[low_y][:, low_x] * (1 - part_x) + heat[low_y][:, high_x] * part_x
    lower = heat[high_y][:, low_x] * (1 - part_x) + heat[high_y][:, high_x] * part_x
    found = np.asarray(upper * (1 - part_y)[:, None] + lower * part_y[:, None], np.float32)
    found[(y < 0) | (y > size) | (down < 0) | (down > crop.h)] = np.nan
    found[:, (x < 0) | (x > size) | (across < 0) | (across > crop.w)] = np.nan
    return found


def _between(
    place: Float[np.ndarray, "n"], count: int
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "n"]]:
    """The cells whose middles lie before and behind a place, and how far it is between them."""
    moved = np.clip(place - 0.5, 0, count - 1)
    low = np.floor(moved).astype(np.int64)
    return low, np.minimum(low + 1, count - 1), moved - low
