"""Quality against cost: labeled points with their intervals and the front of the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shopsight.charts import svg
from shopsight.charts.curves import Axes

WIDTH_PX, HEIGHT_PX = 900.0, 440.0
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 60.0, 24.0, 34.0, 46.0

DOT_PX = 5.0
NAME_PX = 15.0
"""From one line of names to the next."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        x: the cost; less is better.
        y: the quality; more is better.
        low, high: the interval of y, where there is one.
    """

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Band:
    """A range of quality in which points belong together.

    Attributes:
        low, high: its ends on the y axis.
        name: written at its left end.
    """

    low: float
    high: float
    name: str


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in quality at the same or a lower cost, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def scatter_chart(
    points: Sequence[Point],
    *,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    percent: bool = True,
    x_text: Callable[[float], str] = svg.number,
    band: Band | None = None,
) -> Markup:
    """Points with names, intervals and the Pareto front (lower x and higher y are better).

    Args:
        points: in any order.
        x_title: of the x axis.
        y_title: of the y axis.
        log_x: a logarithmic x axis; needs every x > 0.
        percent: y is a fraction of 1 and is written in percent.
        x_text: how values on the x axis are written.
        band: a shaded range of y behind the points.
    """
    if not points:
        return Markup("")
    ends = [end for p in points for end in (p.y, p.low, p.high) if end is not None]
    low, high = svg.round_span(min(ends), max(ends))
    xs = [point.x for point in points]
    first, last = (min(xs) / 1.4, max(xs) * 1.4) if log_x else svg.round_span(min(xs), max(xs))
    axes = Axes(
        svg.Scale(first, last, LEFT_PX, WIDTH_PX - RIGHT_PX, log=log_x),
        svg.Scale(low, min(high, 1.0) if percent else high, HEIGHT_PX - BOTTOM_PX, TOP_PX),
        x_title,
        y_title,
        x_text=x_text,
        y_text=svg.percent if percent else svg.number,
    )
    front = pareto_front(points)
    shade = [] if band is None else _band(band, axes)
    parts = [*axes.parts(), *shade, _front(front, axes)]
    for point in points:
        parts += _point(point, axes, best=point in front, write=axes.y_text)
    parts += _names(points, axes)
    return svg.drawing(
        parts,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        description=f"{y_title} against {x_title}",
        css="chart wide",
    )


def _band(band: Band, axes: Axes) -> list[str]:
    """At least as high as a dot, so that equal points have one too."""
    top, bottom = axes.y(band.high) - DOT_PX, axes.y(band.low) + DOT_PX
    left, right = axes.x.start_px, axes.x.end_px
    return [
        svg.rect(left, top, right - left, bottom - top, "fill a", opacity=0.1),
        svg.text(left + 6, top - 5, band.name, "tick"),
    ]


def _front(front: Sequence[Point], axes: Axes) -> str:
    """A staircase: between two points the cheaper one is the best to be had."""
    corners: list[tuple[float, float]] = []
    for point in front:
        if corners:
            corners.append((axes.x(point.x), corners[-1][1]))
        corners.append((axes.x(point.x), axes.y(point.y)))
    corners.append((axes.x.end_px, corners[-1][1]))
    return svg.path(corners, "line a dashed")


def _point(point: Point, axes: Axes, *, best: bool, write: Callable[[float], str]) -> list[str]:
    x, y = axes.x(point.x), axes.y(point.y)
    parts = []
    title = f"{point.name}: {write(round(point.y, 4))} at {axes.x_text(point.x)}"
    if point.low is not None and point.high is not None:
        title += f" ({write(round(point.low, 4))} to {write(round(point.high, 4))})"
        parts.append(svg.line(x, axes.y(point.low), x, axes.y(point.high), "whisker"))
    parts.append(svg.circle(x, y, DOT_PX, "dot a" if best else "dot quiet", title=title))
    return parts


def _names(points: Sequence[Point], axes: Axes) -> list[str]:
    """Each name beside its point, at the first place that is free."""
    taken: list[Box] = [_around(axes.x(p.x), axes.y(p.y)) for p in points]
    parts = []
    for point in sorted(points, key=lambda point: -point.y):
        x, y, width = axes.x(point.x), axes.y(point.y), svg.text_width_px(point.name)
        places = [
            (x - 8, y - 9, "end"),
            (x + 8, y + 18, "start"),
            (x + 8, y - 9, "start"),
            (x - 8, y + 18, "end"),
            (x + 10, y + 4, "start"),
            (x - 10, y + 4, "end"),
            *((x - 8, y - 9 - rows * NAME_PX, "end") for rows in (1, 2)),
            *((x + 8, y + 18 + rows * NAME_PX, "start") for rows in (1, 2)),
        ]
        boxes = [_box(place, width) for place in places]
        inside = [b for b in boxes if b[0] > LEFT_PX and b[2] < WIDTH_PX] or boxes
        free = [b for b in inside if not any(_overlap(b, other) for other in taken)]
        chosen = boxes.index((free or inside)[0])
        taken.append(boxes[chosen])
        label_x, label_y, anchor = places[chosen]
        parts.append(svg.text(label_x, label_y, point.name, "legend named", anchor=anchor))
    return parts


def _around(x: float, y: float) -> Box:
    return (x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX)


def _box(place: tuple[float, float, str], width: float) -> Box:
    x, y, anchor = place
    left = x if anchor == "start" else x - width
    return (left, y - 10, left + width, y + 3)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
