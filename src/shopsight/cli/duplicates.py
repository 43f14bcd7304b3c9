"""`shopsight duplicates`: products that are listed twice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataArgument, DataOptions, DeviceOption, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_not_read, print_table
from shopsight.cli.progress import shown_progress


@takes_data
def duplicates(
    data: DataArgument,
    options: DataOptions,
    other: Annotated[
        str | None,
        typer.Option(
            "--other", metavar="DATA2", help="Find what is in both; what is in DATA is kept."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Compare by this run, bundle or backbone; without it, by the embedded Lite0.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="S",
            min=-1,
            max=1,
            help="Take images with this score for one product; without it, as known pairs say.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write duplicates.csv and duplicates.html there."
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Find products that are listed twice: equal files, equal images, other photos of them.

    Of each cluster the largest image is kept, and its copies are marked drop; other photos only
    with --threshold. Color variants and images that many products share are apart, and stay.
    train --decisions FOLDER/duplicates.csv leaves out what is marked drop.
    """
    with shown_progress():
        done = api.duplicates(
            data,
            other=other,
            model=model,
            out=out,
            threshold=threshold,
            read=options.read,
            device=device,
        )
    if options.json:
        print_json(done.to_json())
    else:
        _show(done)
    print_not_read([(item, why) for (_, item), why in done.found.failed.items()])


def _show(done: api.DuplicatesResult) -> None:
    found = done.found
    print_line(found.threshold.line())
    columns = [Column("kind", fold=False), Column("clusters", right=True)]
    cells = [[kind, api.count_text(number)] for kind, number in found.counts().items()]
    print_table(columns, cells)
    print_line(f"{api.counted(found.dropped, 'image')} to drop")
    if done.page is None:
        print_line("--out FOLDER writes each cluster, and a page with both sides")
        return
    print_line(f"page:  {done.page}")
    for table in done.tables:
        print_line(f"table: {table}")
