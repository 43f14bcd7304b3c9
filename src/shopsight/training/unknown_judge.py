"""Which score tells known images from strangers: judged on classes that a head never saw.

Classes are taken away in turn, a fifth of them at a time. A head is fitted to the others, the
scores are fitted with it, and images of the classes that are gone are strangers to all of it, as
far as the backbone is a stranger to them: one that was trained on these classes has seen them, and
everything said here is too good. Images of others (negatives) are strangers in any case.

A good score answers what would be right and nothing else. Of two kinds of images that should not be
answered, it has to tell both from those that are answered rightly: wrong answers to known images,
and strangers. The mean of the two areas under the curve is what it is judged by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from shopsight.bundle.unknown_info import SCORES, Score, UnknownPart
from shopsight.metrics.selective import area_under_curve, threshold_for_coverage
from shopsight.progress import task
from shopsight.training.fold_heads import HeadFit
from shopsight.training.probe import fit_probe
from shopsight.training.unknown_scores import MOST_ROWS, EmbeddedImages, fit_scores

DRAWS = 5
"""Each class is taken away once."""
TAKEN_AWAY = 0.2
FEWEST_LEFT = 2
MOST_CLASSES = 300
"""Of ten thousand classes, so many are enough to compare scores by."""
USUAL_COVERAGE = 0.95
GATE_IS_WORTH = 0.02
"""A class that is taken away is still a product in a photo like the others: it says nothing of
photos of something else, of which the largest probability accepts most and the gate hardly any
(docs/log.md)."""


@dataclass(frozen=True, eq=False)
class HeldOutDraw:
    """Scores of one draw.

    Attributes:
        known: of known images.
        right: whether the answer for each is right.
        strangers: of strangers.
    """

    known: Float64[np.ndarray, "n"]
    right: np.ndarray
    strangers: Float64[np.ndarray, "m"]

    def accepted(self, coverage: float) -> float:
        """The fraction of strangers that is answered where so many known images are."""
        threshold = threshold_for_coverage(self.known, coverage)
        return float((self.strangers >= threshold).mean())


@dataclass(frozen=True, eq=False)
class Judged:
    """How good one score is, over all draws.

    Attributes:
        score: which.
        strangers: area under the curve of known images against strangers.
        wrong: of right answers against wrong ones.
        rejects: of right answers against each of both kinds, the mean of both.
        accepted: the fraction of strangers that is answered where 95 % of known images are.
        draws: that it was measured on.
    """

    score: Score
    strangers: float
    wrong: float
    rejects: float
    accepted: float
    draws: tuple[HeldOutDraw, ...]

    @classmethod
    def of(cls, score: Score, draws: tuple[HeldOutDraw, ...]) -> Judged:
        """Judge by draws, of which there is at least one."""
        strangers = [area_under_curve(one.known, one.strangers) for one in draws]
        wrong = [area_under_curve(one.known[one.right], one.known[~one.right]) for one in draws]
        of_right = [area_under_curve(one.known[one.right], one.strangers) for one in draws]
        means = [_mean(pair) for pair in zip(wrong, of_right, strict=True)]
        rejects = _mean(means)
        return cls(
            score,
            float(np.mean(strangers)),
            _mean(wrong),
            # Where no answer is right, nothing can be said of any score.
            0.5 if np.isnan(rejects) else rejects,
            float(np.mean([one.accepted(USUAL_COVERAGE) for one in draws])),
            draws,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        numbers = ("strangers", "wrong", "rejects", "accepted")
        values = {name: getattr(self, name) for name in numbers}
        return {"score": self.score} | {
            name: None if np.isnan(value) else value for name, value in values.items()
        }


def _mean(values: Sequence[float]) -> float:
    """Of the numbers among them; NaN without any."""
    known = [one for one in values if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")


def judge_by_held_out_classes(
    train: EmbeddedImages,
    val: EmbeddedImages,
    *,
    how: HeadFit,
    temperature: float,
    device: torch.device,
) -> list[Judged]:
    """Judge every score, the best first; none where too few classes are left.

    Args:
        train: images that the network learned from.
        val: known images that it did not.
        how: how heads are fitted.
        temperature: of the network's logits; that of the new heads is close to it.
        device: where heads are fitted.
    """
    rng = np.random.default_rng(how.seed)
    found: dict[Score, list[HeldOutDraw]] = {score: [] for score in SCORES}
    groups = list(_taken_away(train, val, rng))
    with task("Judging scores", total=len(groups), unit="draws") as advance:
        for classes, gone in groups:
            for score, draw in _draw(train, val, classes, gone, how, temperature, device).items():
                found[score].append(draw)
            advance(1)
    return best_first(
        {score: tuple(draws) for score, draws in found.items() if draws},
        gate_is_worth=GATE_IS_WORTH,
    )


def judge_by_negatives(
    parts: Mapping[Score, UnknownPart], known: EmbeddedImages, negatives: EmbeddedImages
) -> list[Judged]:
    """Judge every score by images of others, the best first."""
    draws = _scored(parts, known, negatives)
    return best_first({score: (draw,) for score, draw in draws.items()})


def best_first(
    draws: Mapping[Score, tuple[HeldOutDraw, ...]], *, gate_is_worth: float = 0.0
) -> list[Judged]:
    """The scores by what they reject; of equal ones the simpler first, as in `SCORES`.

    Args:
        draws: of each score.
        gate_is_worth: how much worse "gated" may be and yet come first.
    """
    judged = [Judged.of(score, draws[score]) for score in SCORES if score in draws]

    def worth(one: Judged) -> float:
        return round(one.rejects + gate_is_worth * (one.score == "gated"), 6)

    return sorted(judged, key=lambda one: -worth(one))


def _taken_away(
    train: EmbeddedImages, val: EmbeddedImages, rng: np.random.Generator
) -> Iterator[tuple[Int64[np.ndarray, "k"], Int64[np.ndarray, "g"]]]:
    """The classes of each draw that stay, and those that go."""
    classes = np.intersect1d(train.targets, val.targets)
    if len(classes) > MOST_CLASSES:
        classes = np.sort(rng.choice(classes, MOST_CLASSES, replace=False))
    count = max(1, round(TAKEN_AWAY * len(classes)))
    if len(classes) - count < FEWEST_LEFT:
        return
    order = rng.permutation(classes)
    for number in range(min(DRAWS, len(classes) // count)):
        gone = order[number * count : (number + 1) * count]
        yield np.setdiff1d(classes, gone), np.sort(gone)


def _draw(
    train: EmbeddedImages,
    val: EmbeddedImages,
    classes: Int64[np.ndarray, "k"],
    gone: Int64[np.ndarray, "g"],
    how: HeadFit,
    temperature: float,
    device: torch.device,
) -> dict[Score, HeldOutDraw]:
    rows = _some(np.flatnonzero(np.isin(train.targets, classes)), how.seed)
    known_rows = np.flatnonzero(np.isin(val.targets, classes))
    targets = np.searchsorted(classes, train.targets[rows]).astype(np.int64)
    known_targets = np.searchsorted(classes, val.targets[known_rows]).astype(np.int64)
    probe = fit_probe(
        torch.from_numpy(train.embeddings[rows]),
        targets,
        torch.from_numpy(val.embeddings[known_rows]),
        known_targets,
        settings=how.probe,
        num_classes=len(classes),
        device=device,
    )
    weight, bias = probe.weight.numpy(), probe.bias.numpy()

    def answered(embeddings: np.ndarray, right: Int64[np.ndarray, "n"]) -> EmbeddedImages:
        return EmbeddedImages(embeddings, (embeddings @ weight.T + bias).astype(np.float32), right)

    known = answered(val.embeddings[known_rows], known_targets)
    of_gone = [one.embeddings[np.isin(one.targets, gone)] for one in (train, val)]
    stranger = np.concatenate(of_gone)
    strangers = answered(stranger, np.full(len(stranger), -1))
    parts = fit_scores(
        answered(train.embeddings[rows], targets), known, temperature=temperature, seed=how.seed
    )
    return _scored(parts, known, strangers)


def _scored(
    parts: Mapping[Score, UnknownPart], known: EmbeddedImages, strangers: EmbeddedImages
) -> dict[Score, HeldOutDraw]:
    """What each score says of known images and of strangers."""
    return {
        score: HeldOutDraw(
            part.scores(known.embeddings, known.logits),
            known.right,
            part.scores(strangers.embeddings, strangers.logits),
        )
        for score, part in parts.items()
    }


def _some(rows: Int64[np.ndarray, "m"], seed: int) -> Int64[np.ndarray, "k"]:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
