"""Bars: counts per class, and the strip that shows a value within its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shopsight.charts import svg

WIDTH_PX = 520.0


@dataclass(frozen=True)
class Bar:
    """A horizontal bar: name, length, and what is written at its end.

    Attributes:
        hue: "a" to "d", "good", "bad" or "quiet".
    """

    name: str
    value: float
    text: str
    hue: str = "a"


def bar_chart(
    bars: Sequence[Bar], *, description: str, limit: int = 40, full: float | None = None
) -> Markup:
    """Horizontal bars, one under the other.

    Args:
        bars: from top to bottom.
        description: what the chart shows, for readers who do not see it.
        limit: with more bars, the first and last half of so many are shown, and a line counts
            the others.
        full: the value of a bar of full length; the largest value when None.
    """
    if not bars:
        return Markup("")
    shown: list[Bar | None] = list(bars)
    if len(bars) > limit:
        half = limit // 2
        shown = [*bars[:half], None, *bars[len(bars) - half :]]
    row_px = 22.0
    name_px = min(max(svg.text_width_px(svg.shortened(bar.name, 26)) for bar in bars) + 12, 190.0)
    text_px = max(svg.text_width_px(bar.text) for bar in bars) + 8
    longest = full if full is not None else max(bar.value for bar in bars) or 1.0
    room_px = WIDTH_PX - name_px - text_px
    parts = []
    for row, bar in enumerate(shown):
        y = row * row_px
        if bar is None:
            words = f"{len(bars) - len(shown) + 1} more between"
            parts.append(svg.text(name_px, y + 15, words, "tick"))
            continue
        width = max(room_px * bar.value / longest, 1.5)
        parts.append(
            svg.text(name_px - 10, y + 15, svg.shortened(bar.name, 26), "legend", anchor="end")
        )
        title = f"{bar.name}: {bar.text}"
        parts.append(
            svg.rect(name_px, y + 4, width, row_px - 8, f"fill {bar.hue}", radius_px=2, title=title)
        )
        parts.append(svg.text(name_px + width + 7, y + 15, bar.text, "tick"))
    return svg.drawing(
        parts, width_px=WIDTH_PX, height_px=len(shown) * row_px, description=description
    )


def interval_strip(value: float, low: float, high: float) -> Markup:
    """A dot for a fraction of 1 and a bar for its interval, on an axis that zooms to it."""
    width, height, side = 400.0, 40.0, 22.0
    reach = max(high - low, 0.01)
    start, end = svg.round_span(max(low - reach, 0.0), min(high + reach, 1.0), 4)
    x = svg.Scale(max(start, 0.0), min(end, 1.0), side, width - side)
    parts = [svg.line(side, 14, width - side, 14, "track")]
    parts.append(svg.line(x(low), 14, x(high), 14, "band"))
    parts.append(
        svg.circle(x(value), 14, 6, "dot a", title=f"{value:.2%} ({low:.2%} to {high:.2%})")
    )
    parts += [
        svg.text(x(tick), 36, svg.percent(tick), "tick", anchor="middle") for tick in x.ticks(4)
    ]
    words = f"{value:.1%}, 95 % interval {low:.1%} to {high:.1%}"
    return svg.drawing(parts, width_px=width, height_px=height, description=words)
