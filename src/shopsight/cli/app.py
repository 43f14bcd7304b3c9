"""The `shopsight` command: its verbs, exit codes, and how errors are shown.

Exit codes: 0 done, 1 a check failed, 2 the user's mistake, 70 a bug of shopsight, 130 interrupted.
A reader of stdout that leaves early (`| head`) ends the command with 1.
Importing this module must stay cheap: each verb imports what it needs when it runs.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shopsight.cli import (
    adapt,
    audit,
    backbones,
    calibrate,
    compare,
    data,
    demo,
    doctor,
    duplicates,
    embed,
    evaluate,
    explain,
    export,
    fetch,
    import_export,
    index,
    merge,
    mislabels,
    predict,
    profile,
    push,
    recipes,
    recommend,
    review,
    search,
    serve,
    signals,
    soup,
    split,
    streams,
    taxonomy,
    train,
    verify,
    wizard,
    zero_shot,
)
from shopsight.control_characters import printable
from shopsight.errors import ChangedFilesError, ShopsightError

CHECK_FAILED = 1
MISTAKE = 2
BUG = 70
DEBUG = "--debug"


class _Verbs(TyperGroup):
    """The verbs; what the library says about a command line quotes words that may be file names."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors_shown():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors_shown():
            return super().invoke(*args, **kwargs)


@contextmanager
def _usage_errors_shown() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Older and newer releases of the library have classes of their own for these errors.
        message = getattr(error, "message", None)
        if isinstance(message, str):
            error.message = printable(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="shopsight",
    cls=_Verbs,
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


def _shown(verb: Callable[..., None]) -> Callable[..., None]:
    @wraps(verb)
    def command(*args: Any, **kwargs: Any) -> None:
        with streams.shown():
            verb(*args, **kwargs)

    return command


def _add(name: str, verb: Callable[..., None], panel: str) -> None:
    app.command(name, rich_help_panel=panel)(_shown(verb))


def _add_group(name: str, verbs: Mapping[str, Callable[..., None]], panel: str, help: str) -> None:
    group = typer.Typer(name=name, cls=_Verbs, help=help, no_args_is_help=True)
    for verb_name, verb in verbs.items():
        group.command(verb_name)(_shown(verb))
    app.add_typer(group, rich_help_panel=panel)


MAIN_JOB = "From photos to a model"
_add("import", import_export.import_export, MAIN_JOB)
_add("fetch", fetch.fetch, MAIN_JOB)
_add("audit", audit.audit, MAIN_JOB)
_add("split", split.split, MAIN_JOB)
_add("merge", merge.merge, MAIN_JOB)
_add_group(
    "taxonomy", taxonomy.COMMANDS, MAIN_JOB, "Look up categories in the taxonomy of a platform."
)
_add("train", train.train, MAIN_JOB)
_add("soup", soup.soup, MAIN_JOB)
_add("evaluate", evaluate.evaluate, MAIN_JOB)
_add("calibrate", calibrate.calibrate, MAIN_JOB)
_add("predict", predict.predict, MAIN_JOB)
_add("explain", explain.explain, MAIN_JOB)
_add("export", export.export, MAIN_JOB)
_add("verify", verify.verify, MAIN_JOB)
_add("review", review.review, MAIN_JOB)
_add("mislabels", mislabels.mislabels, MAIN_JOB)

_add("demo", demo.demo, MAIN_JOB)
_add("wizard", wizard.wizard, MAIN_JOB)

FINDING = "Find products"
_add("embed", embed.embed, FINDING)
_add_group(
    "index", index.COMMANDS, FINDING, "Build an index to search, keep it up to date, check it."
)
_add("search", search.search, FINDING)
_add("zero-shot", zero_shot.zero_shot, FINDING)
_add("duplicates", duplicates.duplicates, FINDING)
_add("adapt", adapt.adapt, FINDING)

SERVING = "Put it to work"
_add("serve", serve.serve, SERVING)
_add("push", push.push, SERVING)

CHOOSING = "Which model"
_add("backbones", backbones.backbones, CHOOSING)
_add("compare", compare.compare, CHOOSING)
_add("recommend", recommend.recommend, CHOOSING)
_add("profile", profile.profile, CHOOSING)

LOOK_AROUND = "Look around"
_add("recipes", recipes.recipes, LOOK_AROUND)
_add("data", data.data, LOOK_AROUND)
_add("doctor", doctor.doctor, LOOK_AROUND)


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
        missing = _missing_extra(error)
        if missing is not None:
            _show_traceback(debug)
            streams.report(f"error: {missing}")
            sys.exit(MISTAKE)
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


def _missing_extra(error: Exception) -> ShopsightError | None:
    from shopsight import api

    return api.missing_extra(error) if isinstance(error, ModuleNotFoundError) else None


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

        streams.report(traceback.format_exc().rstrip())


if __name__ == "__main__":
    main()
