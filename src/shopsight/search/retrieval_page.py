"""The page of an index's evaluation: metrics, and queries with their results, right and wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.metrics.retrieval import DEFINITIONS
from shopsight.pages import Card, Shot, percent_text, write_page
from shopsight.search.evaluate_index import IndexEvaluation, shown_results
from shopsight.search.index import Index
from shopsight.text import count_text, counted

SHOWN_OF_EACH = 8
TOP = 6
SIDE_PX = 150


def write_retrieval_page(
    path: Path, index: Index, found: IndexEvaluation, queries: Catalog | None
) -> Path:
    """Write the page.

    Args:
        path: the .html file.
        index: that was evaluated.
        found: how good it is.
        queries: the catalog that was asked; None where the index's own photos were.
    """
    precision = found.ranked.values["mean_average_precision"]
    order = np.argsort(precision, kind="stable")
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(len(order))[:SHOWN_OF_EACH])
    source = _QueryImages(index, queries)
    sections = [
        ("Worst", "Their relevant items are furthest behind.", order[:SHOWN_OF_EACH]),
        ("Some", "A random choice: what searches look like.", some),
        ("Best", "", order[::-1][:SHOWN_OF_EACH]),
    ]
    context = {
        "title": f"Search in {counted(found.num_items, 'item')}",
        "lead": _lead(found),
        "metrics": [_metric_row(name, found) for name in found.metrics],
        "thresholds": found.thresholds,
        "sections": [
            (title, about, [_shown(index, found, source, int(row)) for row in rows])
            for title, about, rows in sections
        ],
        "method": _method(found),
    }
    return write_page(path, "retrieval", context)


class _QueryImages:
    """Thumbnails of queries, which are items of the index or rows of another catalog."""

    def __init__(self, index: Index, queries: Catalog | None) -> None:
        self._index = index
        self._catalog = queries
        self._rows = (
            {}
            if queries is None
            else {item: row for row, item in enumerate(item_ids(queries).to_list())}
        )

    def thumbnail(self, name: str) -> str:
        """The image of a query; empty where it cannot be read."""
        if self._catalog is None:
            return self._index.thumbnail(name, side_px=SIDE_PX)
        return row_thumbnail(self._catalog, self._rows[name], side_px=SIDE_PX)


def _lead(found: IndexEvaluation) -> str:
    asked = counted(found.num_scored, "query")
    of = "" if found.num_all <= found.num_scored else f", a sample of {count_text(found.num_all)}"
    without = f"; {count_text(found.num_without)} had nothing to find" if found.num_without else ""
    return f"{asked}{of}{without}. Right is the same {found.relevant_by}. {found.how.capitalize()}."


def _metric_row(name: str, found: IndexEvaluation) -> tuple[str, str, str, str]:
    score = found.metrics[name]
    ends = (
        f"{100 * score.low:.1f} to {percent_text(score.high)}" if score.is_known else score.reason
    )
    return name.replace("_", " "), percent_text(score.value), ends, DEFINITIONS[name]


def _shown(index: Index, found: IndexEvaluation, source: _QueryImages, row: int) -> Card:
    asked, query = found.queries, int(found.ranked.queries[row])
    name = asked.query_ids[query]
    ids = index.items([])["id"]
    shots = [Shot(source.thumbnail(name), "searched for", under=name)]
    for item, score, right in shown_results(asked, query, TOP):
        tone = "good" if right else "bad"
        image = index.thumbnail(ids[item], side_px=SIDE_PX)
        shots.append(Shot(image, f"{score:.3f}", tone, ids[item]))
    precision = found.ranked.values["mean_average_precision"][row]
    return Card(f"average precision {percent_text(float(precision))}", shots)


def _method(found: IndexEvaluation) -> list[tuple[str, str]]:
    taken_out = "the photo that is searched for, by its id, and copies (equal or encoded again)"
    own = ("left out of each ranking", taken_out)
    unit = "products" if found.relevant_by == "product" else "photos"
    return [
        *([own] if found.queries.left_out else []),
        *([("copies", copies)] if (copies := found.copies_text()) else []),
        ("equal scores", "in the order of ids"),
        ("intervals", f"95 %, by {unit}, joined with copies"),
        ("search", "exact; `shopsight index verify` says what a graph loses"),
    ]
