"""compare.html, compare.csv, recall.csv and compare.json: to read, and to work on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from shopsight.charts.scatter import Band, Point, scatter_chart
from shopsight.evaluation.compare_words import (
    about_cheapest,
    about_choice,
    about_report,
    images_text,
    score_text,
    standing,
    verdict,
)
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.evaluation.metric_names import split_title, title_of
from shopsight.files import atomic_file, make_folder, write_json
from shopsight.metrics.intervals import Interval
from shopsight.pages import write_page
from shopsight.spreadsheets import for_reading
from shopsight.text import count_text, percent_text

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


TONES = {"best": "good", "may be the best": "note", "worse": "error"}
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
        score: in percent, and its interval.
        difference: to the best score in percentage points, with its interval; None for the best.
        reported: like `score`, on images that chose none of the models; None without such.
        verdict: tone and text of the badge.
        parameters: in millions; None where they were not counted.
        gmacs: multiply-adds in billions, likewise.
    """

    entry: Entry
    backbone: str
    score: tuple[str, str]
    difference: tuple[str, str] | None
    reported: tuple[str, str] | None
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
    metric = title_of(comparison.metric).lower()
    recall = _shown_labels(comparison.recall)
    measured_on = [entry.profile.measured_on for entry in comparison.entries if entry.profile]
    return {
        "title": f"{len(comparison.entries)} models on {comparison.data}",
        "lead": _lead(comparison),
        "metric": metric,
        "best": comparison.best,
        "score": score_text(comparison.best.score),
        "verdict": verdict(comparison),
        "about_cheapest": about_cheapest(comparison),
        "about_choice": about_choice(comparison),
        "about_report": about_report(comparison),
        "clear": comparison.has_clear_winner,
        "chosen_on": split_title(comparison.split),
        "reported_on": split_title(comparison.reported_on),
        "left_out": comparison.left_out,
        "measured_on": measured_on[0] if measured_on else "",
        "models": [_model_row(entry, comparison) for entry in comparison.entries],
        "charts": _charts(comparison, metric),
        "names": [entry.name for entry in comparison.entries],
        "recall": recall.to_dicts(),
        "about_recall": _about_recall(comparison, recall.height),
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


def _about_recall(comparison: Comparison, shown: int) -> str:
    part, labels = comparison.reported_on or comparison.split, comparison.recall.height
    about = (
        f"Fraction of each label's {split_title(part)} images that each model classifies correctly."
    )
    if shown == labels:
        return about
    return (
        f"{about} Of {count_text(labels)} labels, the {SHOWN_WORST} with the lowest mean over the "
        f"models, then the {SHOWN_FREQUENT} with the most images; all are in {RECALL_FILE}."
    )


def _lead(comparison: Comparison) -> str:
    lead = f"{images_text(comparison)}, the same for every model"
    rendered = "; the images are rendered, not photographed" if comparison.synthetic else ""
    return f"{lead}{rendered}."


def _model_row(entry: Entry, comparison: Comparison) -> ModelRow:
    text = standing(entry, comparison)
    difference = entry.difference
    return ModelRow(
        entry=entry,
        backbone="" if entry.backbone == entry.name else entry.backbone,
        score=_score_cell(entry.score),
        difference=_points_text(difference) if difference else None,
        reported=_score_cell(entry.reported) if entry.reported else None,
        verdict=(TONES[text], text),
        parameters=entry.profile.parameters / 1e6 if entry.profile else None,
        gmacs=entry.profile.macs / 1e9 if entry.profile else None,
    )


def _score_cell(score: Interval) -> tuple[str, str]:
    """A score in percent, and its interval or why there is none."""
    low, high = 100 * score.low, 100 * score.high
    return percent_text(score.value), f"{low:.1f} to {high:.1f}" if score.is_known else score.reason


def _points_text(difference: Interval) -> tuple[str, str]:
    """A difference of two fractions in percentage points, and its interval."""
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    ends = f"{low:+.1f} to {high:+.1f}" if difference.is_known else difference.reason
    return f"{value:+.1f}", ends


def _charts(comparison: Comparison, metric: str) -> list[tuple[str, Markup]]:
    """What each model is behind the best against each cost that two models have."""
    charts = []
    for title, cost in COSTS:
        points = _points(comparison, cost)
        if len(points) >= 2:
            chart = scatter_chart(
                points,
                x_title=title,
                y_title=metric,
                log_x=True,
                band=_band(comparison, points),
            )
            charts.append((f"{metric} against {title}".capitalize(), chart))
    return charts


def _points(comparison: Comparison, cost: Cost) -> list[Point]:
    """The scores, with the intervals of their differences to the best, as the table has them."""
    best = comparison.best.score.value
    points = []
    for entry in comparison.entries:
        x, difference = cost(entry), entry.difference
        if x is None or x <= 0:
            continue
        low = high = None
        if difference is not None and difference.is_known:
            low, high = best + difference.low, best + difference.high
        points.append(Point(entry.name, x, entry.score.value, low, high))
    return points


def _band(comparison: Comparison, points: Sequence[Point]) -> Band | None:
    """From the lowest score that cannot be distinguished from the best to the best one."""
    tied = {entry.name for entry in comparison.may_be_best}
    scores = [point.y for point in points if point.name in tied]
    if len(tied) < 2 or not scores:
        return None
    return Band(min(scores), comparison.best.score.value, "cannot be distinguished")
