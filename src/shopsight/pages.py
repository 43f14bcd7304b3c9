"""The HTML pages: one look for audit.html, report.html and compare.html, each one file.

A page is a template of `templates/` that extends `base.html`. It holds its style and its images,
loads nothing, and follows the reader's light or dark theme. `parts.html` has the macros that pages
share (tile, shot, badge, meter, facts); `shopsight.charts` draws the charts.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from shopsight.files import human_bytes, write_text

NO_BREAK = "\N{NO-BREAK SPACE}"


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
    return _environment().get_template(template).render({**shared, **context})


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
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def count_text(value: float) -> str:
    """`12345` -> `"12,345"`."""
    return f"{value:,.0f}"


def percent_text(value: float | None, digits: int = 1) -> str:
    """`0.8756` -> `"87.6 %"`; None and NaN -> a dash."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    return f"{100 * value:.{digits}f}{NO_BREAK}%"


def decimal_text(value: float | None, digits: int = 3) -> str:
    """`0.12345` -> `"0.123"`; None and NaN -> a dash."""
    return "\N{EN DASH}" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def duration_text(seconds: float) -> str:
    """`5160` -> `"1 h 26 min"`, `75` -> `"1 min 15 s"`, `0.25` -> `"0.2 s"`."""
    if seconds < 60:
        return f"{seconds:.0f}{NO_BREAK}s" if seconds >= 10 else f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min {rest_s}{NO_BREAK}s"
    hours, rest_min = divmod(minutes, 60)
    return f"{hours}{NO_BREAK}h {rest_min}{NO_BREAK}min"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("shopsight", "templates"),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count_text
    environment.filters["percent"] = percent_text
    environment.filters["decimal"] = decimal_text
    environment.filters["duration"] = duration_text
    environment.filters["bytes"] = human_bytes
    return environment
