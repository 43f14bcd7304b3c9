"""`shopsight review`: missing and doubtful categories of a shop's export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, DeviceOption, takes_data
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress
from shopsight.errors import ConfigError

SHOWN = 5


@takes_data
def review(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Judge by this run, trained on the shop's products."),
    ],
    export: Annotated[
        str,
        typer.Argument(
            metavar="EXPORT",
            help="Review the products of this export of a shop system (several files with commas "
            "between them, or their folder), or of a catalog.",
        ),
    ],
    options: DataOptions,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write review.html, review.csv and the import file there.",
        ),
    ],
    photos: Annotated[
        str | None,
        typer.Option(
            "--photos",
            metavar="CATALOG",
            help="Read the products' photos by this catalog, such as fetch writes, and not at the "
            "addresses in the export.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(
            "--precision", metavar="P", help="Fill in categories of which at least P are right."
        ),
    ] = api.DEFAULT_PRECISION,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="CSV|KIND",
            help="Take what this edited review.csv accepts and nothing else; or go on in spite of "
            "changed-file (the export or the run's images changed). Repeat for both.",
            show_default=False,
        ),
    ] = None,
    minimal: Annotated[
        bool,
        typer.Option(
            "--minimal", help="Write only the key, title and category of products that change."
        ),
    ] = False,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write the import file; without it, it is only said."),
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Find missing and doubtful categories of a shop's products, and write them into its export.

    Each product is judged by a model that did not learn from it. Missing categories are filled in
    where they are right as often as --precision promises; doubtful ones are listed in review.csv,
    and changed where its column accept says so.
    """
    tables = [one for one in accept or () if Path(one).suffix.lower() == ".csv"]
    if len(tables) > 1:
        raise ConfigError("one review.csv can be accepted", where="--accept", fix="name one")
    with shown_progress():
        found = api.review(
            run,
            export,
            out=out,
            read=options.read,
            photos=photos,
            precision=precision,
            decisions=tables[0] if tables else None,
            minimal=minimal,
            write=write,
            accept=[one for one in accept or () if one not in tables],
            device=device,
        )
    if options.json:
        print_json(found.to_json())
    else:
        _show(found, by_table=bool(tables))


def _show(found: api.ReviewResult, *, by_table: bool) -> None:
    for line in found.lines():
        print_line(line)
    print_line(f"page:  {found.page}")
    print_line(f"table: {found.table}")
    for product, why in list(found.accepted.kept.items())[:SHOWN]:
        print_line(f"not changed: {product} {why}")
    if len(found.accepted.kept) > SHOWN:
        print_line(f"not changed: {api.count_text(len(found.accepted.kept) - SHOWN)} more")
    products = api.counted(len(found.accepted.products), "product")
    flags = f"--accept {found.table} --write" if by_table else "--write"
    said = "written" if found.written else f"would be written ({flags} writes it)"
    for one in found.imports:
        cells = api.counted(one.num_cells, "cell")
        print_line(f"{said}: {one.path}: {one.export} with {cells} of {products} changed")
    if found.supplement is not None:
        print_line(f"{said}: {found.supplement}: a supplemental feed of what is not written back")
