"""`shopsight audit`: what would corrupt a score, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shopsight.cli.options import DataArgument, DataOptions, takes_data
from shopsight.cli.output import Column, count, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress

if TYPE_CHECKING:
    from shopsight.audit.audit import AuditReport


@takes_data
def audit(
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write audit.html and findings.csv there."),
    ] = None,
) -> None:
    """Find broken, duplicate, mislabeled and leaking images. Exit 1 if a score would suffer."""
    from shopsight import api

    with shown_progress():
        catalog = options.open(data)
        report = api.audit(catalog, out=out)
    if options.json:
        print_json(report.to_json())
    else:
        show(report)
        if out is None:
            print_line("--out FOLDER writes each finding, and a page with thumbnails")
        else:
            print_line(f"page:     {out / 'audit.html'}")
            print_line(f"findings: {out / 'findings.csv'}")
    if report.blocking:
        raise typer.Exit(1)


def show(report: AuditReport) -> None:
    """What was looked at, and how much of each kind was found."""
    from shopsight.audit.findings import KINDS

    synthetic = " (synthetic)" * report.catalog.synthetic
    summary = report.lines()[: -len(report.counts) or None]
    for line in (f"{report.catalog.name}{synthetic}", *summary):
        print_line(line)
    for finding in report.findings:
        if finding.kind == "most-missing":
            print_line(finding.detail)
    if not report.counts:
        print_line("nothing found")
        return
    columns = [Column("severity", fold=False), Column("kind", fold=False), Column("", right=True)]
    print_table(
        [*columns, Column("meaning")],
        [
            [
                KINDS[kind].severity,
                kind,
                count(number),
                f"{KINDS[kind].title}. {KINDS[kind].meaning}",
            ]
            for kind, number in report.counts.items()
        ],
    )
