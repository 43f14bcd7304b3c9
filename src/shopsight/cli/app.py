"""The `shopsight` command: its verbs, exit codes, and how errors are shown.

Exit codes: 0 done, 1 a check failed, 2 the user's mistake, 70 a bug of shopsight, 130 interrupted.
A reader of stdout that leaves early (`| head`) ends the command with 1.
Importing this module must stay cheap: each verb imports what it needs when it runs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from shopsight.cli import (
    audit,
    compare,
    data,
    demo,
    doctor,
    evaluate,
    predict,
    profile,
    recipes,
    recommend,
    signals,
    split,
    streams,
    train,
    wizard,
)
from shopsight.errors import ChangedFilesError, ShopsightError

CHECK_FAILED = 1
MISTAKE = 2
BUG = 70
DEBUG = "--debug"

app = typer.Typer(
    name="shopsight",
    help="Turn a folder of product photos into a classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from shopsight import __version__

        sys.stdout.write(f"shopsight {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the whole traceback of any error.")
    ] = False,
) -> None:
    pass


MAIN_JOB = "From photos to a model"
app.command("audit", rich_help_panel=MAIN_JOB)(audit.audit)
app.command("split", rich_help_panel=MAIN_JOB)(split.split)
app.command("train", rich_help_panel=MAIN_JOB)(train.train)
app.command("evaluate", rich_help_panel=MAIN_JOB)(evaluate.evaluate)
app.command("predict", rich_help_panel=MAIN_JOB)(predict.predict)

app.command("demo", rich_help_panel=MAIN_JOB)(demo.demo)
app.command("wizard", rich_help_panel=MAIN_JOB)(wizard.wizard)

CHOOSING = "Which model"
app.command("compare", rich_help_panel=CHOOSING)(compare.compare)
app.command("recommend", rich_help_panel=CHOOSING)(recommend.recommend)
app.command("profile", rich_help_panel=CHOOSING)(profile.profile)

LOOK_AROUND = "Look around"
app.command("recipes", rich_help_panel=LOOK_AROUND)(recipes.recipes)
app.command("data", rich_help_panel=LOOK_AROUND)(data.data)
app.command("doctor", rich_help_panel=LOOK_AROUND)(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in `SystemExit`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    streams.open_missing()
    streams.use_utf8()
    # Of metadata, and without the file's name. What is wrong with pixels is an error that has it.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with signals.ending_as_interrupted():
            _run(given)
    finally:
        _end_if_full(streams.flush())


def _run(given: Sequence[str]) -> None:
    # Anywhere on the line: whoever gets an error adds the flag at the end.
    debug = DEBUG in given
    try:
        app(args=[word for word in given if word != DEBUG], prog_name="shopsight")
    except ShopsightError as error:
        _show_traceback(debug)
        streams.report(f"error: {error}")
        sys.exit(CHECK_FAILED if isinstance(error, ChangedFilesError) else MISTAKE)
    except Exception as error:
        if isinstance(error, OSError) and streams.is_closed_pipe(error):
            sys.exit(1)
        if isinstance(error, OSError) and streams.is_full_disk(error):
            _end_if_full(streams.flush(probe=True))
        _show_traceback(debug)
        if isinstance(error, OSError) and error.strerror:
            # What the system refuses lies in the machine or in what was handed in.
            place = f"{error.filename}: " if error.filename is not None else ""
            streams.report(f"error: {place}{error.strerror}")
            if not debug:
                streams.report(f"  the same command with {DEBUG} shows where")
            sys.exit(MISTAKE)
        streams.report(f"error: {type(error).__name__}: {error}")
        if not debug:
            streams.report(
                f"  this is a bug of shopsight: the same command with {DEBUG} shows where"
            )
        sys.exit(BUG)


def _end_if_full(full: Sequence[str]) -> None:
    if full:
        streams.report(
            f"error: {' and '.join(full)}: the disk is full\n"
            "  fix: free some space, or print to another disk; files that were written are whole"
        )
        sys.exit(MISTAKE)


def _show_traceback(wanted: bool) -> None:
    if wanted:
        import traceback

        with suppress(OSError):
            traceback.print_exc()


if __name__ == "__main__":
    main()
