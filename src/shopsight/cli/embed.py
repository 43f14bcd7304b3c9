"""`shopsight embed`: a unit vector for each image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import (
    BoxesOption,
    DataArgument,
    DataOptions,
    DeviceOption,
    ResizeOption,
    takes_data,
)
from shopsight.cli.output import print_json, print_line, print_not_read
from shopsight.cli.progress import shown_progress
from shopsight.cli.runner_options import RunnerAddressOption, RunnerOption, RunnerWorkersOption


@takes_data
def embed(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Embed by this run, bundle or backbone, such as embedded:tf_efficientnet_lite0.",
        ),
    ],
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Write Parquet shards into this folder, or an .npz."
        ),
    ],
    resize: ResizeOption = None,
    boxes: BoxesOption = False,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Give the network this many images at once."),
    ] = None,
    precision: Annotated[
        Literal["auto", "32", "tf32", "bf16"],
        typer.Option(
            "--precision",
            help="Compute in this precision; auto is the fastest that stays near 32.",
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    runner: RunnerOption = "local",
    runner_address: RunnerAddressOption = None,
    runner_workers: RunnerWorkersOption = None,
) -> None:
    """Embed the images of DATA: unit vectors by id, with the embedding space that they are in.

    Each distinct image is embedded once. The same command goes on where it stopped, and takes up
    again what failed. Exits with 1 if an image could not be read.
    """
    with shown_progress():
        done = api.embed(
            model,
            data,
            out=out,
            read=options.read,
            resize=resize,
            boxes=boxes,
            batch_size=batch_size,
            device=device,
            precision=precision,
            runner=api.Runner(runner, runner_address, runner_workers),
        )
    counts = done.counts
    if options.json:
        print_json(done.to_json())
    else:
        before = f", {api.count_text(counts.kept)} were there" if counts.kept else ""
        print_line(f"{api.counted(counts.embedded, 'image')} embedded{before} ({done.engine})")
        print_line(
            f"{done.out}: vectors of {done.embedding_dim:,} numbers, space {done.space[:12]}"
        )
    print_not_read(counts.failed.items(), then="the same command tries them again")
    if counts.failed:
        raise typer.Exit(1)
