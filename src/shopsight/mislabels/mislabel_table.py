"""The list of labels as a table: a row for each image, the most suspicious first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from shopsight.files import atomic_file
from shopsight.mislabels.label_judge import LabelJudge
from shopsight.mislabels.planted import Found
from shopsight.mislabels.ranking import Ranking
from shopsight.spreadsheets import for_reading

_OF_CATALOG = ("group", "split", "fold")


def mislabel_table(judge: LabelJudge, ranking: Ranking, found: tuple[Found, ...]) -> pl.DataFrame:
    """All images in order.

    Args:
        judge: of the labels.
        ranking: of the given ones.
        found: where planted mistakes went.

    Returns:
        Columns `rank`, `image`, `label`, `suggested` (the most probable label), the six scores,
        `suspicion` (1 less the mean of their ranks), `judged`, what the catalog has of `group`,
        `split` and `fold`, and for each kind of mistakes `found_KIND`: the fraction of them that is
        found up to this row.
    """
    order, scores, count = ranking.order, ranking.scores, len(judge)
    labels = np.array(judge.labels, object)
    table = pl.DataFrame(
        {
            "rank": np.arange(1, count + 1),
            "image": judge.catalog.table["image"].gather(order),
            "label": labels[judge.given[order]].tolist(),
            "suggested": labels[scores.suggested[order]].tolist(),
            "self_confidence": scores.self_confidence[order],
            "margin": scores.margin[order],
            "relative_margin": scores.relative_margin[order],
            "neighbors": scores.neighbors[order],
            "neighbor_margin": scores.neighbor_margin[order],
            "relative_neighbor_margin": scores.relative_neighbor_margin[order],
            "suspicion": 1 - ranking.sums[order],
            "judged": [judge.judges[row] for row in order],
        }
    )
    kept = [name for name in _OF_CATALOG if name in judge.catalog.table.columns]
    table = table.with_columns(judge.catalog.table[name].gather(order) for name in kept)
    depth = np.arange(1, count + 1) / count
    return table.with_columns(
        pl.Series(f"found_{one.kind.replace('-', '_')}", one.found_within(depth)) for one in found
    )


def write_mislabel_table(path: Path, table: pl.DataFrame) -> None:
    """Write it for people, numbers with four digits."""
    numbers = [name for name, kind in table.schema.items() if kind == pl.Float64]
    with atomic_file(path) as part:
        for_reading(table.with_columns(pl.col(numbers).round(4))).write_csv(part)
