"""`shopsight calibrate`: when a model answers "unknown", and what that promises."""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import AcceptChangedOption, DataOptions, DeviceOption, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress


@takes_data
def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Write it into this run or bundle.")
    ],
    options: DataOptions,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATA|RUN]",
            help="Choose on these labeled images, which the model did not learn from; without it, "
            "on the validation and test part of the model's own run.",
            show_default=False,
        ),
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(
            "--negatives",
            metavar="FOLDER",
            help="Judge by these images of no class of the model; without it, by classes that are "
            "taken away in turn.",
            show_default=False,
        ),
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(
            "--accuracy",
            metavar="P",
            help="Answer as many images as possible so that P of the answers are right.",
            show_default=False,
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage",
            metavar="P",
            help="Answer P of the known images; 0.95 where neither is given.",
            show_default=False,
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(
            "--sets",
            metavar="P",
            help="Give sets of labels too, of which P hold the right one.",
            show_default=False,
        ),
    ] = None,
    accept: AcceptChangedOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Choose when a model answers "unknown", and say what that promises.

    Several scores are compared; the best one's threshold is chosen on validation images, and what
    it promises is measured on test images.
    """
    with shown_progress():
        done = api.calibrate(
            model,
            data,
            read=options.read,
            negatives=negatives,
            accuracy=accuracy,
            coverage=coverage,
            sets=sets,
            accept=accept or (),
            device=device,
        )
    if options.json:
        print_json(done.to_json())
        return
    if done.report.judged:
        columns = [Column("score"), *(Column(name, right=True) for name in _JUDGED.values())]
        rows = [
            [one.score, *(f"{getattr(one, name):.3f}" for name in _JUDGED)]
            for one in done.report.judged
        ]
        print_table(columns, rows)
    for line in done.lines():
        print_line(line)
    print_line(f"model: {done.model}")


_JUDGED = {
    "strangers": "known / strangers",
    "wrong": "right / wrong",
    "rejects": "right / both",
    "accepted": "strangers accepted",
}
