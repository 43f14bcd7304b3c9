"""`shopsight audit`: what would corrupt a score, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataArgument, DataOptions, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress


@takes_data
def audit(
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write audit.html and findings.csv there."),
    ] = None,
) -> None:
    """Find broken, duplicate, mislabeled and leaking images.

    Exits with 1 if something would corrupt a score.
    """
    with shown_progress():
        report = api.audit(data, read=options.read, out=out)
    if options.json:
        print_json(report.to_json())
    else:
        show(report, out)
    if report.blocking:
        raise typer.Exit(1)


def show(report: api.AuditReport, out: Path | None) -> None:
    """Print what was read, how much of each kind was found, and where the details are."""
    _summary(report)
    if out is None:
        print_line("--out FOLDER writes each finding, and a page with thumbnails")
    else:
        print_line(f"page:     {out / 'audit.html'}")
        print_line(f"findings: {out / 'findings.csv'}")


def _summary(report: api.AuditReport) -> None:
    synthetic = " (synthetic)" * report.catalog.synthetic
    summary = report.lines()[: -len(report.counts) or None]
    for line in (f"{report.catalog.name}{synthetic}", *summary):
        print_line(line)
    for finding in report.findings:
        if finding.kind in {"most-missing", "unreachable", "host-failures"}:
            print_line(finding.detail)
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
