"""`shopsight verify`: does a model still answer as it did when it was scored?"""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, takes_data
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress

FAILED = 1


@takes_data
def verify(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Verify this run or bundle.")],
    options: DataOptions,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA]",
            help="Score these labeled images; without it, the test images of the run.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare a model with its golden outputs and its reported score, in every engine there is.

    Exits with 1 if an engine does not give them.
    """
    with shown_progress():
        found = api.verify(model, data, read=options.read)
    if options.json:
        print_json([one.to_json() for one in found])
    else:
        for one in found:
            print_line(f"{'ok    ' if one.ok else 'FAILED'} {one.line}")
    if not all(one.ok for one in found):
        raise typer.Exit(FAILED)
