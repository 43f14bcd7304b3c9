"""A few rendered images on which a network's precisions are compared, where it brings no others."""

from __future__ import annotations

import io

from PIL import Image

from shopsight.datasets.synthetic import OUTLINES, draw_product

NUM_IMAGES = 8


def reference_images() -> tuple[bytes, ...]:
    """PNG files of products of different classes, the same on every machine."""
    return tuple(_png(label) for label in list(OUTLINES)[:NUM_IMAGES])


def _png(label: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_product(label, number=0, view=0)).save(file, "PNG", compress_level=1)
    return file.getvalue()
