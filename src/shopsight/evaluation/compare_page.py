"""compare.html, compare.csv, recall.csv and compare.json: to read, and to work on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from shopsight.charts.scatter import Point, scatter_chart
from shopsight.evaluation.compare import Comparison, Entry
from shopsight.files import atomic_file, make_folder, write_json
from shopsight.metrics.intervals import Interval
from shopsight.pages import write_page
from shopsight.spreadsheets import for_reading
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


RECALL_FILE = "recall.csv"
MOST_LABELS = 200
"""Of more labels only `SHOWN_WORST` and `SHOWN_FREQUENT` are shown."""
SHOWN_WORST = SHOWN_FREQUENT = 30


def write_comparison(folder: Path | str, comparison: Comparison) -> Path:
    """Write the page, a table of the runs, one of the labels where there is one, and the JSON.

    Returns:
        The page's path.
    """
    folder = Path(folder)
    make_folder(folder)
    with atomic_file(folder / "compare.csv") as part:
        for_reading(comparison.table()).write_csv(part)
    if not comparison.recall.is_empty():
        with atomic_file(folder / RECALL_FILE) as part:
            for_reading(comparison.recall).write_csv(part)
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
    recall = _shown_labels(comparison.recall)
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
        "recall": recall.to_dicts(),
        "about_recall": _about_recall(comparison.recall.height, recall.height),
        "resampled": "images (whole groups are resampled)" if comparison.grouped else "images",
        "unit": "families" if comparison.grouped else "images",
    }


def _shown_labels(recall: pl.DataFrame) -> pl.DataFrame:
    """All labels; of many those that all models are worst at, then the most frequent.

    Args:
        recall: see `Comparison.recall`, most images first.
    """
    if recall.height <= MOST_LABELS:
        return recall
    models = recall.columns[2:]
    # Of labels that are missed alike, those with more images are the surer ones.
    mean = pl.mean_horizontal(pl.col(model) for model in models)
    order = recall.with_columns(mean=mean).sort(
        "mean", "images", "label", descending=[False, True, False]
    )
    worst = order.head(SHOWN_WORST).drop("mean")
    frequent = recall.join(worst, on="label", how="anti", maintain_order="left")
    return pl.concat([worst, frequent.head(SHOWN_FREQUENT)])


def _about_recall(labels: int, shown: int) -> str:
    about = "Fraction of each label's images that each model classifies correctly."
    if shown == labels:
        return about
    return (
        f"{about} Of {count_text(labels)} labels, the {SHOWN_WORST} with the lowest mean over the "
        f"models, then the {SHOWN_FREQUENT} with the most images; all are in {RECALL_FILE}."
    )


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
