"""The columns of a table of predictions that say which images a model knows.

`known_score`, how much an image is like those that the model knows, and `unknown`, whether that is
too little for an answer. A table has both where the model may answer "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from shopsight.bundle.unknown_info import UnknownPart
from shopsight.inference.engine import Outputs

KNOWN_SCORE, IS_UNKNOWN = "known_score", "unknown"


class UnknownColumns:
    """Listens to what a network says of a part's images.

    Args:
        part: the score of the model, and its threshold.
    """

    def __init__(self, part: UnknownPart) -> None:
        self._part = part
        self._scores: list[np.ndarray] = []

    def listening(self, outputs: Iterable[Outputs]) -> Iterator[Outputs]:
        """The same batches, of all images in their order."""
        for embeddings, logits in outputs:
            self._scores.append(self._part.scores(embeddings, logits))
            yield embeddings, logits

    def columns(self) -> pl.DataFrame:
        """Both columns, when all batches have passed."""
        scores = np.concatenate([np.empty(0), *self._scores])
        return pl.DataFrame(
            {
                KNOWN_SCORE: pl.Series(scores, dtype=pl.Float64),
                IS_UNKNOWN: pl.Series(scores < self._part.info.threshold, dtype=pl.Boolean),
            }
        )
