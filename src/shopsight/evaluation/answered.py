"""How many images a model answers that may say "unknown", and how often it is right then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.unknown_columns import IS_UNKNOWN, KNOWN_SCORE
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.intervals import Interval
from shopsight.metrics.selective import SelectiveCurve, selective_curve
from shopsight.text import counted, percent_with_ends


@dataclass(frozen=True, eq=False)
class Answered:
    """Of labeled images, all of classes that the model knows.

    Attributes:
        num_images: all of them.
        num_answered: those that are not "unknown".
        coverage: the fraction that is answered.
        accuracy: the fraction of these that is right; None where none is answered.
        curve: both for every threshold.
    """

    num_images: int
    num_answered: int
    coverage: Interval
    accuracy: Interval | None
    curve: SelectiveCurve

    @property
    def coverage_text(self) -> str:
        """The coverage with its interval."""
        return _text(self.coverage)

    @property
    def accuracy_text(self) -> str | None:
        """The accuracy with its interval; None where none is answered."""
        return None if self.accuracy is None else _text(self.accuracy)

    @property
    def line(self) -> str:
        """Both in a line."""
        text = f"answers {self.coverage_text} of {counted(self.num_images, 'image')}"
        if self.accuracy_text is None:
            return f'{text}; the rest is "unknown"'
        return f'{text}, and is right on {self.accuracy_text} of these; the rest is "unknown"'

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": self.num_images,
            "answered": self.num_answered,
            "coverage": self.coverage.to_json(),
            "accuracy": self.accuracy and self.accuracy.to_json(),
            "curve": self.curve.to_json(),
        }


def answered(predictions: Predictions) -> Answered | None:
    """What is answered of these images; None where the model always answers."""
    table = predictions.table
    if IS_UNKNOWN not in table.columns or not len(table):
        return None
    known = ~table[IS_UNKNOWN].to_numpy()
    right = table["correct"].to_numpy()
    families, rows = predictions.families(), np.flatnonzero(known)
    return Answered(
        num_images=len(known),
        num_answered=len(rows),
        coverage=interval_of(Estimate.share(known), families),
        accuracy=(
            interval_of(Estimate.share(right[rows]), families.take(rows)) if len(rows) else None
        ),
        curve=selective_curve(table[KNOWN_SCORE].to_numpy(), right, np.empty(0)),
    )


def _text(share: Interval) -> str:
    return percent_with_ends(share.value, share.low, share.high)
