"""Plots of `bench_scale.py`: seconds of each function over the rows, one drawing for an area."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from shopsight.charts import svg
from shopsight.charts.curves import Axes

WIDTH_PX, HEIGHT_PX = 860.0, 460.0
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 60.0, 270.0, 34.0, 46.0
NAME_PX = 13.0
# Colors of templates/style.css: an image in a page does not see the page's.
STYLE = """<style>
:root { --line: #e3e2dd; --ink: #1d1d1b; --muted: #65645f; --faint: #96958f;
  --a: #2f5fd0; --b: #d9772b; --c: #2b8a6e; --d: #8a56b8; }
@media (prefers-color-scheme: dark) { :root { --line: #303238; --ink: #ececea; --muted: #a5a59f;
  --faint: #7b7b77; --a: #82a6ff; --b: #f0a560; --c: #5cc4a1; --d: #c39aec; } }
.chart { font: 12px ui-sans-serif, system-ui, sans-serif; fill: var(--ink); }
.tick, .axis-title { fill: var(--muted); font-size: 11.5px; }
.grid { stroke: var(--line); } .axis { stroke: var(--faint); }
.reference { fill: none; stroke: var(--faint); stroke-dasharray: 3 4; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line.a { stroke: var(--a); } .line.b { stroke: var(--b); }
.line.c { stroke: var(--c); } .line.d { stroke: var(--d); }
.name { font-size: 11.5px; } .name.a { fill: var(--a); } .name.b { fill: var(--b); }
.name.c { fill: var(--c); } .name.d { fill: var(--d); }
</style>"""


def write_plots(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write scale-AREA.svg of each area; times below 10 ms are start-up and are not drawn."""
    done = [r for r in records if r["status"] == "ok" and r["cpu_seconds"] >= 0.01]
    for area in sorted({record["area"] for record in done}):
        mine = [record for record in done if record["area"] == area]
        path = folder / f"scale-{area}.svg"
        path.write_text(plot(mine) + "\n", encoding="utf-8", newline="\n")
        print(path)


def plot(records: Sequence[Mapping[str, Any]]) -> str:
    """Seconds over rows, both axes logarithmic, beside the slope of n log n."""
    names = dict.fromkeys(record["name"] for record in records)
    curves = {
        name: sorted((r["rows"], r["cpu_seconds"]) for r in records if r["name"] == name)
        for name in names
    }
    points = [point for curve in curves.values() for point in curve]
    sizes, seconds = [n for n, _ in points], [s for _, s in points]
    low, high = (
        10.0 ** edge(math.log10(v))
        for edge, v in zip((math.floor, math.ceil), (min(seconds), max(seconds)), strict=True)
    )
    axes = Axes(
        svg.Scale(min(sizes), max(*sizes, 10 * min(sizes)), LEFT_PX, WIDTH_PX - RIGHT_PX, log=True),
        svg.Scale(low, high, HEIGHT_PX - BOTTOM_PX, TOP_PX, log=True),
        "rows",
        "seconds of processor time",
    )
    parts = [STYLE, *axes.parts(), *_n_log_n(axes)]
    ends = []
    for (name, curve), hue in zip(curves.items(), cycle("abcd"), strict=False):
        placed = [(axes.x(n), axes.y(s)) for n, s in curve]
        parts.append(svg.path(placed, f"line {hue}"))
        parts += [svg.circle(x, y, 2.5, f"name {hue}") for x, y in placed]
        ends.append((placed[-1][1], f"{name}  {curve[-1][1]:,.3g} s", hue))
    parts += _names(ends)
    drawn = svg.drawing(
        parts, width_px=WIDTH_PX, height_px=HEIGHT_PX, description="Seconds over rows"
    )
    return str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _n_log_n(axes: Axes) -> list[str]:
    """A line of n log n through the lower left corner, as far as the plot reaches."""
    first, last = axes.x.low, axes.x.high
    sizes = [first * (last / first) ** (step / 40) for step in range(41)]
    unit = axes.y.low / (first * math.log(first))
    line = [(n, unit * n * math.log(n)) for n in sizes]
    inside = [(axes.x(n), axes.y(s)) for n, s in line if s <= axes.y.high]
    x, y = inside[-1]
    return [svg.path(inside, "reference"), svg.text(x - 4, y - 6, "n log n", "tick", anchor="end")]


def _names(ends: Sequence[tuple[float, str, str]]) -> list[str]:
    """Names beside the ends of their lines, moved apart where they would lie on each other."""
    parts, lowest = [], -math.inf
    room = HEIGHT_PX - 8
    ends = sorted(ends)
    for place, (wanted, name, hue) in enumerate(ends):
        # Those below must still fit.
        y = min(max(wanted, lowest + NAME_PX), room - NAME_PX * (len(ends) - 1 - place))
        lowest = y
        parts.append(svg.text(WIDTH_PX - RIGHT_PX + 8, y + 4, name, f"name {hue}"))
    return parts
