"""The columns of a table of predictions that hold the answers, for classes that exclude another."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from shopsight.inference.best_labels import best_labels
from shopsight.metrics.classification import negative_log, truth_rank
from shopsight.targets import Targets

NAMED = 5
"""Labels named per row of the table, best first."""


class OneLabelColumns:
    """Columns for classes that exclude each other."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = np.array(labels, dtype=object)

    def columns(
        self, targets: Targets, rows: slice, probabilities: Float64[np.ndarray, "b c"]
    ) -> pl.DataFrame:
        truth = targets[rows]
        ranks = truth_rank(truth, probabilities)
        best = best_labels(probabilities, NAMED)
        chosen = np.take_along_axis(probabilities, best, axis=1)
        loss = negative_log(probabilities[np.arange(len(truth)), truth])
        return pl.DataFrame(
            {
                "predicted": pl.Series(self._labels[best[:, 0]].tolist(), dtype=pl.String),
                "confidence": pl.Series(chosen[:, 0], dtype=pl.Float32),
                "correct": ranks == 1,
                "rank": pl.Series(ranks, dtype=pl.Int32),
                "loss": pl.Series(loss, dtype=pl.Float32),
                **named_labels(self._labels, best, chosen),
            }
        )


def named_labels(
    labels: np.ndarray[tuple[int], np.dtype[np.object_]],
    best: Int64[np.ndarray, "b k"],
    chosen: Float64[np.ndarray, "b k"],
) -> dict[str, pl.Series]:
    """The columns of the best labels and their probabilities."""
    return {
        "top_labels": pl.Series(labels[best].tolist(), dtype=pl.List(pl.String)),
        "top_probabilities": pl.Series(
            chosen.astype(np.float32).tolist(), dtype=pl.List(pl.Float32)
        ),
    }
