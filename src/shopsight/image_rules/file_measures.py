"""What rules ask of a file beside what every audit knows: its pixels, and what it declares."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.errors import ImageError
from shopsight.image_rules.pixels import measure_pixels
from shopsight.images.declared_form import declared_form
from shopsight.images.decode import decode
from shopsight.images.decode_room import decoding

MEASURES_VERSION = 1
"""Version of what is kept; raised when the same file would get other measures."""

MEASURES = pl.Schema(
    {
        "reason": pl.String,
        "color_space": pl.String,
        "is_animated": pl.Boolean,
        "near_white": pl.Float64,
        "pure_white": pl.Float64,
        "is_cut": pl.Boolean,
        "fill": pl.Float64,
        "most_fill": pl.Float64,
        "touched": pl.String,
        "frame_px": pl.Int32,
        "frame_color": pl.String,
        "shot": pl.String,
    }
)
"""The columns of `FileMeasures`."""

PACKSHOT, SCENE = "packshot", "scene"


@dataclass(frozen=True, slots=True)
class FileMeasures:
    """What is measured of one file; see `PixelMeasures` and `DeclaredForm`.

    Attributes:
        reason: the `ImageError.reason` where it was not measured, else empty.
        color_space: see `DeclaredForm`.
        is_animated: see `DeclaredForm`.
        near_white: see `PixelMeasures`.
        pure_white: see `PixelMeasures`.
        is_cut: see `PixelMeasures`.
        fill: see `PixelMeasures`.
        most_fill: see `PixelMeasures`.
        touched: the sides in a row, empty where none is touched.
        frame_px: see `PixelMeasures`.
        frame_color: see `PixelMeasures`.
        shot: "packshot", the product on white, or "scene".
    """

    reason: str = ""
    color_space: str | None = None
    is_animated: bool | None = None
    near_white: float | None = None
    pure_white: float | None = None
    is_cut: bool | None = None
    fill: float | None = None
    most_fill: float | None = None
    touched: str | None = None
    frame_px: int | None = None
    frame_color: str | None = None
    shot: str | None = None


def measure_file(data: bytes) -> FileMeasures:
    """Measure a file; what cannot be decoded has a reason, and nothing is raised.

    The pixels are decoded at their full size: pure white is exact only there.

    Args:
        data: the file.
    """
    try:
        form = declared_form(data)
        with decoding():
            found = measure_pixels(decode(data))
    except ImageError as error:
        return FileMeasures(error.reason)
    return FileMeasures(
        color_space=form.color_space,
        is_animated=form.is_animated,
        near_white=found.near_white,
        pure_white=found.pure_white,
        is_cut=found.is_cut,
        fill=found.fill,
        most_fill=found.most_fill,
        touched=", ".join(found.touched),
        frame_px=found.frame_px,
        frame_color=found.frame_color,
        shot=PACKSHOT if found.is_packshot else SCENE,
    )
