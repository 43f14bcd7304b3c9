"""`shopsight push`: hand a model on."""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress


def push(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Push this run or bundle.")],
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO",
            help="Push it to hf:OWNER/NAME (the Hugging Face Hub) or mlflow:FOLDER.",
        ),
    ],
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            metavar="BRANCH",
            help="Commit to this branch; without it, to the main one.",
            show_default=False,
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public/--private", help="Let everybody read a repository that is made."),
    ] = False,
    message: Annotated[
        str | None,
        typer.Option(
            "--message", metavar="TEXT", help="Describe the commit by it.", show_default=False
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="ID",
            help="Give the model away under it, in the Hub's words: apache-2.0, cc-by-4.0, other.",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Verify a model and hand a copy on: to the Hugging Face Hub, or as a folder for MLflow.

    The copy holds weights and exports, labels and figures, but no photos, predictions or paths.
    """
    with shown_progress():
        done = api.push(
            model,
            to,
            revision=revision,
            public=public,
            message=message,
            license=license,
        )
    if json:
        print_json(done.to_json())
        return
    print_line(f"pushed: {done.to} ({len(done.files)} files)")
    if done.url is not None:
        print_line(f"commit: {done.url}")
    print_line(f"load:   {done.load}")
