"""Images as the pages show them: small, and cut to their box."""

from __future__ import annotations

from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError
from shopsight.images.decode import decode, read_bytes
from shopsight.images.model_input import Box, box_at
from shopsight.io.access import Access
from shopsight.pages import thumbnail


def image_thumbnail(ref: str, access: Access, box: Box | None, *, side_px: int) -> str:
    """An image as a data URI, cut to its box; empty when it cannot be read now.

    Args:
        ref: its path or URL.
        access: what may be read.
        box: the part that is shown; None is the whole image.
        side_px: of the longer side, at most.
    """
    try:
        data = read_bytes(ref, access)
        if box is None:
            return thumbnail(decode(data, at_least_px=side_px), side_px=side_px)
        x, y, width, height = (round(value) for value in box)
        whole = decode(data)
        return thumbnail(whole[max(y, 0) : y + height, max(x, 0) : x + width], side_px=side_px)
    except ImageError:
        return ""


def row_thumbnail(catalog: Catalog, row: int, *, side_px: int) -> str:
    """`image_thumbnail` of a row."""
    one = catalog.take([row])
    return image_thumbnail(one.refs()[0], one.access, box_at(one.boxes(), 0), side_px=side_px)
