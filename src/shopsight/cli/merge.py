"""`shopsight merge`: several DATA as one catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress


@takes_data
def merge(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Join these, each read as `shopsight audit` reads DATA; NAME=DATA names one.",
        ),
    ],
    options: DataOptions,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Write this .parquet or .csv, a new file."),
    ],
    max_per_class: Annotated[
        int,
        typer.Option(
            "--max-per-class",
            metavar="N",
            min=1,
            help="Of the training images of a class take so many, by the seed.",
        ),
    ] = 100,
    min_per_class: Annotated[
        int,
        typer.Option(
            "--min-per-class", metavar="N", min=1, help="Leave out classes of fewer images."
        ),
    ] = 2,
    resample: Annotated[
        int,
        typer.Option(
            "--resample",
            metavar="N",
            min=0,
            help="Repeat training images of smaller classes up to so many, marked as repeats.",
        ),
    ] = 0,
    on_duplicate: Annotated[
        Literal["error", "drop", "keep"],
        typer.Option(
            "--on-duplicate",
            help="Where DATA share images across splits or labels: write nothing; keep each image "
            "that they share in one of them; or keep all.",
        ),
    ] = "error",
    same_labels: Annotated[
        bool,
        typer.Option("--same-labels", help="Labels of one name are one class, whosever they are."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FOLDER",
            help="Write shared_images.csv and same_classes.csv there, the latter a --label-map.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Take samples by this seed.")] = 0,
) -> None:
    """Join several DATA in one catalog, their classes and products kept apart by name.

    Images and classes that they share are found and said before anything is written. --drop and
    --label-map are about labels of the merged catalog; --root may hold a folder for each named data
    set. What --max-per-class and --resample do to training images, they do not to val and test.
    """
    with shown_progress():
        done = api.merge(
            data,
            out=out,
            rules=api.MergeRules(
                max_per_class=max_per_class,
                min_per_class=min_per_class,
                resample=resample,
                on_duplicate=on_duplicate,
                same_labels=same_labels,
                seed=seed,
            ),
            read=options.read,
            report=report,
        )
    if options.json:
        print_json(done.to_json())
    else:
        _print(done, out)


def _print(done: api.MergeResult, out: Path) -> None:
    names = ("rows", "left out", "written", "repeats", "classes")
    cells = [
        [
            part.name,
            *map(
                api.count_text,
                (part.read, part.read - part.written, part.written, part.repeats, part.classes),
            ),
        ]
        for part in done.counts.parts
    ]
    print_table([Column("part"), *(Column(name, right=True) for name in names)], cells)
    for line in done.counts.lines():
        print_line(line)
    print_line(f"table: {out}")
