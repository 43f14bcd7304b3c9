"""`shopsight train`: from DATA and a recipe to a run folder with a model and a report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.evaluate import headline_table
from shopsight.cli.options import DataOptions, OptionalDataArgument, parsed_seconds, takes_data
from shopsight.cli.output import INTERRUPTED, print_json, print_line, print_note
from shopsight.cli.progress import shown_progress

RECIPE = "Recipe"
# What can be said anew of a run that is resumed.
USED_BY_RESUME = ("--resume", "--json", "--cache-dir")


@takes_data
def train(
    options: DataOptions,
    data: OptionalDataArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run folder to make.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was interrupted."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option("--recipe", metavar="NAME|FILE", help="See `shopsight recipes`."),
    ] = api.DEFAULT_RECIPE,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            metavar="LIBRARY:NAME",
            help="E.g. embedded:tf_efficientnet_lite0, timm:resnet18.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the images.", rich_help_panel=RECIPE),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            metavar="TIME",
            help="Plan as many epochs as fit: 90s, 10m, 1h30m.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Of split and training.", rich_help_panel=RECIPE),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="K",
            help="Train K networks, each tested on the fold that it never saw.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            "--fold",
            metavar="k",
            min=0,
            help="Of the K folds, only this one, counted from 0.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting of the recipe, e.g. optimizer.lr=3e-4. Repeat for more.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Decode at every pass.", rich_help_panel=RECIPE),
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="KIND", help="Train in spite of this audit finding."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="KIND", help="Mend this finding by leaving files out."),
    ] = None,
) -> None:
    """Audit, split, train, evaluate, and write a bundle and a report.

    Without DATA, the data set that the recipe names, read as the flags say. Interrupted at any
    moment, --resume goes on to the same result.
    """
    if resume is not None:
        ignored = [given for given in options.given if given not in USED_BY_RESUME]
        options.refuse(
            ignored,
            why="a run keeps the images and settings that it began with",
            fix=f"shopsight train --resume {shlex.quote(str(resume))}   (continues it)\n"
            "shopsight train DATA --out ANOTHER_RUN ...   (starts a new one)",
        )
    run = resume if resume is not None else out
    if run is None:
        raise typer.BadParameter("give either --out RUN or --resume RUN")
    limit_s = None if time_limit is None else parsed_seconds(time_limit)
    with resumable(run), shown_progress():
        if resume is not None:
            result = api.resume(resume)
        else:
            result = api.train(
                data,
                out=run,
                read=options.read,
                recipe=recipe,
                backbone=backbone,
                epochs=epochs,
                time_limit_s=limit_s,
                seed=seed,
                folds=folds,
                fold=fold,
                settings=[*(settings or ()), *["cache.mode=off"] * no_cache],
                accept=accept or (),
                exclude=exclude or (),
            )
    if result.rank > 0:
        # One of several training processes: the first speaks for all.
        return
    if options.json:
        print_json(result.to_json())
    else:
        show(result)


@contextmanager
def resumable(run: Path) -> Iterator[None]:
    """Where Ctrl-C ends the block, print how to resume the run."""
    try:
        yield
    except KeyboardInterrupt:
        print_note(f"interrupted; resume with: shopsight train --resume {shlex.quote(str(run))}")
        raise typer.Exit(INTERRUPTED) from None


def show(result: api.TrainResult) -> None:
    """The scores, where everything lies, and what to do next."""
    headline_table(result.evaluations)
    run = shlex.quote(str(result.run))
    print_line(f"report: {result.report}")
    print_line(f"model:  {result.model}")
    print_line(f"next:   shopsight predict {run} IMAGE_OR_FOLDER")
