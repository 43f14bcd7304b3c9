"""Stated against true accuracy, with what chance alone gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shopsight.charts import svg
from shopsight.charts.curves import BOTTOM_PX, HEIGHT_PX, LEFT_PX, RIGHT_PX, TOP_PX, WIDTH_PX
from shopsight.text import count_text

STRIP_PX = 44.0
"""Height of the bars of images below the plot."""
_HEIGHT_PX = HEIGHT_PX + 60


@dataclass(frozen=True)
class ReliabilityBin:
    """A bin of confidence with cells in it.

    Attributes:
        left: Lower edge.
        right: Upper edge.
        count: Images, or decisions.
        confidence: Their mean.
        accuracy: The fraction of them that is right.
        low: Lower end of the accuracy that chance alone gives.
        high: Upper end.
    """

    left: float
    right: float
    count: int
    confidence: float
    accuracy: float
    low: float
    high: float

    @property
    def is_off(self) -> bool:
        """Whether the accuracy lies outside of what chance gives."""
        return not self.low - 1e-9 <= self.accuracy <= self.high + 1e-9


def reliability_diagram(bins: Sequence[ReliabilityBin], *, what: str = "images") -> Markup:
    """Draw accuracy per bin of confidence against the diagonal, with the images per bin below.

    A box spans what chance gives each bin; the bin is orange where its accuracy is outside.

    Args:
        bins: Those that have images.
        what: What is counted.
    """
    x = svg.Scale(0.0, 1.0, LEFT_PX, WIDTH_PX - RIGHT_PX)
    y = svg.Scale(0.0, 1.0, _HEIGHT_PX - BOTTOM_PX - STRIP_PX - 16, TOP_PX)
    base = _HEIGHT_PX - BOTTOM_PX
    most = max((one.count for one in bins), default=1)
    bars = [part for one in bins for part in _bar(one, x, y, base, most, what)]
    diagonal = svg.line(x(0), y(0), x(1), y(1), "reference")
    frame = [svg.line(x(0), y(0), x(1), y(0), "axis"), svg.line(x(0), base, x(1), base, "axis")]
    return svg.drawing(
        [*_grid(x, y, base, what), *bars, diagonal, *frame],
        width_px=WIDTH_PX,
        height_px=_HEIGHT_PX,
        description="Accuracy in each bin of confidence, and what chance alone gives",
    )


def _bar(
    one: ReliabilityBin, x: svg.Scale, y: svg.Scale, base: float, most: int, what: str
) -> list[str]:
    left, right = x(one.left) + 1, x(one.right) - 1
    hue = "b" if one.is_off else "a"
    words = (
        f"{count_text(one.count)} {what}: confidence {svg.percent(round(one.confidence, 3))}, "
        f"accuracy {svg.percent(round(one.accuracy, 3))}; by chance "
        f"{svg.percent(round(one.low, 3))} to {svg.percent(round(one.high, 3))}"
    )
    wide, tall = right - left, STRIP_PX * one.count / most
    top, inset = y(one.accuracy), min(4.0, (right - left) / 5)
    return [
        svg.rect(left, top, wide, y(0) - top, f"fill {hue}", opacity=0.3),
        svg.rect(
            left + inset,
            y(one.high),
            wide - 2 * inset,
            max(1.0, y(one.low) - y(one.high)),
            "fill quiet",
            opacity=0.55,
            radius_px=2.0,
        ),
        svg.line(left, top, right, top, f"line {hue}"),
        svg.rect(left, base - tall, wide, tall, "fill quiet"),
        # One sheet over the whole column catches the pointer.
        svg.rect(left, TOP_PX, wide, base - TOP_PX, "sheet", title=words),
    ]


def _grid(x: svg.Scale, y: svg.Scale, base: float, what: str) -> list[str]:
    parts = [svg.line(x(0), y(value), x(1), y(value), "grid") for value in y.ticks()]
    parts += [
        svg.text(x(0) - 8, y(value) + 4, svg.percent(value), "tick", anchor="end")
        for value in y.ticks()
    ]
    parts += [
        svg.text(x(value), base + 17, svg.percent(value), "tick", anchor="middle")
        for value in x.ticks()
    ]
    return [
        *parts,
        svg.text(x(1), base + 34, "confidence", "axis-title", anchor="end"),
        svg.text(x(0) - 44, TOP_PX - 14, "accuracy", "axis-title"),
        svg.text(x(0) - 8, base - 2, what, "tick", anchor="end"),
    ]
