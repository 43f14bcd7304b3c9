"""Which images and products break which rules, and how that is said."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from shopsight.image_rules.checks import CHECKS
from shopsight.image_rules.rule_set import Rule, RuleSet
from shopsight.text import counted

# The columns of what rules say of rows.
_BROKEN = pl.Schema({"rule": pl.Int64, "row": pl.Int64, "measured": pl.String})
_REJECTED = ("product", "image", "url", "rule", "measured", "needed", "source", "date")
# What `images_table` adds to the columns of a catalog.
_SHOWN_FACTS = (
    *("shot", "width", "height", "bytes", "format", "color_space", "is_animated", "near_white"),
    *("pure_white", "fill", "most_fill", "touched", "frame_px", "frame_color", "is_main"),
)


@dataclass(frozen=True)
class ListedRule:
    """A rule with its set.

    Attributes:
        rules: the set.
        rule: the rule.
    """

    rules: RuleSet
    rule: Rule

    @property
    def name(self) -> str:
        """The name of the rule among all sets: `google/size`."""
        return f"{self.rules.key}/{self.rule.id}"

    @property
    def date(self) -> datetime.date:
        """Since when it is in force, or where nobody says that, the day of what is known of it."""
        return self.rule.starts or self.rules.as_of


@dataclass(frozen=True, eq=False)
class RulesReport:
    """What rules say of a catalog's images.

    Attributes:
        date: the day whose rules they are.
        rules: those in force on that day, in the order of their sets.
        facts: all that they look at, one line per row, see `image_facts`.
        broken: a line for each rule that a row breaks: `rule` (index of `rules`), `row`,
            `measured`.
        unsure: a line for each rule of which that cannot be said of a row, with why in `measured`.
        has_products: whether the catalog says which images are of one product.
    """

    date: datetime.date
    rules: tuple[ListedRule, ...]
    facts: pl.DataFrame
    broken: pl.DataFrame
    unsure: pl.DataFrame
    has_products: bool

    @property
    def noun(self) -> str:
        """What is counted as a product: "image" where none is known."""
        return "product" if self.has_products else "image"

    @cached_property
    def counts(self) -> pl.DataFrame:
        """A line for each rule: `rule`, `severity`, `needed`, `images`, `products`, `unsure`.

        `images` and `products` are those that break it, `unsure` the images of which that cannot
        be said.
        """
        product = self.facts.select("row", "product")
        by_rule = self.broken.join(product, on="row").group_by("rule")
        broken = by_rule.agg(images=pl.len(), products=pl.col("product").n_unique())
        unsure = self.unsure.group_by("rule").agg(unsure=pl.len())
        about = pl.DataFrame(
            [
                (number, one.name, one.rule.severity, one.rule.needed)
                for number, one in enumerate(self.rules)
            ],
            schema={"number": pl.Int64, "rule": pl.String, "severity": pl.String}
            | {"needed": pl.String},
            orient="row",
        )
        counted_up = about.join(broken, left_on="number", right_on="rule", how="left").join(
            unsure, left_on="number", right_on="rule", how="left"
        )
        return counted_up.sort("number").drop("number").fill_null(0)

    def headlines(self) -> list[str]:
        """Of each rule that begins on a day how many products fall under it; then of each set."""
        lines = []
        for number, one in enumerate(self.rules):
            if one.rule.starts is not None and one.rule.severity == "warning":
                lines.append(self._dated_line(number, one))
        sets = {one.rules.key: one.rules for one in self.rules}
        lines += [self._set_line(rules) for rules in sets.values()]
        smaller = int(self.facts["fetched_smaller"].sum())
        if smaller:
            sizes = "its size is" if smaller == 1 else "their sizes are"
            many = counted(smaller, "image")
            lines.append(f"of {many} a smaller copy was fetched: {sizes} not judged")
        return lines

    def rejected(self) -> pl.DataFrame:
        """The images that may be refused, a line for each rule of severity "warning".

        The columns are product, image, url, rule, measured, needed, source, date.
        """
        warnings = [n for n, one in enumerate(self.rules) if one.rule.severity == "warning"]
        rules = pl.DataFrame(
            [
                (number, one.name, one.rule.needed, one.rule.source, one.date)
                for number, one in enumerate(self.rules)
            ],
            schema={"number": pl.Int64, "name": pl.String, "needed": pl.String}
            | {"source": pl.String, "date": pl.Date},
            orient="row",
        )
        rows = self.broken.filter(pl.col("rule").is_in(warnings)).sort("row", "rule")
        return (
            rows.join(self.facts.select("row", "product", "image", "address"), on="row")
            .join(rules, left_on="rule", right_on="number")
            .sort("row", "rule")
            .drop("rule")
            .rename({"name": "rule", "address": "url"})
            .select(_REJECTED)
        )

    def images_table(self, table: pl.DataFrame) -> pl.DataFrame:
        """A catalog's table with what was measured of each image, among it `shot`."""
        facts = self.facts.select(_SHOWN_FACTS)
        return table.drop(facts.columns, strict=False).hstack(facts)

    def to_json(self) -> dict[str, Any]:
        """The date, the headlines, and the counts of each rule with its source."""
        rules = [
            {**line, "source": one.rule.source, "date": one.date.isoformat()}
            for line, one in zip(self.counts.iter_rows(named=True), self.rules, strict=True)
        ]
        shots = self.facts["shot"].value_counts(sort=True)
        return {
            "date": self.date.isoformat(),
            "headlines": self.headlines(),
            "products": self.facts["product"].n_unique() if self.has_products else None,
            "rules": rules,
            "shots": {shot or "not measured": count for shot, count in shots.iter_rows()},
        }

    def _dated_line(self, number: int, one: ListedRule) -> str:
        count = self.counts["products"][number]
        starts = one.rule.starts
        assert starts is not None
        day = f"{starts.day} {starts:%B %Y}"
        some = counted(count, self.noun) if count else f"no {self.noun}"
        verb = "fall" if count > 1 else "falls"
        return f"{some} {verb} under {one.rules.name}'s {_limit_text(one.rule)} on {day}"

    def _set_line(self, rules: RuleSet) -> str:
        numbers = [
            number
            for number, one in enumerate(self.rules)
            if one.rules is rules and one.rule.severity == "warning"
        ]
        rows = self.broken.filter(pl.col("rule").is_in(numbers))
        products = self.facts["product"]
        refused = products[rows["row"].unique().to_numpy()].n_unique()
        whole = counted(products.n_unique(), self.noun)
        images = f" with an image that breaks a rule of {self.date}"
        if not self.has_products:
            images = f" that break a rule of {self.date}"
        return f"{rules.name}: {refused:,} of {whole}{images}"


