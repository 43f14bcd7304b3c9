"""`shopsight audit`: what would corrupt a score, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import (
    DataArgument,
    DataOptions,
    DecisionsOption,
    FailOnOption,
    takes_data,
)
from shopsight.cli.output import Column, print_json, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress


@takes_data
def audit(
    data: DataArgument,
    options: DataOptions,
    boxes: Annotated[
        bool,
        typer.Option(
            "--boxes",
            help="Audit the part of each image in its box, as framing.boxes=true trains on it.",
        ),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="KIND",
            help="Do not fail on this kind of finding; it stays listed. Repeat for more.",
        ),
    ] = None,
    fail_on: FailOnOption = None,
    decisions: DecisionsOption = None,
    rules: Annotated[
        str | None,
        typer.Option(
            "--rules",
            metavar="RULES",
            help="Measure the images by the rules of google, amazon, or a TOML file; "
            "+ joins several.",
        ),
    ] = None,
    rules_date: Annotated[
        str | None,
        typer.Option(
            "--rules-date",
            metavar="DATE",
            help="Take the rules of this day, such as 2027-01-31.",
            show_default="when all are in force",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write audit.html and findings.csv there."),
    ] = None,
) -> None:
    """Find broken, duplicate, mislabeled and leaking images, and classes that are lost.

    Exits with 1 if something would corrupt a score, or is of a kind that --fail-on names.
    """
    with shown_progress():
        report = api.audit(
            data,
            read=options.read,
            boxes=boxes,
            out=out,
            accept=accept or (),
            fail_on=fail_on or (),
            decisions=decisions,
            rules=rules,
            rules_date=rules_date,
        )
    if options.json:
        print_json(report.to_json())
        print_note(report.verdict.line())
    else:
        show(report, out)
    if not report.verdict.passed:
        raise typer.Exit(1)


MOST_CLASSES = 12


def show(report: api.AuditReport, out: Path | None) -> None:
    """Print what was read, how much of each kind was found, and where the details are."""
    _summary(report)
    if out is None:
        print_line("--out FOLDER writes each finding, and a page with thumbnails")
    else:
        print_line(f"page:     {out / 'audit.html'}")
        print_line(f"findings: {out / 'findings.csv'}")
        if report.rules is not None:
            print_line(f"rejected: {out / 'rejected.csv'}")
            print_line(f"images:   {out / 'images.csv'}")
    print_line(report.verdict.line())


def _classes(report: api.AuditReport) -> None:
    """Print the images of each class, where files are left out or parts are given."""
    shown = report.shown_classes(most=MOST_CLASSES)
    if shown is None:
        return
    columns = [Column("class"), *(Column(name, right=True) for name in shown.columns[1:])]
    print_table(columns, [[name, *map(api.count_text, counts)] for name, *counts in shown.rows])
    if shown.hidden:
        print_line(f"the worst and the most frequent; {shown.hidden:,} more in audit.json")
        print_line()


def _rules(report: api.AuditReport) -> None:
    """Print how many images and products break each rule about images."""
    if report.rules is None:
        return
    counts = report.rules.counts
    found = counts.filter((counts["images"] > 0) | (counts["unsure"] > 0))
    numbers = ("products", "images", "unsure")
    rows = found.select("rule", "severity", "needed", *numbers).iter_rows()
    print_table(
        [
            *(Column("rule", fold=False), Column("severity", fold=False), Column("needed")),
            *(Column(name, right=True) for name in ("products", "images", "cannot tell")),
        ],
        [[*row[:3], *map(api.count_text, row[3:])] for row in rows],
        title=f"rules of {report.rules.date}",
    )
    kept = len(counts) - len(found)
    if kept:
        print_line(f"every image keeps {'all' if not len(found) else 'the other'} {kept} rules")
        print_line()


def _summary(report: api.AuditReport) -> None:
    synthetic = " (synthetic)" * report.catalog.synthetic
    summary = report.lines()[: -len(report.counts) or None]
    for line in (f"{report.catalog.name}{synthetic}", *summary, *report.headlines()):
        print_line(line)
    _classes(report)
    _rules(report)
    if not report.counts:
        print_line("nothing found")
        return
    columns = [Column("severity", fold=False), Column("kind", fold=False), Column("", right=True)]
    print_table(
        [*columns, Column("meaning")],
        [
            [
                api.FINDING_KINDS[kind].severity,
                kind,
                api.count_text(number),
                f"{api.FINDING_KINDS[kind].title}. {api.FINDING_KINDS[kind].meaning}",
            ]
            for kind, number in report.counts.items()
        ],
    )
