"""What the audit says of the rules of marketplaces: findings, files, and sections of its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.audit.findings import Finding
from shopsight.catalog.catalog import Catalog
from shopsight.files import atomic_file
from shopsight.image_rules.judge import ListedRule, RulesReport
from shopsight.spreadsheets import for_reading
from shopsight.text import counted

REJECTED_FILE, IMAGES_FILE = "rejected.csv", "images.csv"
RULE_FILES = (REJECTED_FILE, IMAGES_FILE)
"""What is written where rules are given: what may be refused, and all images as a catalog."""


@dataclass(frozen=True)
class RuleSection:
    """A rule on the page of an audit.

    Attributes:
        anchor: of its section.
        title: its name.
        about: what it asks for, of which images, since when, and where that is written.
        severity: "warning" or "note".
        images: that break it.
        products: that have such an image.
        unsure: images of which that cannot be said.
        findings: the first images that break it.
    """

    anchor: str
    title: str
    about: str
    severity: str
    images: int
    products: int
    unsure: int
    findings: Sequence[Finding]

    @property
    def hidden(self) -> int:
        """Number of images that the page does not show."""
        return self.images - len(self.findings)


def rule_findings(report: RulesReport) -> Iterator[Finding]:
    """A finding for each image that breaks rules, and one for each advice that is not followed.

    Nearly all images of a shop are against some advice: which ones, `images.csv` says.
    """
    images = report.facts["image"].to_list()
    about = pl.DataFrame(
        [(f"{one.name}: ", f"; needed: {one.rule.needed}") for one in report.rules],
        schema=["name", "needed"],
        orient="row",
    ).with_row_index("rule")
    warnings = [n for n, one in enumerate(report.rules) if one.rule.severity == "warning"]
    rows = (
        report.broken.filter(pl.col("rule").is_in(warnings))
        .join(about.cast({"rule": pl.Int64}), on="rule", maintain_order="left")
        .group_by("row", maintain_order=True)
        .agg(detail=pl.concat_str("name", "measured", "needed").str.join(" | "))
    )
    for row, detail in rows.sort("row").iter_rows():
        yield Finding("image-rule", images[row], detail=detail, row=row)
    for counts in report.counts.filter(severity="note").iter_rows(named=True):
        if counts["images"]:
            many = counted(counts["images"], "image")
            detail = f"{counts['rule']}: {many}; recommended: {counts['needed']}"
            yield Finding("image-advice", "", detail=detail)


def rule_sections(report: RulesReport, *, most: int) -> list[RuleSection]:
    """The rules for a page, each with the first images that break it.

    Args:
        report: what rules say.
        most: images of each rule.
    """
    images, sections = report.facts["image"], []
    for number, (one, counts) in enumerate(
        zip(report.rules, report.counts.iter_rows(named=True), strict=True)
    ):
        rows = report.broken.filter(rule=number).sort("row").head(most)
        shown = [
            Finding("image-rule", images[row], detail=measured, row=row)
            for row, measured in rows.select("row", "measured").iter_rows()
        ]
        sections.append(
            RuleSection(
                anchor="rule-" + one.name.replace("/", "-"),
                title=one.name,
                about=_about(one),
                severity=one.rule.severity,
                images=counts["images"],
                products=counts["products"],
                unsure=counts["unsure"],
                findings=shown,
            )
        )
    return sections


def write_rule_files(folder: Path, report: RulesReport, catalog: Catalog) -> None:
    """Write rejected.csv, and images.csv, which is a catalog with the column `shot`."""
    with atomic_file(folder / REJECTED_FILE) as part:
        for_reading(report.rejected()).write_csv(part)
    catalog.with_table(report.images_table(catalog.table)).write(folder / IMAGES_FILE)


def _about(one: ListedRule) -> str:
    rule = one.rule
    where = "the main image of each product" if rule.images == "main" else "every image"
    since = f"from {rule.starts} on" if rule.starts else f"as of {one.rules.as_of}"
    return f"{one.rules.name}, {since}, for {where}: {rule.needed}. Source: {rule.source}"
