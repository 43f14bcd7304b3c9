"""The answer "unknown", and sets of labels, from the embeddings and logits of any engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from shopsight.bundle.unknown_info import UnknownPart
from shopsight.metrics.conformal import prediction_sets

UNKNOWN_CELLS = ("unknown", "known_score", "label_set")
"""What a row of predictions has more, where a model may answer "unknown"."""


@dataclass(frozen=True)
class UnknownAnswer:
    """Whether one image is known.

    Attributes:
        is_unknown: the score is below the threshold: the labels are not to be relied on.
        score: how much the image is like those that the model knows.
        label_set: the labels that hold the right one as often as was asked, the most probable one
            first; empty where no sets were asked for.
    """

    is_unknown: bool
    score: float
    label_set: tuple[str, ...] = ()

    def as_cells(self) -> dict[str, Any]:
        """The cells of `UNKNOWN_CELLS` as JSON has them."""
        values = (self.is_unknown, round(self.score, 6), list(self.label_set))
        return dict(zip(UNKNOWN_CELLS, values, strict=True))

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> UnknownAnswer | None:
        """What `as_cells` wrote; None where the row has no such cells."""
        if row.get(UNKNOWN_CELLS[0]) is None:
            return None
        is_unknown, score, labels = (row[name] for name in UNKNOWN_CELLS)
        return cls(is_unknown, score, tuple(labels))


class UnknownReader:
    """The part of a bundle that says when the answer is "unknown".

    Args:
        part: the score and its threshold.
        labels: of the model.
    """

    def __init__(self, part: UnknownPart, labels: Sequence[str]) -> None:
        self.part = part
        self._labels = tuple(labels)

    def answers(
        self,
        embeddings: Float32[np.ndarray, "b w"],
        logits: Float32[np.ndarray, "b c"],
        probabilities: Float64[np.ndarray, "b c"],
    ) -> list[UnknownAnswer]:
        """What is said of each image of a batch."""
        scores = self.part.scores(embeddings, logits)
        unknown = scores < self.part.info.threshold
        sets = self.label_sets(probabilities)
        return [
            UnknownAnswer(bool(one), float(score), labels)
            for one, score, labels in zip(unknown, scores, sets, strict=True)
        ]

    def label_sets(self, probabilities: Float64[np.ndarray, "b c"]) -> list[tuple[str, ...]]:
        """The set of each image; empty ones where none were asked for."""
        sets = self.part.info.sets
        if sets is None:
            return [()] * len(probabilities)
        found = prediction_sets(probabilities, sets.least_probability)
        ordered = []
        for row, chosen in zip(probabilities, found, strict=True):
            places = np.flatnonzero(chosen)
            best = places[np.argsort(-row[places], kind="stable")]
            ordered.append(tuple(self._labels[place] for place in best))
        return ordered
