"""The confusion matrix, legible from 2 classes to hundreds.

Up to 40 classes each cell is a rectangle with its count. Above that it is an image with one pixel
per cell, and the classes that are mixed up most are shown beside it as a small matrix of their own.
Of more than 200 classes an image would show nothing but its diagonal.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64, UInt8
from markupsafe import Markup
from PIL import Image

from shopsight.charts import svg

MAX_CELL_CLASSES = 40
MAX_IMAGE_CLASSES = 200
# Mid-tones that are visible on white and on near-black.
RIGHT_RGB = (74, 125, 232)
WRONG_RGB = (226, 98, 62)
# Opacities of each of the two colors in the image's palette.
LEVELS = 127


def confusion_chart(
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    *,
    labels: Sequence[str],
) -> Markup:
    """The matrix of all classes: a cell each up to 40 classes, an image above.

    Args:
        truth: true class of each cell that is not zero, as an index into `labels`.
        predicted: predicted class of each cell.
        count: images in each cell.
        labels: names of the classes, at most `MAX_IMAGE_CLASSES`.
    """
    if len(labels) <= MAX_CELL_CLASSES:
        return _as_cells(truth, predicted, count, labels)
    return _as_image(truth, predicted, count, labels)


def most_confused(
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    *,
    classes: int,
    most: int = 24,
) -> Int64[np.ndarray, "m"]:
    """The classes that take part in the most confusions, in their order; at most `most`."""
    wrong = truth != predicted
    score = np.bincount(truth[wrong], count[wrong], minlength=classes)
    score += np.bincount(predicted[wrong], count[wrong], minlength=classes)
    order = np.argsort(-score, kind="stable")[:most]
    return np.sort(order[score[order] > 0]).astype(np.int64)


def confusion_of(
    chosen: Int64[np.ndarray, "m"],
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    *,
    labels: Sequence[str],
) -> Markup:
    """The matrix of some classes; confusions with all others are not in it."""
    index_of = np.full(len(labels), -1)
    index_of[chosen] = np.arange(len(chosen))
    inside = (index_of[truth] >= 0) & (index_of[predicted] >= 0)
    names = [labels[c] for c in chosen]
    return _as_cells(index_of[truth[inside]], index_of[predicted[inside]], count[inside], names)


def _as_cells(
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    labels: Sequence[str],
) -> Markup:
    classes = len(labels)
    cell = float(np.clip(640 / classes, 17, 44))
    names = [svg.shortened(label, 22) for label in labels]
    name_px = max(svg.text_width_px(name) for name in names) + 14
    # Column names lean by 45 degrees: their height and overhang are their length over root 2.
    head_px, side = name_px * 0.74 + 8, cell * classes
    width, height = name_px + side + name_px * 0.6, head_px + side + 6
    rows = np.bincount(truth, count, minlength=classes)
    parts = [svg.rect(name_px, head_px, side, side, "cells")]
    for k in range(classes):
        middle = (k + 0.5) * cell
        parts.append(svg.text(name_px - 8, head_px + middle + 4, names[k], "legend", anchor="end"))
        parts.append(
            svg.text(name_px + middle + 3, head_px - 7, names[k], "legend", rotate_deg=-45)
        )
    written = 9.0 if cell < 22 else 11.0
    fractions = count / rows[truth]
    cells = zip(truth.tolist(), predicted.tolist(), count.tolist(), fractions.tolist(), strict=True)
    for (t, p, n, fraction), opacity in zip(cells, _opacity(fractions).tolist(), strict=True):
        title = f"{labels[t]}, predicted {labels[p]}: {n} of {rows[t]:.0f} ({fraction:.1%})"
        x, y = name_px + p * cell, head_px + t * cell
        hue = "right" if t == p else "wrong"
        parts.append(
            svg.rect(x + 0.5, y + 0.5, cell - 1, cell - 1, hue, opacity=opacity, title=title)
        )
        words = str(n) if n < 1000 else f"{n / 1000:.2g}k"
        if svg.text_width_px(words, written) < cell - 1:
            look = "count strong" if opacity > 0.55 else "count"
            look += " small" if cell < 22 else ""
            parts.append(svg.text(x + cell / 2, y + cell / 2 + 4, words, look, anchor="middle"))
    return svg.drawing(
        parts,
        width_px=width,
        height_px=height,
        description=f"Confusion matrix of {classes} classes: rows are true, columns predicted",
        css="chart matrix",
    )


def _as_image(
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    labels: Sequence[str],
) -> Markup:
    classes = len(labels)
    # Columns names stand upright: every so many rows one name fits.
    side, name_px, head_px = 640.0, 150.0, 110.0
    cell = side / classes
    levels = _levels(truth, predicted, count, classes)
    parts = [
        svg.rect(name_px, head_px, side, side, "cells"),
        f'<image class="pixels" x="{name_px}" y="{head_px}" width="{side}" height="{side}" '
        f'preserveAspectRatio="none" href="{_png(levels)}"/>',
    ]
    every = max(1, int(np.ceil(13 / cell)))
    for k in range(0, classes, every):
        middle = (k + 0.5) * cell
        name = svg.shortened(labels[k], 20)
        parts.append(svg.text(name_px - 6, head_px + middle + 3.5, name, "tick", anchor="end"))
        name = svg.shortened(labels[k], 15)
        parts.append(svg.text(name_px + middle + 3.5, head_px - 6, name, "tick", rotate_deg=-90))
    words = f"Confusion matrix of {classes} classes: rows are true, columns predicted"
    return svg.drawing(
        parts,
        width_px=name_px + side + 10,
        height_px=head_px + side + 6,
        description=words,
        css="chart matrix",
    )


def _levels(
    truth: Int[np.ndarray, "k"],
    predicted: Int[np.ndarray, "k"],
    count: Int[np.ndarray, "k"],
    classes: int,
) -> UInt8[np.ndarray, "c c"]:
    """Palette index per pixel: 0 empty, 1..127 right, 128..255 wrong, by fraction of the row."""
    fraction = count / np.bincount(truth, count, minlength=classes)[truth]
    levels = np.zeros((classes, classes), np.uint8)
    level = np.round(_opacity(fraction) * (LEVELS - 1)).astype(np.uint8)
    level += np.where(truth == predicted, 1, 1 + LEVELS).astype(np.uint8)
    levels[truth, predicted] = level
    return levels


def _png(levels: UInt8[np.ndarray, "c c"]) -> str:
    """A palette of two colors times 127 opacities: it lies on any background."""
    opacity = np.round(np.arange(LEVELS) * 255 / (LEVELS - 1)).astype(np.uint8).tobytes()
    image = Image.fromarray(levels)
    image.putpalette(bytes((0, 0, 0)) + bytes(RIGHT_RGB) * LEVELS + bytes(WRONG_RGB) * LEVELS)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True, transparency=b"\0" + opacity + opacity)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _opacity(fraction: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """One image in a hundred is still seen: the root lifts small fractions."""
    return 0.12 + 0.88 * fraction**0.6
