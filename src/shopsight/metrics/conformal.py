"""Sets of labels that hold the right one as often as is asked: split conformal prediction.

Let a validation image's score be s = 1 - p_y, of its right label y. With n of them, a set holds
every label whose 1 - p does not exceed the ceil((n + 1) c)-th smallest s. An image that is
exchangeable with these has its own s among n + 1 equally likely places, so that its right label is
in the set with a probability of at least c: on average over images of all classes (marginal). A
class of few images may be covered never. For one class alone the same promise needs
ceil((n + 1) c) <= n of its own images, n >= 1 / (1 - c) - 1.

Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; the score is that
of Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued Classifiers".
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int64


def fewest_images(level: float) -> int:
    """How many images a promise of this level needs: n >= 1 / (1 - level) - 1."""
    return max(1, math.ceil(1 / (1 - level) - 1 - 1e-9))


def least_probability(
    probabilities: Float[np.ndarray, "n c"], targets: Int64[np.ndarray, "n"], level: float
) -> float | None:
    """From which probability on a label is in the set; None of too few images.

    Args:
        probabilities: of validation images.
        targets: their labels.
        level: how often the right label is to be in the set, 0 to 1.
    """
    count = len(targets)
    place = math.ceil((count + 1) * level - 1e-9)
    if not 1 <= place <= count:
        return None
    own = probabilities[np.arange(count), targets]
    return float(np.sort(own)[::-1][place - 1])


def prediction_sets(
    probabilities: Float[np.ndarray, "n c"], least: float
) -> Bool[np.ndarray, "n c"]:
    """Which labels are in the set of each image: the best one always."""
    sets: Bool[np.ndarray, "n c"] = probabilities >= least
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
