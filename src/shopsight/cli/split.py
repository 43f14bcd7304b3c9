"""`shopsight split`: train, val and test parts that share nothing, and the counts that show it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DataArgument, DataOptions, takes_data
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress


@takes_data
def split(
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Write this .csv or .parquet table.")
    ],
    val: Annotated[
        float, typer.Option("--val", help="Give the validation part this fraction.")
    ] = 0.1,
    test: Annotated[float, typer.Option("--test", help="Give the test part this fraction.")] = 0.1,
    folds: Annotated[
        int, typer.Option("--folds", metavar="K", help="Make K folds instead of val and test.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Assign images by this seed.")] = 0,
    by: Annotated[
        Literal["image", "label"],
        typer.Option(
            "--by",
            help="Divide the images of each class, or hold whole classes out for test: a search "
            "meets classes that no training saw.",
        ),
    ] = "image",
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="KIND",
            help="Split although the audit found this: lost-class.",
        ),
    ] = None,
) -> None:
    """Split by class, keeping groups and duplicates in one part.

    Exits with 1 if the parts share any.
    """
    with shown_progress():
        result = api.split(
            data,
            read=options.read,
            out=out,
            val=val,
            test=test,
            folds=folds,
            seed=seed,
            by=by,
            accept=accept or (),
        )
    if options.json:
        print_json(result.report.to_json())
    else:
        for line in result.report.lines():
            print_line(line)
        print_line(f"table: {out}")
    if not result.report.ok:
        raise typer.Exit(1)
