"""`shopsight mislabels`: the labels of a run, the most suspicious first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import AcceptChangedOption, DeviceOption, JsonOption
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress


def mislabels(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Rank the labels that this run was made with.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="CSV", help="Write the list there, the most suspicious label first."
        ),
    ],
    accept: AcceptChangedOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Rank the labels that a run was made with, the most suspicious first.

    Each image is judged by what did not learn from its label, and by its nearest images. How many
    of the wrong labels the first images hold is measured on labels that are replaced on purpose.
    """
    with shown_progress():
        done = api.mislabels(run, out=out, accept=accept or (), device=device)
    if json:
        print_json(done.to_json())
        return
    for line in done.lines():
        print_line(line)
    print_line(f"table: {done.out}")
