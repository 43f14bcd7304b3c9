"""What a search gives back: the results of each query as values, tables and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.control_characters import json_text
from shopsight.files import atomic_file
from shopsight.search.grouping import Result
from shopsight.spreadsheets import for_reading


@dataclass(frozen=True)
class Answer:
    """The results of one query.

    Attributes:
        query: what was asked for.
        results: best first; empty where nothing is near enough.
        best_score: of the nearest thing, whatever the least score; None where there is none.
        min_score: results below it are none; None where all are results.
        error: why there is no answer, else None.
    """

    query: str
    results: tuple[Result, ...] = ()
    best_score: float | None = None
    error: str | None = None
    min_score: float | None = None

    @property
    def in_catalog(self) -> bool | None:
        """Whether something is near enough; None where no least score says so."""
        asked = self.min_score is not None and self.error is None and self.best_score is not None
        return bool(self.results) if asked else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        best = None if self.best_score is None else round(self.best_score, 6)
        results = [result.as_row(rank) for rank, result in enumerate(self.results, start=1)]
        return {
            "query": self.query,
            "results": results,
            "best_score": best,
            "min_score": self.min_score,
            "in_catalog": self.in_catalog,
            "error": self.error,
        }


def as_table(answers: Sequence[Answer]) -> pl.DataFrame:
    """One row for each result; the kept columns are beside it, lists joined by `|`.

    Where a least score was asked for, a column `in_catalog` says so, and a query without a result
    has a row of its own.
    """
    rows: list[dict[str, Any]] = []
    for answer in answers:
        said = {} if answer.in_catalog is None else {"in_catalog": answer.in_catalog}
        found = [_flat(one.as_row(rank)) for rank, one in enumerate(answer.results, start=1)]
        if answer.in_catalog is False:
            found = [{"rank": None}]
        rows += [{"query": answer.query} | said | row for row in found]
    empty = pl.Schema(
        {"query": pl.String, "rank": pl.Int64, "id": pl.String, "product": pl.String}
        | {"score": pl.Float64, "photos": pl.Int64, "image": pl.String}
    )
    if not rows:
        return pl.DataFrame(schema=empty)
    return pl.DataFrame(rows, schema_overrides=empty, infer_schema_length=None, strict=False)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    columns = row.pop("columns")
    joined = {
        name: "|".join(map(str, value)) if isinstance(value, list) else value
        for name, value in columns.items()
    }
    return row | {name: value for name, value in joined.items() if name not in row}


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Write a table of results, or of JSON lines one for each query."""
    with atomic_file(path) as part:
        if path.suffix.lower() == ".jsonl":
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(json_text(answer.to_json()) + "\n" for answer in answers)
        elif path.suffix.lower() == ".csv":
            for_reading(as_table(answers)).write_csv(part)
        else:
            as_table(answers).write_parquet(part)
