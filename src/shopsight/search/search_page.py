"""The page of a search: each query with its results, as images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight.catalog.row_thumbnail import image_thumbnail
from shopsight.inference.image_stream import NamedImage
from shopsight.pages import Shot, write_page
from shopsight.search.answers import Answer
from shopsight.search.grouping import Result
from shopsight.search.index import Index
from shopsight.search.query_terms import Query
from shopsight.text import count_text, counted

MOST_QUERIES = 200
"""Queries on a page; more would make it too large to open."""
SIDE_PX = 160


@dataclass(frozen=True)
class ShownQuery:
    """One query on the page."""

    name: str
    about: str
    images: list[Shot]
    results: list[Shot]


def write_search_page(
    path: Path,
    index: Index,
    queries: Sequence[Query],
    answers: Sequence[Answer],
    *,
    notes: Sequence[str] = (),
) -> Path:
    """Write the page of some queries; of many the first.

    Args:
        path: the .html file.
        index: where the images of results are.
        queries: as many as `answers`, or none where the answers are about products of the index.
        answers: their results.
        notes: what is said about the search.
    """
    shown = [
        _query(index, query, answer)
        for query, answer in zip(
            [*queries, *[None] * (len(answers) - len(queries))][:MOST_QUERIES],
            answers[:MOST_QUERIES],
            strict=True,
        )
    ]
    left = len(answers) - len(shown)
    context = {
        "title": f"Search in {counted(len(index), 'item')}",
        "lead": f"{counted(len(answers), 'query')}, answered by {index.info.model}.",
        "queries": shown,
        "more": f"{count_text(left)} more queries are not on this page." if left else "",
        "method": [
            ("score", "cosine similarity of unit embeddings: 1 is the same image"),
            ("model", index.info.model),
            ("embedding space", index.info.space.fingerprint[:12]),
            *(("note", note) for note in notes),
        ],
    }
    return write_page(path, "search", context)


def _query(index: Index, query: Query | None, answer: Answer) -> ShownQuery:
    images = []
    for term in query.terms if query is not None else ():
        if isinstance(term.value, NamedImage):
            images.append(
                Shot(_thumbnail_of(term.value), Path(term.name).name, under="searched for")
            )
    results = [_result(index, one) for one in answer.results]
    return ShownQuery(answer.query, _about(answer), images, results)


def _about(answer: Answer) -> str:
    if answer.error is not None:
        return answer.error
    if answer.results:
        return f"{counted(len(answer.results), 'result')}, best first."
    if answer.best_score is None:
        return "No item passes the filter."
    below = "" if answer.min_score is None else f", below {answer.min_score:.3f}"
    return f"Not in the catalog: the nearest item has a score of {answer.best_score:.3f}{below}."


def _result(index: Index, result: Result) -> Shot:
    label = result.best.columns.get("label")
    named = " | ".join(label) if isinstance(label, list) else label
    said = f"{result.score:.3f}  {result.unit if result.is_product else named or ''}".strip()
    under = str(named or "") if result.is_product else ""
    image = index.thumbnail(result.best.id, side_px=SIDE_PX)
    return Shot(image, said, under=under, file=result.best.id)


def _thumbnail_of(one: NamedImage) -> str:
    """A query's image, cut to its box; empty where it cannot be read, or has no file."""
    if not isinstance(one.image, str | Path):
        return ""
    return image_thumbnail(str(one.image), one.access, one.box, side_px=SIDE_PX)
