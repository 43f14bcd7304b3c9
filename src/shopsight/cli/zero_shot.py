"""`shopsight zero-shot`: classify by the names of classes, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli import evaluate, predict
from shopsight.cli.options import DataArgument, DataOptions, DeviceOption, ResizeOption, takes_data
from shopsight.cli.output import print_json, print_line, print_note
from shopsight.cli.progress import shown_progress


@takes_data
def zero_shot(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Classify by this backbone, run or bundle, such as "
            "embedded:tf_efficientnet_lite0.",
        ),
    ],
    data: DataArgument,
    options: DataOptions,
    classes: Annotated[
        Path | None,
        typer.Option(
            "--classes",
            metavar="FILE",
            help="Read the classes from this file, one a line: `T-Shirt: tee, jersey`. Without it, "
            "the labels of DATA.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Give a text encoder these sentences, one a line, with {} for the class.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="BUNDLE", help="Keep the classifier in this folder, for predict."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Write the labels of all images to this .csv, .parquet or .jsonl.",
        ),
    ] = None,
    resize: ResizeOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Label images by the names of classes, without training; where DATA has labels, score them.

    By the model's text encoder, or without one by the extra `words`.
    """
    with shown_progress():
        done = api.zero_shot(
            model,
            data,
            classes=classes,
            prompts=prompts,
            read=options.read,
            resize=resize,
            out=out,
            predictions=predictions,
            device=device,
        )
    if options.json:
        scores = None if done.evaluation is None else done.evaluation.to_json()
        rows = [api.as_row(one) for one in done.predictions]
        print_json({"by": done.by, "evaluation": scores, "predictions": rows})
    elif done.evaluation is not None:
        evaluate.headline_table({done.evaluation.split: done.evaluation})
    print_note(f"{len(done.classes):,} classes, {done.by}")
    if done.predictions and not options.json:
        predict.show(iter(done.predictions), lines=predictions is None)
    for written in (predictions, done.model):
        if written is not None:
            print_note(f"written: {written}")
    if done.model is not None:
        again = api.command_line(["shopsight", "predict", done.model, "IMAGE_OR_FOLDER"])
        print_line(f"next:   {again}")
