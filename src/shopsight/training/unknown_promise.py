"""When a model answers "unknown": the score, its threshold, and what that promises.

The score is the one that judges best (`shopsight.training.unknown_judge`). Its threshold is chosen
on validation images; what it promises, coverage and accuracy of what is answered, is measured on
test images, which chose nothing. So are the sets of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64

from shopsight.bundle.unknown_info import LabelSets, Measured, Score, UnknownPart
from shopsight.errors import ConfigError
from shopsight.inference.agreement import Readout
from shopsight.metrics.conformal import fewest_images, least_probability, prediction_sets
from shopsight.metrics.families import Families
from shopsight.metrics.selective import (
    SelectiveCurve,
    selective_curve,
    threshold_for_accuracy,
    threshold_for_coverage,
)
from shopsight.metrics.shares import share_intervals
from shopsight.training.unknown_judge import HeldOutDraw, Judged
from shopsight.training.unknown_scores import EmbeddedImages

USUAL_COVERAGE = 0.95
QUANTILES = 21
"""Of the scores of known images, which are kept."""
FEWEST_VAL = 20
"""Validation images that a threshold is chosen on, at least."""


@dataclass(frozen=True)
class Wish:
    """What a threshold is chosen for.

    Attributes:
        wanted: which of both.
        target: how much.
        sets: how often sets are to hold the right label; None: no sets.
    """

    wanted: Literal["accuracy", "coverage"] = "coverage"
    target: float = USUAL_COVERAGE
    sets: float | None = None


@dataclass(frozen=True, eq=False)
class ClassCoverage:
    """How often the sets hold the right label, for one class.

    Attributes:
        label: the class.
        reached: on test images.
        num_val: validation images that it has.
        is_promised: whether so many could promise it for this class alone.
    """

    label: str
    reached: Measured
    num_val: int
    is_promised: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"reached": self.reached.model_dump(mode="json")}


@dataclass(frozen=True, eq=False)
class UnknownReport:
    """What a model promises, and by what it was chosen.

    Attributes:
        part: for the bundle.
        judged: the scores, the best first; empty where nothing judged them.
        curve: over thresholds, on test images, or on validation images without those.
        by_class: of the sets; empty without sets or test images.
    """

    part: UnknownPart
    judged: tuple[Judged, ...]
    curve: SelectiveCurve
    by_class: tuple[ClassCoverage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "unknown": self.part.info.model_dump(mode="json", exclude={"sha256"}),
            "scores": [one.to_json() for one in self.judged],
            "curve": self.curve.to_json(),
            "sets_by_class": [one.to_json() for one in self.by_class],
        }


def promise_unknown(
    parts: dict[Score, UnknownPart],
    judged: Sequence[Judged],
    *,
    val: EmbeddedImages,
    test: EmbeddedImages,
    families: tuple[Families, Families],
    readout: Readout,
    labels: Sequence[str],
    wish: Wish,
) -> UnknownReport:
    """Choose a threshold and measure what it promises.

    Args:
        parts: the scores, fitted.
        judged: the best first; without any, "gated" is the score, or the largest probability.
        val: images that choose the threshold.
        test: images that measure it; there may be none.
        families: of both.
        readout: of probabilities, for sets.
        labels: the classes.
        wish: what is wanted.

    Raises:
        ConfigError: there are too few validation images, or none are right often enough.
    """
    if len(val) < FEWEST_VAL:
        raise ConfigError(
            f"{len(val)} validation images: too few to choose a threshold on",
            details=[f"{FEWEST_VAL} are needed"],
            fix="train with a validation part: --set data.val=0.15",
        )
    part = parts[judged[0].score] if judged else parts.get("gated", parts["max-probability"])
    scores = part.scores(val.embeddings, val.logits)
    threshold = _threshold(scores, val.right, wish)
    measured_on, family = (test, families[1]) if len(test) else (val, families[0])
    known = part.scores(measured_on.embeddings, measured_on.logits)
    strangers = judged[0].draws if judged else ()
    update: dict[str, Any] = {
        "wanted": wish.wanted,
        "target": wish.target,
        "threshold": threshold,
        "known": tuple(np.quantile(known, np.linspace(0, 1, QUANTILES)).tolist()),
    }
    if len(test):
        answered = known >= threshold
        update["coverage"] = measured_share(answered, family)
        rows = np.flatnonzero(answered)
        update["accuracy"] = (
            measured_share(test.right[rows], family.take(rows)) if len(rows) else None
        )
    if strangers:
        coverage = float((scores >= threshold).mean())
        update["accepted"] = float(np.mean([one.accepted(coverage) for one in strangers]))
    by_class: tuple[ClassCoverage, ...] = ()
    if wish.sets is not None:
        update["sets"], by_class = _sets(wish.sets, val, test, families, readout, labels)
    info = part.info.model_copy(update=update)
    curve = _with_strangers(selective_curve(known, measured_on.right, np.empty(0)), strangers)
    return UnknownReport(replace(part, info=info), tuple(judged), curve, by_class)


def _threshold(scores: Float64[np.ndarray, "n"], right: Bool[np.ndarray, "n"], wish: Wish) -> float:
    if wish.wanted == "coverage":
        return threshold_for_coverage(scores, wish.target)
    found = threshold_for_accuracy(scores, right, wish.target)
    if found is None:
        raise ConfigError(
            f"no threshold gives answers of which {100 * wish.target:g} % are right on the "
            f"{len(scores):,} validation images",
            where="--accuracy",
            details=[f"without a threshold {100 * float(right.mean()):.1f} % are"],
            fix="ask for less, or train a better model",
        )
    return found


def measured_share(hits: Bool[np.ndarray, "n"], families: Families) -> Measured:
    """A share of images with its interval by families."""
    row = np.zeros(len(hits), np.int64)
    low, high = share_intervals(row, hits, families.of_image, num_rows=1)
    known = bool(np.isfinite(low[0]) and np.isfinite(high[0]))
    return Measured(
        value=float(hits.mean()),
        low=float(np.clip(low[0], 0, 1)) if known else None,
        high=float(np.clip(high[0], 0, 1)) if known else None,
        num_images=len(hits),
    )


def _with_strangers(curve: SelectiveCurve, draws: Sequence[HeldOutDraw]) -> SelectiveCurve:
    """The curve with what is accepted of strangers at the same coverage."""
    if not draws:
        return curve
    accepted = [
        float(np.mean([one.accepted(float(coverage)) for one in draws]))
        for coverage in curve.coverage
    ]
    return replace(curve, accepted=np.array(accepted))


def _sets(
    level: float,
    val: EmbeddedImages,
    test: EmbeddedImages,
    families: tuple[Families, Families],
    readout: Readout,
    labels: Sequence[str],
) -> tuple[LabelSets, tuple[ClassCoverage, ...]]:
    least = least_probability(readout.probabilities(val.logits), val.targets, level)
    if least is None:
        raise ConfigError(
            f"{len(val)} validation images promise no sets of {100 * level:g} %",
            where="--sets",
            details=[f"{fewest_images(level)} are needed"],
            fix="ask for less",
        )
    if not len(test):
        return LabelSets(level=level, least_probability=least), ()
    sets = prediction_sets(readout.probabilities(test.logits), least)
    hits = sets[np.arange(len(test)), test.targets]
    found = LabelSets(
        level=level,
        least_probability=least,
        reached=measured_share(hits, families[1]),
        mean_size=float(sets.sum(axis=1).mean()),
    )
    counts = np.bincount(val.targets, minlength=len(labels))
    by_class = []
    for number in np.unique(test.targets).tolist():
        rows = np.flatnonzero(test.targets == number)
        by_class.append(
            ClassCoverage(
                labels[number],
                measured_share(hits[rows], families[1].take(rows)),
                int(counts[number]),
                bool(counts[number] >= fewest_images(level)),
            )
        )
    return found, tuple(by_class)
