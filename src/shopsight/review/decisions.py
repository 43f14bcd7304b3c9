"""What a user decided about suggestions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Decisions:
    """What a user decided.

    Attributes:
        accepted: the category of each product.
        declined: products whose suggestion was declined.
        is_all: nothing else is to be changed; without it what keeps the promise is filled in too.
    """

    accepted: Mapping[str, str] = field(default_factory=dict)
    declined: frozenset[str] = frozenset()
    is_all: bool = False

    def cells(self, suggested: Mapping[str, str]) -> dict[str, str]:
        """What stands in the column `accept`, by product."""
        taken = {
            product: YES if suggested.get(product) == label else label
            for product, label in self.accepted.items()
        }
        return taken | dict.fromkeys(self.declined, NO)

    def least(self, product: str, threshold: float) -> float:
        """The confidence from which on a missing category is filled in."""
        if product in self.accepted:
            return 0.0
        return math.inf if product in self.declined else threshold

    def corrections(self, trained: Mapping[str, str]) -> dict[str, str]:
        """Accepted categories of products that a run was trained on with another one.

        Args:
            trained: the category that each was trained with.
        """
        return {
            name: label
            for name, label in self.accepted.items()
            if trained.get(name, label) != label
        }
