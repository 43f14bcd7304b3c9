"""How often a promise of precision is broken, in simulated catalogs.

    python bench/promised_precision.py

Of each catalog the confidences are drawn from Beta(6, 1), and answers are right with a probability
that depends on the confidence: as it says, far less often, or always a little less often than is
promised. A promise is broken where it is given and answers from that confidence on are right less
often, in a million draws. Beside it, the lowest threshold with a Clopper-Pearson bound that reaches
the promise, without a correction for having tried many.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from shopsight.metrics.families import Families
from shopsight.metrics.promised_precision import (
    RISK,
    clopper_pearson_low,
    promise_precision,
    tried_sizes,
)

CATALOGS, LABELED = 1000, (200, 1000)
PROMISES = (0.9, 0.95, 0.98)
Numbers = Float64[np.ndarray, "n"]


def models(promise: float) -> dict[str, Callable[[Numbers], Numbers]]:
    """How often answers are right, by confidence."""
    return {
        "calibrated": lambda confidence: confidence,
        "far too sure": lambda confidence: confidence**3,
        "always just below": lambda confidence: np.full(len(confidence), promise - 1e-6),
    }


def naive(confidence: Numbers, correct: np.ndarray, promise: float) -> float:
    """The threshold without the correction."""
    order = np.argsort(-confidence)
    sizes = tried_sizes(1, len(order))
    right = np.cumsum(correct[order])[sizes - 1].astype(np.float64)
    low = clopper_pearson_low(right, sizes.astype(np.float64), RISK)
    passed = np.flatnonzero(low >= promise)
    return float(confidence[order][sizes[passed[-1]] - 1]) if len(passed) else np.inf


def main() -> None:
    rng = np.random.default_rng(0)
    everything = np.sort(rng.beta(6, 1, 1_000_000))
    for promise in PROMISES:
        for name, model in models(promise).items():
            right = model(everything)
            from_here = np.cumsum(right[::-1])[::-1] / np.arange(len(right), 0, -1)
            for labeled in LABELED:
                broken = given = naively = 0
                coverage = 0.0
                for _ in range(CATALOGS):
                    confidence = rng.beta(6, 1, labeled)
                    correct = rng.random(labeled) < model(confidence)
                    found = promise_precision(
                        confidence, correct, Families.alone(labeled), precision=promise
                    ).threshold
                    place = int(np.searchsorted(everything, found))
                    if np.isfinite(found):
                        given += 1
                        coverage += 1 - place / len(everything)
                        broken += from_here[place] < promise
                    other = naive(confidence, correct, promise)
                    if np.isfinite(other):
                        naively += from_here[int(np.searchsorted(everything, other))] < promise
                filled = coverage / given if given else 0.0
                print(
                    f"| {promise:.2f} | {name} | {labeled:,} | {given / CATALOGS:.1%} | "
                    f"{filled:.0%} | {broken / CATALOGS:.1%} | {naively / CATALOGS:.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
