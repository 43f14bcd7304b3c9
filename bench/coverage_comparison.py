"""How often a comparison invents a worse model, finds a real one, and covers the winner's score.

    python bench/coverage_comparison.py [--area equal] [--models 10] [--accuracy .8]

Models are simulated on the same images: whether a model is right on an image is decided by the
image's difficulty, which all share, and by a luck of its own. With a probit model the difficulty
takes the share `SHARED` of the variance; in families half of that is the family's. So models agree
on most images, as networks do, and differ on about 12 % at an accuracy of .8.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.special import ndtri

from shopsight.metrics.best_of import BestOf, best_of, is_clearly_worse
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families

SHARED = 0.8
MODELS, IMAGES = (2, 5, 10, 20), (100, 500, 2000)
FAMILY_IMAGES = 5
ACCURACIES = (0.6, 0.8, 0.95)
BEHIND = (0.02, 0.05, 0.1)
"""How far all other models are behind the best, where power is measured."""


def simulated(
    rng: np.random.Generator, accuracies: Float64[np.ndarray, "k"], family: Int64[np.ndarray, "n"]
) -> Bool[np.ndarray, "k n"]:
    """Whether each model is right on each image.

    Args:
        rng: of the sample.
        accuracies: in the long run.
        family: of each image.
    """
    count, images = int(family.max()) + 1, len(family)
    alone = count == images
    of_family = rng.standard_normal(count)[family] * np.sqrt(0 if alone else SHARED / 2)
    of_image = rng.standard_normal(images) * np.sqrt(SHARED if alone else SHARED / 2)
    luck = rng.standard_normal((len(accuracies), images)) * np.sqrt(1 - SHARED)
    return of_family + of_image + luck < ndtri(accuracies)[:, None]


def table_of(right: Bool[np.ndarray, "k n"], families: Families) -> BestOf:
    """What a comparison says."""
    return best_of([Estimate.share(one) for one in right], families)


def says_worse_one_by_one(right: Bool[np.ndarray, "k n"], families: Families) -> bool:
    """Whether any model is called worse where each difference has a 95 % interval of its own."""
    estimates = [Estimate.share(one) for one in right]
    best = max(estimates, key=lambda one: one.value)
    return any(
        is_clearly_worse(difference_of(one, best, families)) for one in estimates if one is not best
    )


def equal_models(
    repeats: int, models: Sequence[int], accuracies: Sequence[float]
) -> Iterator[dict[str, float | str]]:
    """Tables of equal models: none is worse, and the winner's score is theirs."""
    for k, n, grouped, accuracy in product(models, IMAGES, (False, True), accuracies):
        rng = np.random.default_rng([k, n, grouped, round(100 * accuracy)])
        family = np.arange(n) // (FAMILY_IMAGES if grouped else 1)
        families = Families(family)
        false = alone = covered = covered_before = 0
        optimism, excess = [], []
        for _ in range(repeats):
            right = simulated(rng, np.full(k, accuracy), family)
            found = table_of(right, families)
            winner = found.scores[found.best]
            false += len(found.may_be_best) < k
            alone += says_worse_one_by_one(right, families)
            covered += winner.low <= accuracy <= winner.high
            before = _unchosen(right[found.best], families)
            covered_before += before[0] <= accuracy <= before[1]
            optimism.append(found.optimism)
            excess.append(winner.value - accuracy)
        yield {
            "area": "equal models",
            "models": k,
            "images": n,
            "families": families.count,
            "accuracy": accuracy,
            "any worse": false / repeats,
            "any worse one by one": alone / repeats,
            "winner covered": covered / repeats,
            "winner covered as if unchosen": covered_before / repeats,
            "winner too high": float(np.mean(excess)),
            "optimism": float(np.mean(optimism)),
        }


def _unchosen(right: Bool[np.ndarray, "n"], families: Families) -> tuple[float, float]:
    alone = best_of([Estimate.share(right)], families).scores[0]
    return alone.low, alone.high


def one_better(
    repeats: int, models: Sequence[int], accuracies: Sequence[float]
) -> Iterator[dict[str, float | str]]:
    """One model is better than all others, which are equally accurate: how often they are worse."""
    for k, n, behind, accuracy in product(models, IMAGES, BEHIND, accuracies):
        if accuracy + behind >= 1:
            continue
        rng = np.random.default_rng([k, n, round(100 * behind), round(100 * accuracy)])
        family = np.arange(n)
        truth = np.full(k, accuracy)
        truth[0] += behind
        worse = lost = 0.0
        for _ in range(repeats):
            found = table_of(simulated(rng, truth, family), Families(family))
            worse += (k - len(found.may_be_best)) / (k - 1)
            lost += 0 not in found.may_be_best
        yield {
            "area": "one better",
            "models": k,
            "images": n,
            "accuracy": accuracy,
            "behind": behind,
            "found worse": worse / repeats,
            "best called worse": lost / repeats,
        }


AREAS = {"better": one_better, "equal": equal_models}


def main() -> None:
    """Print a line of JSON for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--area", nargs="*", choices=sorted(AREAS), default=sorted(AREAS))
    parser.add_argument("--models", type=int, nargs="*", default=MODELS)
    parser.add_argument("--accuracy", type=float, nargs="*", default=ACCURACIES)
    given = parser.parse_args()
    for area in given.area:
        for found in AREAS[area](given.repeats, given.models, given.accuracy):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
