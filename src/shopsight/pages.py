"""The HTML pages: one look for audit.html, report.html and compare.html, each one file.

A page is a template of `templates/` that extends `base.html`. It holds its style and its images,
loads nothing, and follows the reader's light or dark theme. `parts.html` has the macros that pages
share (tile, gallery, shot, badge, meter, facts); `shopsight.charts` draws the charts.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup
from PIL import Image

from shopsight import text
from shopsight.control_characters import printable
from shopsight.files import write_text
from shopsight.text import human_bytes

NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Shot:
    """An image with its caption, as the macro `shot` of `parts.html` shows it.

    Attributes:
        image: a data URI; empty where there is none to show.
        said: the bold line.
        tone: of that line: "good", "bad" or nothing.
        under: the line below it.
        file: what names the image.
    """

    image: str
    said: str = ""
    tone: str = ""
    under: str = ""
    file: str = ""


@dataclass(frozen=True)
class Card:
    """Images side by side, with what they have in common.

    Attributes:
        about: the heading.
        shots: the images.
        more: what is said below them.
    """

    about: str
    shots: Sequence[Shot]
    more: str = ""


def write_page(path: Path | str, template: str, context: Mapping[str, Any]) -> Path:
    """Render `template` with `context` and write it whole; gives the path back."""
    write_text(path, render(template, context))
    return Path(path)


def render(template: str, context: Mapping[str, Any]) -> str:
    """The page as text. Every value is escaped unless it is `Markup`; an unknown name fails."""
    shared = {
        "version": version("shopsight"),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return _environment().get_template(f"{template}.html").render({**shared, **context})


def thumbnail(rgb: UInt8[np.ndarray, "h w 3"], *, side_px: int = 160, quality: int = 72) -> str:
    """A data URI (WebP) of the image, its longer side at most `side_px` pixels.

    A far smaller image (28 px) is enlarged by whole pixels, so that browsers do not blur it.
    """
    image = Image.fromarray(rgb)
    times = side_px // max(image.size)
    if times >= 2:
        size = (image.width * times, image.height * times)
        image = image.resize(size, Image.Resampling.NEAREST)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _webp(image, quality)


def layer_image(rgba: UInt8[np.ndarray, "h w 4"], *, quality: int = 72) -> str:
    """A data URI (WebP) of what lies over an image, as large as it is."""
    return _webp(Image.fromarray(rgba), quality)


def _webp(image: Image.Image, quality: int) -> str:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def percent_text(value: float | None, digits: int = 1) -> str:
    """Write a percentage as `shopsight.text` does, with a space that does not break."""
    return text.percent_text(value, digits).replace(" ", NO_BREAK)


def duration_text(seconds: float) -> str:
    """Write a duration as `shopsight.text` does, with spaces that do not break."""
    return text.duration_text(seconds).replace(" ", NO_BREAK)


def _shown(value: Any) -> str:
    """What a page is given, with control characters as escapes: a browser hides or obeys them."""
    shown = printable(str(value))
    return Markup(shown) if isinstance(value, Markup) else shown  # as much markup as before


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("shopsight", "templates"),
        autoescape=jinja2.select_autoescape(("html",)),
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = text.count_text
    environment.filters["percent"] = percent_text
    environment.filters["decimal"] = text.decimal_text
    environment.filters["duration"] = duration_text
    environment.filters["bytes"] = human_bytes
    return environment
