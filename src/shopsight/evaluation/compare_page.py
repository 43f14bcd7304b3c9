"""compare.html, compare.csv and compare.json: a comparison to read and to work on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shopsight.charts.scatter import Point, pareto_front, scatter_chart
from shopsight.evaluation.compare import Comparison, Entry
from shopsight.files import atomic_file, write_json
from shopsight.pages import write_page

Cost = Callable[[Entry], float | None]
COSTS: dict[str, tuple[str, Cost]] = {
    "latency": ("milliseconds for one image", lambda entry: entry.latency_ms),
    "macs": (
        "multiply-adds, billions",
        lambda entry: entry.profile.macs / 1e9 if entry.profile else None,
    ),
    "training": (
        "minutes of training",
        lambda entry: entry.training_s / 60 if entry.training_s else None,
    ),
}


def write_comparison(folder: Path | str, comparison: Comparison) -> Path:
    """Write compare.html, compare.csv and compare.json; gives the page's path back."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "compare.csv") as part:
        comparison.table().write_csv(part)
    write_json(folder / "compare.json", comparison.to_json())
    return write_page(folder / "compare.html", "compare", _context(comparison))


def _context(comparison: Comparison) -> dict[str, Any]:
    charts = []
    fronts: dict[str, set[str]] = {}
    metric = comparison.metric.replace("_", " ")
    for name, (title, cost) in COSTS.items():
        points = _points(comparison, cost)
        if len(points) < 2:
            continue
        fronts[name] = {point.name for point in pareto_front(points)}
        chart = scatter_chart(points, x_title=title, y_title=metric, log_x=True)
        charts.append({"title": f"{metric} against {title}", "svg": chart})
    profiles = [entry.profile for entry in comparison.entries if entry.profile]
    return {
        "comparison": comparison,
        "metric": metric,
        "tied": [entry for entry in comparison.entries[1:] if not entry.clearly_worse],
        "charts": charts,
        "fronts": fronts,
        "measured_on": profiles[0] if profiles else None,
    }


def _points(comparison: Comparison, cost: Cost) -> list[Point]:
    return [
        Point(entry.name, x, entry.score.value, entry.score.low, entry.score.high)
        for entry in comparison.entries
        if (x := cost(entry)) is not None and x > 0
    ]
