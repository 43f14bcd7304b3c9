"""`shopsight train`: from DATA and a recipe to a run folder with a model and a report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.evaluate import headline_table
from shopsight.cli.options import (
    RUN_FLAGS,
    AcceptOption,
    DataOptions,
    DecisionsOption,
    ExcludeOption,
    FailOnOption,
    OptionalDataArgument,
    RecipeOption,
    SetOption,
    TrustRecipeOption,
    asked_about_recipe,
    parsed_seconds,
    takes_data,
)
from shopsight.cli.output import INTERRUPTED, print_json, print_line, print_note
from shopsight.cli.progress import shown_progress
from shopsight.errors import LockedError, WriteError

RECIPE = "Recipe"
# What may be given anew with a run that is resumed.
USED_BY_RESUME = (
    "--resume",
    "--json",
    "--cache-dir",
    "--memory-gb",
    "--accept",
    "--trust-recipe",
    *RUN_FLAGS,
)


OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="RUN", help="Make this run folder.")
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Continue this run, which was interrupted."),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="LIBRARY:NAME",
        help="Train this network, such as timm:resnet18.",
        rich_help_panel=RECIPE,
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs", min=1, help="Pass over the images this often.", rich_help_panel=RECIPE
    ),
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        help="Plan as many epochs as fit: 90s, 10m, 1h30m.",
        rich_help_panel=RECIPE,
    ),
]
TuneOption = Annotated[
    str | None,
    typer.Option(
        "--tune",
        metavar="TIME",
        help="Find learning rate, crops and frozen stages on the data first, within this time.",
        rich_help_panel=RECIPE,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Split and train by this seed.", rich_help_panel=RECIPE),
]
FoldsOption = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="K",
        help="Train K networks, each tested on the fold that it never saw.",
        rich_help_panel=RECIPE,
    ),
]
FoldOption = Annotated[
    int | None,
    typer.Option(
        "--fold",
        metavar="k",
        min=0,
        help="Train only the network tested on this one of the K folds, counted from 0.",
        rich_help_panel=RECIPE,
    ),
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="COLUMN",
        help="Predict this column too, beside the label. Repeat for more.",
    ),
]
AttributesOption = Annotated[
    Literal["auto"] | None,
    typer.Option(
        "--attributes", help="Predict every column of a few words that is filled in often enough."
    ),
]
NoCacheOption = Annotated[
    bool,
    typer.Option("--no-cache", help="Decode the images at every pass.", rich_help_panel=RECIPE),
]


@takes_data
def train(
    options: DataOptions,
    data: OptionalDataArgument = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    recipe: RecipeOption = api.DEFAULT_RECIPE,
    backbone: BackboneOption = None,
    epochs: EpochsOption = None,
    time_limit: TimeLimitOption = None,
    tune: TuneOption = None,
    seed: SeedOption = None,
    folds: FoldsOption = None,
    fold: FoldOption = None,
    attribute: AttributeOption = None,
    attributes: AttributesOption = None,
    settings: SetOption = None,
    trust_recipe: TrustRecipeOption = False,
    no_cache: NoCacheOption = False,
    accept: AcceptOption = None,
    exclude: ExcludeOption = None,
    fail_on: FailOnOption = None,
    decisions: DecisionsOption = None,
) -> None:
    """Audit, split, train, evaluate, and write a bundle and a report.

    Without DATA, the data set that the recipe names is read.
    A run that was interrupted continues with --resume, to the same result.
    """
    if resume is not None:
        _show(_resumed(resume, options, accept or (), trust_recipe=trust_recipe), options)
        return
    # Before torch is imported, which takes seconds.
    api.GateRules(
        accept=accept or (), exclude=exclude or (), fail_on=fail_on or (), decisions=decisions
    )
    if out is None:
        raise typer.BadParameter("give either --out RUN or --resume RUN")
    if attribute and attributes:
        raise typer.BadParameter("give either --attribute COLUMN or --attributes auto")
    limit_s = None if time_limit is None else parsed_seconds(time_limit)
    tune_s = None if tune is None else parsed_seconds(tune, flag="--tune")
    run = out
    leaves = [*(settings or ()), *["cache.mode=off"] * no_cache]
    api.recipe_with(recipe, leaves)
    api.check_there(data)

    def trained(trusted: bool) -> api.TrainResult:
        with shown_progress():
            return api.train(
                data,
                out=run,
                read=options.read,
                recipe=recipe,
                backbone=backbone,
                epochs=epochs,
                time_limit_s=limit_s,
                tune_s=tune_s,
                seed=seed,
                folds=folds,
                fold=fold,
                attributes=attributes or attribute or (),
                settings=leaves,
                trust_recipe=trusted,
                accept=accept or (),
                exclude=exclude or (),
                fail_on=fail_on or (),
                decisions=decisions,
            )

    with resumable(out):
        result = asked_about_recipe(trained, trusted=trust_recipe)
    _show(result, options)


def _resumed(
    run: Path, options: DataOptions, accept: Sequence[str], *, trust_recipe: bool
) -> api.TrainResult:
    ignored = [given for given in options.given if given not in USED_BY_RESUME]
    options.refuse(
        ignored,
        why="a run keeps the images and settings that it began with",
        fix=f"{_resume_command(run)}   (continues it)\n"
        f"{_resume_command(run)} --images-root FOLDER   (continues it; its images moved there)\n"
        "shopsight train DATA --out ANOTHER_RUN ...   (starts a new one)",
    )

    def resumed(trusted: bool) -> api.TrainResult:
        with shown_progress():
            return api.resume(run, read=options.read, trust_recipe=trusted, accept=accept)

    with resumable(run):
        return asked_about_recipe(resumed, trusted=trust_recipe)


def _show(result: api.TrainResult, options: DataOptions) -> None:
    if result.rank > 0:
        # One of several training processes: the first prints for all.
        return
    if options.json:
        print_json(result.to_json())
    else:
        show(result)


def _resume_command(run: Path) -> str:
    return api.command_line(["shopsight", "train", "--resume", run])


def _interrupted(run: Path) -> str:
    if api.RunFolder(run).exists():
        return f"interrupted; resume with: {_resume_command(run)}"
    return "interrupted before there was anything to resume; the same command starts again"


@contextmanager
def resumable(run: Path) -> Iterator[None]:
    """Where Ctrl-C or a full disk ends the block, print how to resume the run."""
    try:
        yield
    except WriteError as error:
        # A run that another process trains is not to be resumed.
        if not isinstance(error, LockedError) and api.RunFolder(run).exists():
            print_note(f"what was done is kept; resume with: {_resume_command(run)}")
        raise
    except KeyboardInterrupt as interrupt:
        # Of several processes, the first one says it.
        if type(interrupt) is KeyboardInterrupt:
            print_note(_interrupted(run))
        raise typer.Exit(INTERRUPTED) from None


def show(result: api.TrainResult) -> None:
    """Print the scores, where everything lies, and what to do next."""
    if result.report is not None:
        headline_table(result.evaluations)
        print_line(f"report: {result.report}")
    print_line(f"model:  {result.model}")
    command = api.command_line(["shopsight", "predict", result.run, "IMAGE_OR_FOLDER"])
    print_line(f"next:   {command}")
