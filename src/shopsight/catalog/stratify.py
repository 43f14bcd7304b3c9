"""Divide units among parts so that each part has its fraction of the rows and of every label.

A unit is what must stay together: an image, or all images that a group, a duplicate group or a
common file connects. A part is train, val or test, or one of K folds. The result does not depend on
the order of the rows.

**What is minimized.** Unit u has s_u rows, of which c_ul have label l. Part p is to get the
fraction f_p of all N rows and of the T_l rows of each label. With h_p rows and h_pl rows of label l
in part p, the distance from what is wanted is Pearson's chi-square with the wanted counts as
expectation:

    X = TOTAL_WEIGHT * sum_p (h_p - f_p N)^2 / (f_p N)  +  sum_pl (h_pl - f_p T_l)^2 / (f_p T_l)

Division by the wanted count makes one row too many weigh more in a small part and in a rare label,
where it changes the fraction more. A label with several rows per image counts in each of its terms.

Minimizing X exactly is a multi-way number partitioning problem and NP-hard; asking that every label
be in every part is one too (two parts: set splitting, Garey and Johnson 1979, SP4). So the units
are assigned greedily, in three steps.

1. `cover`: every label into every part, rarest label first. The units that can serve a rare label
   are few; were a common label to take them first, the rare one could go without, while a common
   label finds other units. Small units in random order; where that finds no covering, by size,
   since the smallest use up the least of a part.
2. `fill`: the rest, from large units to small, each to the part where X grows least. What a large
   unit spoils, the small ones after it repair (as in Graham's longest-processing-time rule, 1969).
3. `rebalance`: single images move between parts whose sizes are still off by rounding.

Where no order of the units lets step 1 end, `divide_with_repairs` moves units that were assigned
for one label to a part that another one lacks, if their old part has the label twice or finds a
free unit instead. Of 20,000 images with three of 10,000 labels each, 606 labels are in training
only then, 604 of which have one or two images.

**Every size in every part.** X alone would fill small parts with lone images: three photos of one
product overshoot what a class lacks there, one does not. So each part has a quota of the units of
each size, see `shopsight.catalog.size_quotas`, and X decides which of them it gets.

**How far a part can be off.** Of m units that are alike (same labels, same counts), each part
first gets a number in proportion to what it lacks of their label, rounded down. What the parts lack
together is at least the m * s rows to be assigned, so none gets more of the label than it lacks.

The remainder goes unit by unit. Let there be one label and no quotas, and let a unit of s rows
bring part p above its wanted w_p = f_p N. The unit went where (2 (h_p - w_p) + s) / w_p was least.
Before it, at least s rows were still unassigned, so some part q had (h_q - w_q) / w_q <= -s / N.
Therefore

    (2 (h_p - w_p) + s) / w_p  <=  (2 (h_q - w_q) + s) / w_q  <=  s / w_q - 2 s / N,

and p ends with at most  h_p + s - w_p  <  s/2 * (1 + f_p / min f)  rows too many: fewer than s for
equal fractions. Units come in descending order, so s is small wherever small units exist. Where
several labels share units no such bound holds for each label. On 327 random cases of at most 7
units in which an exhaustive search found every label in every part, so did this one, and X was the
least possible in 54 % (tests/catalog/test_stratify.py repeats this on 60 cases).

Sources: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data", for
greedy assignment with the rarest label first; Szymanski and Kajdanowicz 2017, "A Network
Perspective on Stratification of Multi-Label Data", balance pairs of labels too, which is not done
here. Units of several rows, the chi-square criterion and the bulk assignment are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from shopsight.catalog.part_assignment import COVER_ATTEMPTS, Assignment
from shopsight.catalog.units import Units


def divide(
    units: Units,
    fractions: Sequence[float],
    *,
    covered: Bool[np.ndarray, "p l"] | None = None,
) -> Int64[np.ndarray, "u"] | None:
    """Assign each unit to a part, as the module's head explains.

    Takes O(E log E + E P) time for E (unit, label) pairs and P parts.

    Args:
        units: what is divided.
        fractions: wanted fraction of each part; they sum to 1.
        covered: labels that need not be brought into a part; None: none.

    Returns:
        The part of each unit, 0 to len(fractions) - 1. None when no order was found that brings
        every label into every part: a label has fewer units than there are parts, or groups connect
        rare labels so that none exists.
    """
    assert abs(sum(fractions) - 1.0) < 1e-9
    for attempt in range(COVER_ATTEMPTS):
        assignment = Assignment(units, fractions, covered)
        if assignment.cover(attempt):
            assignment.fill()
            assignment.rebalance()
            return assignment.part
    return None


def divide_with_repairs(
    units: Units,
    fractions: Sequence[float],
    *,
    covered: Bool[np.ndarray, "p l"] | None = None,
) -> tuple[Int64[np.ndarray, "u"] | None, list[int]]:
    """What `divide` does, where it gives None: with units that change their part for a label.

    Args:
        units: see `divide`.
        fractions: see `divide`.
        covered: see `divide`.

    Returns:
        The part of each unit, and no label; or None, and the codes of the labels that some part
        lacks in the order of the units that leaves fewest: the others are in every part.
    """
    fewest = list[int]()
    for attempt in range(COVER_ATTEMPTS):
        assignment = Assignment(units, fractions, covered)
        lacking = assignment.cover_most(attempt)
        if not lacking:
            assignment.fill()
            assignment.rebalance()
            return assignment.part, []
        if not fewest or len(lacking) < len(fewest):
            fewest = lacking
    return None, fewest
