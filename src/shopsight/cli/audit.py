"""`shopsight audit`: what would corrupt a score, before anything is trained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from shopsight.cli.options import DataArgument, DataOptions, takes_data
from shopsight.cli.output import Column, count, print_json, print_line, print_table
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
    """Find broken, duplicate, mislabelled and leaking images. Exit 1 if a score would suffer."""
    from shopsight import api

    with shown_progress():
        catalog = options.open(data)
        report = api.audit(catalog, out=out)
    if options.json:
        print_json(report.to_json())
    else:
        kinds = Counter((finding.severity, finding.kind) for finding in report.findings)
        order = {"error": 0, "warning": 1, "note": 2}
        ranked = sorted(kinds.items(), key=lambda item: (order[item[0][0]], -item[1]))
        print_table(
            [Column("severity", fold=False), Column("kind", fold=False), Column("findings", True)],
            [[severity, kind, count(number)] for (severity, kind), number in ranked],
            title=f"{catalog.name}: {count(len(catalog))} rows" + " (drawn)" * catalog.drawn,
        )
        if out is None:
            print_line("--out FOLDER writes them one by one, and a page with thumbnails")
        else:
            print_line(f"page:     {out / 'audit.html'}")
            print_line(f"findings: {out / 'findings.csv'}")
    if report.blocking:
        raise typer.Exit(1)
