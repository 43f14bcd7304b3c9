"""The labels of a run, the most suspicious first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.metrics.label_quality import LabelScores, label_scores
from shopsight.mislabels.label_judge import LabelJudge


@dataclass(frozen=True, eq=False)
class Ranking:
    """n labels in order.

    Attributes:
        scores: of each label.
        sums: means of ranks, by which they are ordered; see `LabelScores.rank_sums`.
        order: rows, the most suspicious first.
        probabilities: of whoever judged them.
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
    probabilities = judge.answers(labels)
    scores = label_scores(probabilities, labels, judge.neighbors)
    sums = scores.rank_sums(np.array(judge.judges))
    # Of equal sums the one of less self-confidence comes first.
    order = np.lexsort((scores.self_confidence, sums)).astype(np.int64)
    return Ranking(scores, sums, order, probabilities)
