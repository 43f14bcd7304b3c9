"""Strokes of a chart: scales with round ticks, and SVG elements colored by the page's CSS.

Charts take their colors from CSS classes (`templates/style.css`), so that one drawing serves the
light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

# Mean width of a character of the page's font, as a fraction of its size.
CHARACTER_WIDTH = 0.56
FONT_PX = 12.0


@dataclass(frozen=True)
class Scale:
    """Maps values low..high to pixels start..end.

    Attributes:
        log: logarithmic; low must be above 0.
        whole: ticks at whole numbers only (epochs).
    """

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        fraction = (value - low) / (high - low) if high > low else 0.5
        return self.start_px + fraction * (self.end_px - self.start_px)

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values within low..high."""
        if self.log:
            return log_ticks(self.low, self.high)
        values = ticks(self.low, self.high, count)
        return [value for value in values if value.is_integer()] if self.whole else values


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten within low..high."""
    if high <= low:
        return [float(low)]
    step = round_step((high - low) / max(count, 1))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within low..high; powers of ten alone over four decades."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 4 else (1,)
    values = [factor * 10.0**decade for decade in decades for factor in factors]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]


def round_step(step: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= step * (1 - 1e-9))


def round_span(low: float, high: float, count: int = 5) -> tuple[float, float]:
    """`low` and `high` moved outwards to round values."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = round_step((high - low) / max(count, 1))
    return (
        math.floor(low / step + 1e-9) * step,
        math.ceil(high / step - 1e-9) * step,
    )


def number(value: float) -> str:
    """`0.30000001` -> `"0.3"`, `12500` -> `"12.5k"`: short, for an axis."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            divisor = 1e3 if unit == "k" else size
            return f"{value / divisor:.4g}{unit}"
    return f"{value:.4g}"


def percent(value: float) -> str:
    """`0.875` -> `"87.5 %"`, with a space that does not break."""
    return f"{100 * value:.4g}\N{NO-BREAK SPACE}%"


def px(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def text_width_px(text: str, size_px: float = FONT_PX) -> float:
    """An estimate: the font is the reader's."""
    return len(text) * size_px * CHARACTER_WIDTH


def shortened(text: str, characters: int) -> str:
    """`text` cut to `characters`, the cut shown as an ellipsis."""
    whole = len(text) <= characters
    return text if whole else text[: max(characters - 1, 1)] + "\N{HORIZONTAL ELLIPSIS}"


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A `<line>` between two points."""
    return f'<line class="{css}" x1="{px(x1)}" y1="{px(y1)}" x2="{px(x2)}" y2="{px(y2)}"/>'


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    css: str,
    *,
    opacity: float | None = None,
    title: str = "",
    radius_px: float = 0.0,
) -> str:
    """A `<rect>`; `title` is shown when the pointer rests on it."""
    shade = "" if opacity is None else f' fill-opacity="{opacity:.2f}"'
    corner = f' rx="{px(radius_px)}"' if radius_px else ""
    start = f'<rect class="{css}" x="{px(x)}" y="{px(y)}"'
    start += f' width="{px(max(width, 0))}" height="{px(max(height, 0))}"{corner}{shade}'
    return f"{start}>{tooltip(title)}</rect>" if title else f"{start}/>"


def circle(x: float, y: float, radius_px: float, css: str, *, title: str = "") -> str:
    """A `<circle>` around a point; `title` is shown when the pointer rests on it."""
    start = f'<circle class="{css}" cx="{px(x)}" cy="{px(y)}" r="{px(radius_px)}"'
    return f"{start}>{tooltip(title)}</circle>" if title else f"{start}/>"


def path(points: Sequence[tuple[float, float]], css: str) -> str:
    """A `<path>` of straight lines through the points; nothing without points."""
    steps = "L".join(f"{px(x)} {px(y)}" for x, y in points)
    return f'<path class="{css}" d="M{steps}"/>' if points else ""


def text(
    x: float,
    y: float,
    content: str,
    css: str = "",
    *,
    anchor: str = "start",
    rotate_deg: float = 0.0,
) -> str:
    """A `<text>` at a point, escaped; `anchor` is "start", "middle" or "end"."""
    turn = f' transform="rotate({px(rotate_deg)} {px(x)} {px(y)})"' if rotate_deg else ""
    look = f' class="{css}"' if css else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{look} x="{px(x)}" y="{px(y)}"{side}{turn}>{escape(content)}</text>'


def tooltip(content: str) -> str:
    """A `<title>`: what browsers show when the pointer rests on the element around it."""
    return f"<title>{escape(content)}</title>"


def drawing(
    parts: Sequence[str], *, width_px: float, height_px: float, description: str, css: str = "chart"
) -> Markup:
    """One `<svg>` that scales with its column, never above its own size.

    Args:
        parts: SVG elements, from back to front.
        width_px: of the drawing's coordinates.
        height_px: likewise.
        description: what it shows, for readers who do not see it.
        css: class of the `<svg>`.
    """
    head = f'<svg class="{css}" viewBox="0 0 {px(width_px)} {px(height_px)}" role="img"'
    head += f' style="max-width:{px(width_px)}px" aria-label="{escape(description)}">'
    return Markup(head + "".join(parts) + "</svg>")  # every text went through escape