def judge(
    facts: pl.DataFrame,
    rule_sets: Sequence[RuleSet],
    *,
    date: datetime.date,
    has_products: bool,
) -> RulesReport:
    """Judge images by the rules of a day.

    Args:
        facts: see `image_facts`.
        rule_sets: the rules.
        date: the day.
        has_products: whether `facts` knows the products.
    """
    rules = tuple(
        ListedRule(rules, rule)
        for rules in rule_sets
        for rule in rules.rules
        if rule.is_in_force(date)
    )
    broken, unsure = [pl.DataFrame(schema=_BROKEN)], [pl.DataFrame(schema=_BROKEN)]
    for number, one in enumerate(rules):
        fails, unknown = _judged(facts, one.rule)
        broken.append(fails.insert_column(0, pl.lit(number, pl.Int64).alias("rule")))
        unsure.append(unknown.insert_column(0, pl.lit(number, pl.Int64).alias("rule")))
    return RulesReport(
        date=date,
        rules=rules,
        facts=facts,
        broken=pl.concat(broken),
        unsure=pl.concat(unsure),
        has_products=has_products,
    )


def _judged(facts: pl.DataFrame, rule: Rule) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that break a rule with what was measured, and rows of which it cannot be said."""
    looked_at = facts.filter(pl.col("is_main")) if rule.images == "main" else facts
    if rule.labels:
        patterns = "|".join(re.escape(label).replace(r"\*", ".*") for label in rule.labels)
        looked_at = looked_at.filter(pl.col("label").str.contains(f"(?is)^(?:{patterns})$"))
    check = CHECKS[rule.check].judge(rule.limit)
    judged = looked_at.select(
        "row",
        readable=pl.col("width").is_not_null(),
        fails=check.fails,
        measured=check.measured,
        unknown=check.unknown,
    )
    fails = judged.filter(pl.col("fails").fill_null(False))
    # Of files that were not read the audit says so, once and not for each rule.
    unsure = judged.filter(pl.col("fails").is_null() & pl.col("readable"))
    return fails.select("row", "measured"), unsure.select("row", measured="unknown")


def _limit_text(rule: Rule) -> str:
    if rule.check == "shortest-side" and rule.limit.max is None and rule.limit.min is not None:
        return f"limit of {rule.limit.min:.0f} x {rule.limit.min:.0f} px"
    return f"rule {rule.id} ({rule.needed})"
