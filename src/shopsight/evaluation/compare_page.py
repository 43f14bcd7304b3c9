"""compare.html, compare.csv and compare.json: a comparison to read and to work on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shopsight.charts.scatter import Point, scatter_chart
from shopsight.evaluation.compare import Comparison, Entry
from shopsight.files import atomic_file, write_json
from shopsight.metrics.intervals import Interval
from shopsight.pages import write_page
from shopsight.text import count_text

Cost = Callable[[Entry], float | None]
COSTS: tuple[tuple[str, Cost], ...] = (
    ("milliseconds for one image", lambda entry: entry.latency_ms),
    (
        "multiply-adds, billions",
        lambda entry: entry.profile.macs / 1e9 if entry.profile else None,
    ),
    (
        "minutes of training",
        lambda entry: entry.training_s / 60 if entry.training_s else None,
    ),
)


def write_comparison(folder: Path | str, comparison: Comparison) -> Path:
    """Write compare.html, compare.csv and compare.json; gives the page's path back."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "compare.csv") as part:
        comparison.table().write_csv(part)
    write_json(folder / "compare.json", comparison.to_json())
    return write_page(folder / "compare.html", "compare", page_context(comparison))


@dataclass(frozen=True)
class ModelRow:
    """A model in the table of models.

    Attributes:
        entry: its numbers.
        backbone: empty where the name already says it.
        difference: to the best score in percentage points, with its interval; None for the best.
        verdict: tone and text of the badge.
        parameters: in millions; None where they were not counted.
        gmacs: multiply-adds in billions, likewise.
    """

    entry: Entry
    backbone: str
    difference: tuple[str, str] | None
    verdict: tuple[str, str]
    parameters: float | None
    gmacs: float | None


def page_context(comparison: Comparison) -> dict[str, Any]:
    """What `templates/compare.html` places.

    Args:
        comparison: the runs, best first.

    Returns:
        Values by name. A section that the page goes without is empty.
    """
    metric = comparison.metric.replace("_", " ")
    measured_on = [entry.profile.measured_on for entry in comparison.entries if entry.profile]
    return {
        "title": f"{len(comparison.entries)} models on {comparison.data}",
        "lead": _lead(comparison),
        "metric": metric,
        "best": comparison.best,
        "tied": _tied(comparison),
        "left_out": comparison.left_out,
        "measured_on": measured_on[0] if measured_on else "",
        "models": [_model_row(entry) for entry in comparison.entries],
        "charts": _charts(comparison, metric),
        "names": [entry.name for entry in comparison.entries],
        "recall": comparison.recall.to_dicts(),
        "resampled": "images (whole groups are resampled)" if comparison.grouped else "images",
        "unit": "groups" if comparison.grouped else "images",
    }


def _lead(comparison: Comparison) -> str:
    lead = f"{count_text(comparison.images)} {comparison.split} images, the same for every model"
    rendered = "; the images are rendered, not photographed" if comparison.synthetic else ""
    return f"{lead}{rendered}."


def _tied(comparison: Comparison) -> list[str]:
    """Names of the models whose difference to the best may be chance."""
    return [entry.name for entry in comparison.entries[1:] if not entry.clearly_worse]


def _model_row(entry: Entry) -> ModelRow:
    difference = entry.difference
    if difference is None:
        verdict = ("good", "best")
    else:
        verdict = ("error", "worse") if entry.clearly_worse else ("note", "not clear")
    return ModelRow(
        entry=entry,
        backbone="" if entry.backbone == entry.name else entry.backbone,
        difference=_points_text(difference) if difference else None,
        verdict=verdict,
        parameters=entry.profile.parameters / 1e6 if entry.profile else None,
        gmacs=entry.profile.macs / 1e9 if entry.profile else None,
    )


def _points_text(difference: Interval) -> tuple[str, str]:
    """A difference of two fractions in percentage points, and its interval."""
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.1f}", f"{low:+.1f} to {high:+.1f}"


def _charts(comparison: Comparison, metric: str) -> list[tuple[str, Markup]]:
    """The score against each cost that at least two models have: a title and a chart each."""
    charts = []
    for title, cost in COSTS:
        points = _points(comparison, cost)
        if len(points) >= 2:
            chart = scatter_chart(points, x_title=title, y_title=metric, log_x=True)
            charts.append((f"{metric} against {title}".capitalize(), chart))
    return charts


def _points(comparison: Comparison, cost: Cost) -> list[Point]:
    return [
        Point(entry.name, x, entry.score.value, entry.score.low, entry.score.high)
        for entry in comparison.entries
        if (x := cost(entry)) is not None and x > 0
    ]
