"""Scores of labels that are paths: by level, by ancestors, and the confusions of coarser levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from shopsight.evaluation.predictions import Predictions
from shopsight.label_tree import LabelTree
from shopsight.metrics.estimates import interval_of
from shopsight.metrics.hierarchy import first_mistake, hierarchy_estimates
from shopsight.metrics.intervals import Interval

FIRST_MISTAKE = "first_mistake_level"


@dataclass(frozen=True, eq=False)
class LevelConfusion:
    """The confusion matrix with all labels cut at a level.

    Attributes:
        level: 1 is the top.
        labels: the nodes that labels become there, in order.
        confusion: label, predicted, images: the pairs that occur, most images first.
    """

    level: int
    labels: tuple[str, ...]
    confusion: pl.DataFrame

    def to_json(self, most: int) -> dict[str, Any]:
        """Plain values; of the confusions the `most` pairs with the most images."""
        return {
            "level": self.level,
            "classes": len(self.labels),
            "confusion": self.confusion.head(most).to_dicts(),
        }


def tree_of(predictions: Predictions) -> LabelTree | None:
    """The tree of the labels; None where they are no paths, or an image can have several."""
    return None if predictions.multilabel else LabelTree.of(predictions.labels)


def path_intervals(predictions: Predictions) -> dict[str, Interval]:
    """What `shopsight.metrics.hierarchy` measures, with intervals; nothing without paths."""
    tree = tree_of(predictions)
    if tree is None:
        return {}
    targets, predicted = predictions.label_index("label"), predictions.label_index("predicted")
    families = predictions.families()
    estimates = hierarchy_estimates(tree, targets, predicted)
    found = {name: interval_of(one, families) for name, one in estimates.items()}
    mistake = first_mistake(tree, targets, predicted, families)
    return found if mistake is None else found | {FIRST_MISTAKE: mistake}


def level_confusions(
    predictions: Predictions, confusion: pl.DataFrame
) -> tuple[LevelConfusion, ...]:
    """The confusions of each level above the deepest, from the top; none without paths.

    Args:
        predictions: of the labels.
        confusion: label, predicted, images, of the whole labels.
    """
    tree = tree_of(predictions)
    if tree is None:
        return ()
    return tuple(_at_level(tree, confusion, level) for level in range(1, tree.depth))


def _at_level(tree: LabelTree, confusion: pl.DataFrame, level: int) -> LevelConfusion:
    nodes = tree.cut(level)
    cut = dict(zip(tree.labels, (tree.nodes[node] for node in nodes), strict=True))
    columns = pl.col("label", "predicted").replace_strict(cut, return_dtype=pl.String)
    merged = (
        confusion.with_columns(columns)
        .group_by("label", "predicted")
        .agg(pl.col("images").sum())
        .sort("images", "label", "predicted", descending=[True, False, False])
    )
    return LevelConfusion(level, tuple(dict.fromkeys(sorted(cut.values()))), merged)
