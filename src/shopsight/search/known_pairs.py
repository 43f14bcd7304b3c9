"""What an index knows of words: the pairs of `shopsight.words.pairs` from its own items.

Directions are kept beside the generation's log, and made anew when that has grown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.errors import ShopsightError
from shopsight.files import atomic_file
from shopsight.io.parquet import read_parquet
from shopsight.search.change_log import Items
from shopsight.search.generation import Generation, pieces
from shopsight.words.pairs import ImageSpread, WordPairs
from shopsight.words.word_table import WordTable

PAIRS_FILE = "pairs.parquet"
MOST_TEXTS = 20_000
"""Labels and titles that are kept, the most frequent first."""
MOST_SPREAD = 20_000
"""Images that say how all of them spread, evenly taken."""
WORD_COLUMNS = ("label", "text")


def known_pairs(generation: Generation, table: WordTable) -> WordPairs | None:
    """Pairs of the labels and titles of an index; None where it keeps neither."""
    texts, directions = _directions(generation)
    if not texts:
        return None
    return WordPairs.of_directions(texts, directions, table)


def _directions(generation: Generation) -> tuple[list[str], Float32[np.ndarray, "k d"]]:
    file = generation.folder / PAIRS_FILE
    last = generation.log.last()
    kept = _read(file, last)
    if kept is None:
        kept = _computed(generation)
        _keep(file, last, *kept)
    return kept


def _read(file: Path, last: int) -> tuple[list[str], Float32[np.ndarray, "k d"]] | None:
    try:
        stored = read_parquet(file)
        if not stored.height or stored["last"][0] != last:
            return None
        return stored["text"].to_list(), stored["direction"].to_numpy().astype(np.float32)
    except (OSError, ShopsightError, pl.exceptions.PolarsError):
        return None


def _keep(file: Path, last: int, texts: list[str], directions: Float32[np.ndarray, "k d"]) -> None:
    table = pl.DataFrame({"last": [last] * len(texts), "text": texts})
    table = table.with_columns(
        pl.Series("direction", directions, pl.Array(pl.Float32, directions.shape[1]))
    )
    try:
        with atomic_file(file, keep=False) as part:
            table.write_parquet(part)
    except (OSError, ShopsightError):
        # A help only: without it the next search computes it again.
        return


def _computed(generation: Generation) -> tuple[list[str], Float32[np.ndarray, "k d"]]:
    columns = [name for name in WORD_COLUMNS if name in generation.live.columns]
    if not columns or not generation.live.height:
        return [], np.zeros((0, generation.info.space.embedding_dim), np.float32)
    texts = _frequent(generation.live, columns)
    number = {text: row for row, text in enumerate(texts)}
    dim, center = generation.info.space.embedding_dim, generation.center
    sums, counts = np.zeros((len(texts), dim), np.float64), np.zeros(len(texts), np.int64)
    moment, seen, place = np.zeros((dim, dim), np.float64), 0, 0
    step = -(-generation.live.height // MOST_SPREAD)
    for items in pieces(generation.log, generation.live):
        for rows, numbers in _members(items, columns, number):
            np.add.at(sums, numbers, items.image[rows])
            np.add.at(counts, numbers, 1)
        moved = items.image[-place % step :: step] - center
        moment += moved.T @ moved
        seen, place = seen + len(moved), place + len(items)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return texts, ImageSpread(seen, center, moment / seen).discriminants(means)


def _frequent(live: pl.DataFrame, columns: list[str]) -> list[str]:
    cells = pl.concat([_cells(live[name]) for name in columns])
    counts = cells.drop_nulls().value_counts().sort("count", cells.name, descending=[True, False])
    return counts[cells.name].head(MOST_TEXTS).to_list()


def _cells(column: pl.Series) -> pl.Series:
    flat = column.explode() if isinstance(column.dtype, pl.List) else column.cast(pl.String)
    return flat.alias("cell")


def _members(
    items: Items, columns: list[str], number: dict[str, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of items and the numbers of the texts that they have, for each column."""
    found = []
    for name in columns:
        table = items.table.select(pl.col(name).alias("cell")).with_row_index("row")
        if isinstance(table.schema["cell"], pl.List):
            table = table.explode("cell")
        pairs = [
            (row, number[cell])
            for row, cell in table.with_columns(pl.col("cell").cast(pl.String)).iter_rows()
            if cell in number
        ]
        rows, numbers = (
            (np.array(part, np.int64) for part in zip(*pairs, strict=True))
            if pairs
            else (
                np.zeros(0, np.int64),
                np.zeros(0, np.int64),
            )
        )
        found.append((rows, numbers))
    return found
