"""What averaging gave: the bundle, its scores, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.metrics.intervals import Interval
from shopsight.soups.averages import Average, How
from shopsight.soups.candidates import TEST, VAL
from shopsight.soups.ingredients import Ingredient
from shopsight.soups.start import HeadRole
from shopsight.text import counted

MEASURE_NAMES = {
    "val": "val",
    "test": "test",
    "held_out_map": "held-out classes, mAP",
    "held_out_recall_at_1": "held-out classes, recall@1",
}
_HEAD_NOTES: dict[HeadRole, str] = {
    "interpolated": "",
    "refitted": "the head, and a neck where there is one, were random at the start: the backbone "
    "alone is interpolated, and a linear head is fitted to each, at alpha 1 too, on the run's "
    "training images",
    "kept": "the head, and a neck where there is one, were random at the start: the backbone alone "
    "is interpolated, and each has the head of the run, which fits alpha 1 best",
}


def measure_title(name: str, metric: str) -> str:
    """What a score is called in a table, "val" and "test" with their metric."""
    shown = MEASURE_NAMES[name]
    return shown if name.startswith("held_out") else f"{shown}, {metric.replace('_', ' ')}"


@dataclass(frozen=True, eq=False)
class SoupResult:
    """What averaging gave.

    Attributes:
        out: the bundle.
        how: "uniform", "greedy" or "alpha".
        title: what the bundle is, in a line.
        metric: of "val" and "test": "accuracy" or "mean_average_precision".
        average: the network and what was tried, with their scores.
        ingredients: the files that it is made of.
        head: of alphas: what becomes of the head.
        measured_layers: BatchNorm layers whose statistics were measured again.
        held_out: images, and classes, that no training saw.
        page: the HTML page in the bundle.
    """

    out: Path
    how: How
    title: str
    metric: str
    average: Average
    ingredients: tuple[Ingredient, ...]
    head: HeadRole
    measured_layers: int
    held_out: tuple[int, int]
    page: Path | None = None

    @property
    def measures(self) -> list[str]:
        """Names of the scores that there are, "val" first."""
        return list(self.average.measured.estimates)

    def gains(self) -> dict[str, Interval]:
        """By how much each score is above that of the reference; empty where it is that one."""
        if self.average.is_reference:
            return {}
        return self.average.measured.gains_over(self.average.reference.measured)

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        found = []
        if self.average.chosen:
            found.append(_chosen_note(self.measures))
        if self.average.is_reference:
            found.append(
                f"the bundle is {self.average.reference.name} alone: nothing better was found"
            )
        if self.how == "alpha" and _HEAD_NOTES[self.head]:
            found.append(_HEAD_NOTES[self.head])
        if self.measured_layers:
            layers = counted(self.measured_layers, "BatchNorm layer")
            found.append(f"statistics of {layers} were measured again on training images")
        images, classes = self.held_out
        if images:
            found.append(
                f"held-out classes: {counted(images, 'image')} of {counted(classes, 'class')} that "
                "no training saw; each is searched for among the others"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "out": str(self.out),
            "page": None if self.page is None else str(self.page),
            **self.about(),
        }

    def about(self) -> dict[str, Any]:
        """What the bundle's metrics.json says under "soup"."""
        kept = {one.name for one in self.average.tried if one.kept}
        return {
            "how": self.how,
            "title": self.title,
            "metric": self.metric,
            "ingredients": [
                {
                    "name": one.name,
                    "sha256": one.sha256,
                    "kept": self.how == "alpha" or one.name in kept,
                }
                for one in self.ingredients
            ],
            "scores": _scores(self.average.measured.intervals()),
            "tried": [
                {
                    "name": one.name,
                    "kept": one.kept,
                    **({"alpha": one.alpha} if one.alpha is not None else {}),
                    **({"val_with": one.val_with} if one.val_with is not None else {}),
                    "scores": _scores(one.measured.intervals()),
                }
                for one in self.average.tried
            ],
            "compared_with": self.average.reference.name,
            "gains": _scores(self.gains()),
            "notes": self.notes(),
        }


def _chosen_note(measures: Sequence[str]) -> str:
    others = [MEASURE_NAMES[name] for name in measures if name != VAL]
    if not others:
        return (
            "chosen on the validation images, whose score is too high for that; there are no test "
            "images that would say how good it is"
        )
    judged = "the test images" if TEST in measures else "held-out classes"
    return f"chosen on the validation images, whose score is too high for that: {judged} judge"


def _scores(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in intervals.items()}
