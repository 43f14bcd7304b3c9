"""`shopsight predict`: what a bundle says about images."""

from __future__ import annotations

import json as json_format
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from shopsight.cli.options import JsonOption
from shopsight.cli.output import count, percent, print_line, print_note
from shopsight.cli.progress import shown_progress


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder or a bundle.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Files, folders, URLs.")
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many labels to give.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write .csv, .parquet or .jsonl instead."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option("--sort-into", metavar="FOLDER", help="Copy images into FOLDER/LABEL/."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="At once.")] = 32,
    json: JsonOption = False,
) -> None:
    """Label images with a trained model. Exit 1 if some could not be read."""
    from shopsight import api
    from shopsight.inference.writers import as_row, recorded
    from shopsight.inference.writers import sort_into as copy_into

    predictor = api.load(model, device=device)
    top = min(top, len(predictor.labels))
    done = failed = 0
    with ExitStack() as stack:
        stack.enter_context(shown_progress())
        record = stack.enter_context(recorded(out, top=top)) if out is not None else None
        show = out is None and not json
        first = True
        for prediction in api.predict(model, images, top=top, batch_size=batch_size, device=device):
            done += 1
            if prediction.error is not None:
                failed += 1
                print_note(f"not read: {prediction.error}")
            if record is not None:
                record(prediction)
            if sort_into is not None:
                copy_into(sort_into, prediction)
            if json:
                sys.stdout.write("[\n" if first else ",\n")
                sys.stdout.write(json_format.dumps(as_row(prediction), ensure_ascii=False))
                first = False
            if show and prediction.error is None:
                pairs = zip(prediction.labels, prediction.probabilities, strict=True)
                guesses = ", ".join(f"{label} {percent(share)}" for label, share in pairs)
                print_line(f"{prediction.source}: {guesses}")
    if json:
        sys.stdout.write("[]\n" if first else "\n]\n")
    print_note(f"{count(done - failed)} images labeled, {count(failed)} not readable")
    for place in (out, sort_into):
        if place is not None:
            print_note(f"written: {place}")
    if failed:
        raise typer.Exit(1)
