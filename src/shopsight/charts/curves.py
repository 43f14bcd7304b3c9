"""Charts with two axes: curves over epochs, accuracy against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shopsight.charts import svg

WIDTH_PX, HEIGHT_PX = 520.0, 300.0
# Room for tick labels and axis titles around the plot.
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52.0, 20.0, 30.0, 40.0


@dataclass(frozen=True)
class Curve:
    """A named line; points whose y is NaN or None are left out.

    Attributes:
        hue: "a", "b", "c" or "d", the page's series colors.
        dashed: a dashed line, for what is less important.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    hue: str = "a"
    dashed: bool = False

    def points(self) -> list[tuple[float, float]]:
        pairs = zip(self.x, self.y, strict=True)
        return [(x, y) for x, y in pairs if y is not None and math.isfinite(y)]


@dataclass(frozen=True)
class Mark:
    """A vertical line at x, with a word at its head."""

    x: float
    name: str


@dataclass(frozen=True)
class Axes:
    """The plot's frame: two scales and how their values are written."""

    x: svg.Scale
    y: svg.Scale
    x_title: str
    y_title: str
    x_text: Callable[[float], str] = svg.number
    y_text: Callable[[float], str] = svg.number

    def parts(self) -> list[str]:
        bottom, top = self.y.start_px, self.y.end_px
        left, right = self.x.start_px, self.x.end_px
        parts = []
        for value in self.y.ticks():
            y = self.y(value)
            parts.append(svg.line(left, y, right, y, "grid"))
            parts.append(svg.text(left - 8, y + 4, self.y_text(value), "tick", anchor="end"))
        for value in self.x.ticks(6):
            parts.append(
                svg.text(self.x(value), bottom + 17, self.x_text(value), "tick", anchor="middle")
            )
        parts.append(svg.line(left, bottom, right, bottom, "axis"))
        parts.append(svg.text(right, bottom + 34, self.x_title, "axis-title", anchor="end"))
        parts.append(svg.text(left - 44, top - 14, self.y_title, "axis-title"))
        return parts


def line_chart(
    curves: Sequence[Curve],
    *,
    x_title: str,
    y_title: str,
    percent: bool = False,
    from_zero: bool = False,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Curves over one axis, e.g. training and validation loss over epochs.

    Args:
        curves: curves without a single value are left out.
        x_title: of the x axis.
        y_title: of the y axis.
        percent: y is a fraction of 1 and is written in percent.
        from_zero: the y axis starts at 0.
        marks: vertical lines.
    """
    rendered = [(curve, curve.points()) for curve in curves]
    rendered = [(curve, points) for curve, points in rendered if points]
    if not rendered:
        return Markup("")
    xs = [x for _, points in rendered for x, _ in points]
    ys = [y for _, points in rendered for _, y in points]
    low, high = svg.round_span(0.0 if from_zero else min(ys), max(ys))
    if percent:
        low, high = max(low, 0.0), min(high, 1.0)
    axes = Axes(
        # A single epoch is plotted in the middle, not on the axis.
        svg.Scale(min(xs), max(xs), LEFT_PX, WIDTH_PX - RIGHT_PX, whole=_whole(xs)),
        svg.Scale(low, high, HEIGHT_PX - BOTTOM_PX, TOP_PX),
        x_title,
        y_title,
        y_text=svg.percent if percent else svg.number,
    )
    parts = axes.parts() + _marks(marks, axes) + _legend([curve for curve, _ in rendered])
    write = svg.percent if percent else svg.number
    for curve, points in rendered:
        placed = [(axes.x(x), axes.y(y)) for x, y in points]
        dashed = " dashed" if curve.dashed else ""
        parts.append(svg.path(placed, f"line {curve.hue}{dashed}"))
        radius = 3.0 if len(points) <= 24 else 1.5
        parts += [
            svg.circle(
                px,
                py,
                radius,
                f"dot {curve.hue}",
                title=f"{curve.name} {x:g}: {write(round(y, 4))}",
            )
            for (px, py), (x, y) in zip(placed, points, strict=True)
        ]
    return svg.drawing(
        parts, width_px=WIDTH_PX, height_px=HEIGHT_PX, description=f"{y_title} over {x_title}"
    )


def _whole(values: Sequence[float]) -> bool:
    return all(float(value).is_integer() for value in values)


def _marks(marks: Sequence[Mark], axes: Axes) -> list[str]:
    parts = []
    for mark in marks:
        x = axes.x(mark.x)
        flipped = x > axes.x.end_px - svg.text_width_px(mark.name) - 6
        parts.append(svg.line(x, axes.y.end_px, x, axes.y.start_px, "reference"))
        parts.append(
            svg.text(
                x - 5 if flipped else x + 5,
                axes.y.start_px - 7,
                mark.name,
                "tick",
                anchor="end" if flipped else "start",
            )
        )
    return parts


def _legend(curves: Sequence[Curve]) -> list[str]:
    """Names in the top right corner, right to left; curves without a name have no entry."""
    curves = [curve for curve in curves if curve.name]
    if len(curves) < 2:
        return []
    parts = []
    x = WIDTH_PX - RIGHT_PX
    for curve in reversed(curves):
        parts.append(svg.text(x, TOP_PX - 14, curve.name, "legend", anchor="end"))
        x -= svg.text_width_px(curve.name) + 10
        parts.append(svg.circle(x + 3, TOP_PX - 18, 4, f"dot {curve.hue}"))
        x -= 16
    return parts
