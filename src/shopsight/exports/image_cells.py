"""Cells of images: which name one, several in a cell, and what tells two images apart."""

from __future__ import annotations

import re

import polars as pl

from shopsight.images.kinds import IMAGE_SUFFIXES

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]+://[^/?#]*"
_SUFFIX = "|".join(sorted(re.escape(suffix.removeprefix(".")) for suffix in IMAGE_SUFFIXES))
# Neither tags nor control characters: descriptions in HTML stand in any column.
_ADDRESS = r"^(?i:https?|s3|gs|gcs|az|abfss?)://[^/?#\s<>\x00-\x1f][^<>\x00-\x1f]*$"
_PATH = rf"^[^<>\x00-\x1f]{{1,1000}}\.(?i:{_SUFFIX})(?:[?#][^<>\x00-\x1f]*)?$"
_SEVERAL = "\x1f"


def images_in(cells: pl.Expr, *, several: bool) -> pl.Expr:
    """The images that cells name, as lists; those of one cell stand with commas between them.

    Args:
        cells: text.
        several: a cell may name several. A comma within an address is one of its own, unless
            another address follows.
    """
    cells = cells.str.strip_chars()
    if several:
        address = cells.str.replace_all(r"\s*,\s*((?:https?:)?//)", _SEVERAL + "${1}")
        is_address = cells.str.contains(r"^(?i:https?:)?//")
        path = cells.str.replace_all(r"\s*,\s*", _SEVERAL)
        parts = pl.when(is_address).then(address).otherwise(path).str.split(_SEVERAL)
    else:
        parts = pl.concat_list(cells)
    return parts.list.eval(_with_protocol(pl.element().str.strip_chars()))


def names_an_image(images: pl.Expr) -> pl.Expr:
    """Whether texts are addresses, or paths that end as images do."""
    return images.str.contains(_ADDRESS) | images.str.contains(_PATH)


def image_identity(images: pl.Expr) -> pl.Expr:
    """What tells two images apart: addresses without the version that shops put behind them.

    Scheme and host in lower case, no `v=`, no fragment; paths as they are.

    >>> urls = ["HTTPS://CDN.shop/a.jpg?v=17#x", "https://cdn.shop/a.jpg?v=1&width=9", "a.jpg?v=1"]
    >>> pl.select(image_identity(pl.lit(pl.Series(urls)))).to_series().to_list()
    ['https://cdn.shop/a.jpg', 'https://cdn.shop/a.jpg?width=9', 'a.jpg?v=1']
    """
    host = images.str.extract(f"({_HOST})")
    rest = images.str.replace(_HOST, "").str.replace("#.*$", "")
    rest = rest.str.replace_all(r"([?&])v=[^&]*", "${1}")
    rest = rest.str.replace_all("&&+", "&").str.replace(r"\?&", "?").str.replace("[?&]+$", "")
    return pl.when(host.is_not_null()).then(host.str.to_lowercase() + rest).otherwise(images)


def _with_protocol(images: pl.Expr) -> pl.Expr:
    """Addresses with their protocol, which `//cdn.shop.com/a.jpg` leaves to the page it is on."""
    return images.str.replace("^//", "https://")
