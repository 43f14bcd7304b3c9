"""The labels of a run, the most suspicious first.

Whoever judges has learned from all labels but the image's own, wrong ones too: where many of a
class went to the same other one, its head half believes them, and so do neighbors. So labels are
judged twice. Those that the first look finds most suspicious teach nobody in the second one: no
head is fitted to them, and they are nobody's neighbors. All are judged again, they too.

Source: Northcutt et al. 2021, "Confident Learning", section 3.2, for leaving out what is suspicious
before training again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from shopsight.metrics.label_quality import LabelScores, label_scores
from shopsight.metrics.nearest import NOBODY
from shopsight.mislabels.label_judge import LabelJudge

LEFT_OUT = 0.06
"""Fraction of the labels that teaches nobody in the second look."""
MOST_OF_A_CLASS = 0.5


@dataclass(frozen=True, eq=False)
class Ranking:
    """n labels in order.

    Attributes:
        scores: of each label.
        sums: means of ranks, by which they are ordered; see `LabelScores.rank_sums`.
        order: rows, the most suspicious first.
        probabilities: of whoever judged them at first, having learned from all labels.
    """

    scores: LabelScores
    sums: Float64[np.ndarray, "n"]
    order: Int64[np.ndarray, "n"]
    probabilities: Float64[np.ndarray, "n c"]


def rank_labels(judge: LabelJudge, labels: Int64[np.ndarray, "n"]) -> Ranking:
    """Order labels, those of the run or others in their place.

    Args:
        judge: whose images they are.
        labels: of the images.
    """
    first = judge.answers(labels)
    judges = np.array(judge.judges)
    learned = _not_suspicious(
        label_scores(first, labels, judge.neighbors).rank_sums(judges), labels
    )
    again = judge.answers(labels, learned) if judge.learns else first
    near = np.where((judge.neighbors != NOBODY) & learned[judge.neighbors], judge.neighbors, NOBODY)
    scores = label_scores(again, labels, near)
    sums = scores.rank_sums(judges)
    # Of equal sums the one of less self-confidence comes first.
    order = np.lexsort((scores.self_confidence, sums)).astype(np.int64)
    return Ranking(scores, sums, order, first)


def _not_suspicious(
    sums: Float64[np.ndarray, "n"], labels: Int64[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """All but the most suspicious labels; of each class at least a half is kept."""
    order = np.argsort(sums, kind="stable")
    # The place of each image within its class, the most suspicious first.
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    place = np.empty(len(labels), np.int64)
    place[by_class] = np.arange(len(labels)) - starts[labels[by_class]]
    first = np.zeros(len(labels), bool)
    first[order[: round(LEFT_OUT * len(labels))]] = True
    may_go = place < np.floor(MOST_OF_A_CLASS * counts[labels])
    return np.asarray(~(first & may_go), bool)
