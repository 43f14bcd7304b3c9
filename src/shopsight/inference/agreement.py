"""Whether an engine that rounds gives the answers of the exact network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from shopsight.activations import sigmoid, softmax

DEFAULT_THRESHOLD = 0.5
"""Probability from which a label is assigned, where several may be and no threshold was fitted."""

NEAR_TIE = 0.1
"""An answer whose probability lies no further than this from another answer's may turn over."""

LEAST_SAME = 0.98
"""Fraction of the images without a near tie whose answer must stay."""

MOST_CHANGE = 0.03
"""How far the probability of an image's most changed label may move, in the mean of images.

Measured, see docs/log.md: sound networks move by 0.01 in bf16 and keep 99.5 % of the clear answers;
one that bf16 ruins moves by 0.3 and keeps 60 %.
"""


@dataclass(frozen=True, eq=False)
class Readout:
    """How logits are read.

    Attributes:
        temperature: logits are divided by it.
        doubt: probability that all labels share alike, see `shopsight.metrics.temperature`.
        multilabel: sigmoid instead of softmax.
        thresholds: with several labels per image, of each label; empty: `DEFAULT_THRESHOLD`.
    """

    temperature: float = 1.0
    doubt: float = 0.0
    multilabel: bool = False
    thresholds: tuple[float, ...] = ()

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        *,
        temperature: float,
        doubt: float,
        multilabel: bool,
        thresholds: Mapping[str, float],
    ) -> Readout:
        """The readout with thresholds by name, of which some may be missing."""
        ordered = tuple(thresholds.get(label, DEFAULT_THRESHOLD) for label in labels)
        return cls(temperature, doubt, multilabel, ordered if multilabel else ())

    def probabilities(self, logits: Float[np.ndarray, "b c"]) -> Float64[np.ndarray, "b c"]:
        """Calibrated probabilities: softmax, or sigmoid where an image may have several labels."""
        calibrated = np.asarray(logits, np.float64) / self.temperature
        probabilities: Float64[np.ndarray, "b c"] = (
            sigmoid(calibrated) if self.multilabel else softmax(calibrated)
        )
        # Of one label for each image the doubt goes to all labels, of several to yes and no.
        share = 0.5 if self.multilabel else 1.0 / probabilities.shape[1]
        return (1.0 - self.doubt) * probabilities + self.doubt * share


@dataclass(frozen=True)
class Agreement:
    """How far the answers of one engine are those of another.

    Attributes:
        num_images: images that both answered.
        num_near_ties: of these, images whose exact answer has a rival within `NEAR_TIE`.
        same: fraction of the other images whose answer is the same; 1 without such images.
        change: the largest change of a label's probability, mean over all images; infinite where
            an output is not a number.
    """

    num_images: int
    num_near_ties: int
    same: float
    change: float

    @property
    def ok(self) -> bool:
        """Both are within `LEAST_SAME` and `MOST_CHANGE`."""
        return self.same >= LEAST_SAME and self.change <= MOST_CHANGE

    def line(self) -> str:
        """One line for people."""
        decided = self.num_images - self.num_near_ties
        return (
            f"{self.same:.1%} of {decided:,} clear answers are the same (at least "
            f"{LEAST_SAME:.1%}), probabilities change by {self.change:.3f} (at most "
            f"{MOST_CHANGE:g}), on {self.num_images:,} images"
        )


def agreement(
    found: Float32[np.ndarray, "b c"], exact: Float32[np.ndarray, "b c"], readout: Readout
) -> Agreement:
    """Compare the answers that two engines gave for the same images.

    A near tie says nothing about an engine: rounding of any kind turns it over. How far the
    probabilities move says it on those images too.

    Args:
        found: logits of the engine that rounds.
        exact: logits of the exact one.
        readout: how both are read.
    """
    if found.shape != exact.shape or not np.isfinite(found).all():
        return Agreement(len(exact), 0, 0.0, float("inf"))
    probabilities, reference = readout.probabilities(found), readout.probabilities(exact)
    if readout.multilabel:
        limits = np.array(readout.thresholds or [DEFAULT_THRESHOLD] * exact.shape[1])
        near_tie = (np.abs(reference - limits) <= NEAR_TIE).any(1)
        same = ((probabilities >= limits) == (reference >= limits)).all(1)
    else:
        near_tie = _margin(reference) <= NEAR_TIE
        same = probabilities.argmax(1) == reference.argmax(1)
    clear: Bool[np.ndarray, "b"] = ~near_tie
    return Agreement(
        num_images=len(exact),
        num_near_ties=int(near_tie.sum()),
        same=float(same[clear].mean()) if clear.any() else 1.0,
        change=float(np.abs(probabilities - reference).max(1).mean()),
    )


def _margin(probabilities: Float64[np.ndarray, "b c"]) -> Float64[np.ndarray, "b"]:
    """How far the best label lies above the next; 1 where there is no other."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    margin: Float64[np.ndarray, "b"] = two[:, 1] - two[:, 0]
    return margin
