"""Sets of rules: what a marketplace asks of images, as TOML; those shipped and the user's own."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from shopsight.image_rules.checks import CHECKS, Limit

Severity = Literal["warning", "note"]
Images = Literal["main", "all"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        id: its name, unique in its set.
        check: a key of `checks.CHECKS`.
        limit: what it compares with.
        images: "main": only the main image of a product; "all".
        labels: patterns (`*` is any text) of the labels that it is for; empty for every product.
        starts: since when, or from when on, it is in force; None for always.
        ends: the last day on which it is; None for no end.
        source: where it is written.
        severity: "warning": an image that breaks it may be refused; "note" is advice.
    """

    id: str
    check: str
    source: str
    limit: Limit = field(default_factory=Limit)
    images: Images = "all"
    labels: tuple[str, ...] = ()
    starts: datetime.date | None = None
    ends: datetime.date | None = None
    severity: Severity = "warning"

    @property
    def needed(self) -> str:
        """What it asks for, in words."""
        return CHECKS[self.check].needed(self.limit)

    def is_in_force(self, date: datetime.date) -> bool:
        """Whether it holds on a day."""
        begun = self.starts is None or self.starts <= date
        return begun and (self.ends is None or date <= self.ends)


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """The rules of one marketplace, or a user's own.

    Attributes:
        key: what `--rules` calls it: "google", or the name of the file.
        name: what sentences call it.
        as_of: the day of what is known of the sources.
        rules: in the order of the file.
    """

    key: str
    name: str
    as_of: datetime.date
    rules: tuple[Rule, ...]


def last_start(rule_sets: Sequence[RuleSet], today: datetime.date) -> datetime.date:
    """The day when all rules that are known are in force: today, or later."""
    starts = [rule.starts for rules in rule_sets for rule in rules.rules if rule.starts]
    return max([today, *starts])
