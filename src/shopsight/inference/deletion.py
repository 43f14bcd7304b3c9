"""What a map is worth: the pixels that it names are covered, and the answer is asked again.

A map that is right about where the evidence is takes the answer away with few pixels; one that is
no better than chance takes it away as slowly as chance does.

Source: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
section 4.2 (deletion).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

from shopsight.images.undo_preprocess import InSquare, undone
from shopsight.preprocess import Preprocess

TOP = 0.2
"""Of the pixels that the network saw: the top region of a map."""


def heat_in_square(
    cells: Float[np.ndarray, "r c"], place: InSquare, size_px: int
) -> Float32[np.ndarray, "{size_px} {size_px}"]:
    """A map of coarse cells as one of the square's pixels.

    Args:
        cells: of the square.
        place: where the image lies in it, see `place_in_square`.
        size_px: side of the square.

    Returns:
        NaN where there is no image but the color beside it.
    """
    heat = undone(cells, size_px, size_px, Preprocess(size_px=size_px, resize="squash"))
    middle = np.arange(size_px) + 0.5
    heat[(middle < place.top) | (middle > place.top + place.height)] = np.nan
    heat[:, (middle < place.left) | (middle > place.left + place.width)] = np.nan
    if np.isnan(heat).all():
        # An image that is thinner than a pixel of the square.
        row = min(max(0, int(place.top + place.height / 2)), size_px - 1)
        column = min(max(0, int(place.left + place.width / 2)), size_px - 1)
        heat[row, column] = 0.0
    return heat


def hottest_first(heat: Float32[np.ndarray, "s s"]) -> Int64[np.ndarray, "n"]:
    """The pixels with an image, as flat positions, what speaks most for the label first."""
    flat = heat.ravel()
    seen = np.flatnonzero(np.isfinite(flat))
    return np.asarray(seen[np.argsort(-flat[seen], kind="stable")], np.int64)


def with_covered(
    square: UInt8[np.ndarray, "s s 3"],
    order: Int64[np.ndarray, "n"],
    fraction: float,
    *,
    color: UInt8[np.ndarray, "3"],
) -> UInt8[np.ndarray, "s s 3"]:
    """The prepared image with the first pixels of an order covered.

    Args:
        square: the image.
        order: flat positions.
        fraction: of the order, 0 to 1.
        color: that covers.
    """
    covered = square.copy()
    covered.reshape(-1, 3)[order[: round(fraction * len(order))]] = color
    return covered


def top_share(heat: Float32[np.ndarray, "s s"], *, top: float = TOP) -> float | None:
    """Of all that speaks for the label, the part that lies in the hottest region.

    Args:
        heat: NaN where there is no image.
        top: the region's part of the pixels.

    Returns:
        A fraction; `top` itself of an even map; None where nothing speaks for the label.
    """
    flat = heat.ravel()[hottest_first(heat)].astype(np.float64).clip(0)
    whole = float(flat.sum())
    return float(flat[: max(1, round(top * len(flat)))].sum()) / whole if whole > 0 else None
