"""`shopsight explain`: where a model looked in images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, DeviceOption, EngineOption, takes_data
from shopsight.cli.output import print_json, print_line, print_not_read
from shopsight.cli.progress import shown_progress
from shopsight.cli.wildcards import expanded

SHOWN_IMAGES = 10
"""Images whose answer is printed; the page has all."""


@takes_data
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Explain this run or bundle.")],
    options: DataOptions,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Explain these images, folders, tables, named data sets and URLs.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Write the maps, explanations.html and .csv there."
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="NAME",
            help="Show what speaks for this label; without it, for each image's most probable one.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Literal["auto", "cam", "occlusion"],
        typer.Option(
            "--method",
            help="Take the exact map of a network with a pooled linear head (cam), or cover parts "
            "(occlusion); auto: the exact one where there is one.",
        ),
    ] = "auto",
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="RUN|EMBEDDINGS|INDEX",
            help="Look for the nearest photos there; without it, in the run that MODEL lies in.",
            show_default=False,
        ),
    ] = None,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=1, help="Explain the first N images.")
    ] = 100,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
) -> None:
    """Show where a model looked in images, and the training photos that are most like them.

    Exits with 1 if some could not be read.
    """
    with shown_progress():
        done = api.explain(
            model,
            expanded(images),
            out=out,
            label=label,
            method=method,
            train=train,
            most=most,
            read=options.read,
            device=device,
            engine=engine,
        )
    if options.json:
        print_json(done.to_json())
    else:
        _show(done)
    print_not_read([(one.source, one.error or "") for one in done.failed])
    if done.failed:
        raise typer.Exit(1)


def _show(done: api.ExplainResult) -> None:
    explained = [one for one in done.images if one.error is None]
    for one in explained[:SHOWN_IMAGES]:
        unknown = ", unknown" if one.is_unknown else ""
        share = (
            "nothing speaks for it"
            if one.top_share is None
            else f"{api.percent_text(one.top_share, 0)} of it in a fifth of the photo"
        )
        print_line(
            f"{one.source}: {one.label} {api.percent_text(one.probability, 0)}{unknown}, {share}"
        )
    if len(explained) > SHOWN_IMAGES:
        print_line(f"and {api.counted(len(explained) - SHOWN_IMAGES, 'more image')}")
    print_line(f"page: {done.page}")
    print_line(f"table: {done.table}")
