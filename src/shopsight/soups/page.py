"""The page of an average: its curve over alpha, or its ingredients, with intervals."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from shopsight.charts.curves import Curve, Mark, line_chart
from shopsight.metrics.intervals import Interval
from shopsight.pages import percent_text, write_page
from shopsight.soups.result import MEASURE_NAMES, SoupResult, measure_title

PAGE_FILE = "soup.html"
_HUES = {"val": "a", "test": "b", "held_out_map": "c", "held_out_recall_at_1": "d"}


def write_soup_page(path: Path, found: SoupResult) -> Path:
    """Write the page.

    Args:
        path: the .html file.
        found: what it shows.
    """
    average, measures = found.average, found.measures
    rows = [
        (one.name, one.kept, _cells(one.measured.intervals(), measures)) for one in average.tried
    ]
    soup = _cells(average.measured.intervals(), measures)
    gains = found.gains()
    context = {
        "title": found.title,
        "lead": f"Compared with {average.reference.name}.",
        "is_curve": found.how == "alpha",
        "chart": _chart(found),
        "measures": [measure_title(name, found.metric) for name in measures],
        "rows": rows,
        "soup": None if found.how == "alpha" else soup,
        "reference": average.reference.name,
        "gains": [_points(gains[name]) for name in measures if gains],
        "notes": found.notes(),
        "ingredients": [(one.name, one.sha256) for one in found.ingredients],
    }
    return write_page(path, "soup", context)


def _cells(intervals: dict[str, Interval], measures: list[str]) -> list[tuple[str, str]]:
    return [_cell(intervals[name]) for name in measures]


def _cell(interval: Interval) -> tuple[str, str]:
    ends = f"{percent_text(interval.low)} to {percent_text(interval.high)}"
    return percent_text(interval.value), ends if interval.is_known else interval.reason


def _points(interval: Interval) -> tuple[str, str]:
    value = f"{100 * interval.value:+.1f}"
    if not interval.is_known:
        return value, interval.reason
    return value, f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


def _chart(found: SoupResult) -> Markup:
    points = [one for one in found.average.tried if one.alpha is not None]
    if not points:
        return Markup("")
    alphas = [one.alpha for one in points if one.alpha is not None]
    curves = [
        Curve(
            MEASURE_NAMES[name],
            alphas,
            [one.measured.estimates[name].value for one in points],
            hue=_HUES[name],
            dashed=name == "val",
        )
        for name in found.measures
    ]
    chosen = next(one.alpha for one in points if one.kept)
    assert chosen is not None
    marks = [Mark(chosen, "chosen" if found.average.chosen else "the bundle")]
    return line_chart(curves, x_title="alpha", y_title="score", percent=True, marks=marks)
