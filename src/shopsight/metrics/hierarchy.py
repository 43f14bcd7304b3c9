"""How good labels are that are paths: half right is better than all wrong.

Of an image, T are the nodes on the path of its true label, from the top to the label, and P those
of the predicted one; the root, which all paths have in common, is in neither. In a tree two paths
part once and for good, so that the nodes in both are those down to the deepest common one, at level
l: |T and P| = l, with |T| = t and |P| = p the levels of the two labels. Over all images,

    hP = sum l / sum p        of what was predicted, how much is true
    hR = sum l / sum t        of what is true, how much was predicted
    hF = 2 sum l / (sum p + sum t)     their harmonic mean, 2 hP hR / (hP + hR)

"Jewelry > Rings" for a product that is only "Jewelry" has l = 1, p = 2, t = 1: it says too much,
and costs precision alone; the other way round recall alone. A mistake at the top costs both.

Each is a ratio A / B of sums over images. A further image i moves it by (a_i - r b_i) / B, which is
its influence (`shopsight.metrics.estimates`).

Source: Kiritchenko, Matwin & Famili 2005, "Functional annotation of genes using hierarchical text
categorization"; Silla & Freitas 2011, "A survey of hierarchical classification across different
application domains", section 5.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int, Int64

from shopsight.errors import MetricError
from shopsight.label_tree import LabelTree
from shopsight.metrics.estimates import Estimate, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval


def level_hits(
    tree: LabelTree, targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"], *, level: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which images are right down to a level: both labels are the same, cut there.

    A label that ends above stays what it is: at level 2, "Jewelry" is not "Jewelry > Rings". So
    every image counts at every level, a deeper level is never more accurate, and at the deepest the
    whole label has to be right.
    """
    node = tree.cut(level)
    hits: np.ndarray[tuple[int], np.dtype[np.bool_]] = node[targets] == node[predicted]
    return hits


def hierarchy_estimates(
    tree: LabelTree, targets: Int[np.ndarray, "n"], predicted: Int[np.ndarray, "n"]
) -> dict[str, Estimate]:
    """Accuracy at each level above the deepest, and hP, hR and hF, by their names.

    Args:
        tree: of the labels.
        targets: indices of labels.
        predicted: likewise.

    Raises:
        MetricError: there are no images.
    """
    if not len(targets):
        raise MetricError("there are no images to measure on")
    found = {
        f"level_{level}_accuracy": Estimate.share(level_hits(tree, targets, predicted, level=level))
        for level in range(1, tree.depth)
    }
    common = tree.common_level(targets, predicted)
    of_truth, of_answer = tree.label_level[targets], tree.label_level[predicted]
    return found | {
        "hierarchical_precision": _ratio(common, of_answer),
        "hierarchical_recall": _ratio(common, of_truth),
        "hierarchical_f1": _ratio(2 * common, of_answer + of_truth),
    }


def first_mistake(
    tree: LabelTree,
    targets: Int[np.ndarray, "n"],
    predicted: Int[np.ndarray, "n"],
    families: Families,
) -> Interval | None:
    """The mean level at which wrong answers go wrong: 1 is another top category.

    Of a wrong answer it is l + 1, with l as above: the first name that differs, or that one of the
    two paths lacks. It lies between 1 and the depth d of the tree, and (mean - 1) / (d - 1) is a
    mean of values between 0 and 1, whose interval by the families of the wrong images is scaled
    back.

    Returns:
        None where no answer is wrong.
    """
    wrong = targets != predicted
    if not wrong.any():
        return None
    common = tree.common_level(targets[wrong], predicted[wrong]).astype(np.float64)
    steps = tree.depth - 1
    scaled = _mean(common / steps)
    found = interval_of(scaled, families.take(wrong))
    if not found.is_known:
        return Interval.unknown(1 + steps * found.value, f"mistakes in {found.reason}")
    return replace(
        found,
        value=1 + steps * found.value,
        low=1 + steps * found.low,
        high=1 + steps * found.high,
    )


def _mean(values: Float64[np.ndarray, "n"]) -> Estimate:
    mean = float(values.mean())
    return Estimate(mean, (values - mean) / len(values))


def _ratio(above: Int64[np.ndarray, "n"], below: Int64[np.ndarray, "n"]) -> Estimate:
    """A ratio of sums between 0 and 1; an image is a hit where its own is 1."""
    total = float(below.sum())
    value = float(above.sum()) / total
    influence = (above - value * below) / total
    return Estimate(value, influence, hits=above == below, weights=below / total)
