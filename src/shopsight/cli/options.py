"""The flags that mean the same for every verb: those about DATA, and how results are shown."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from shopsight import api
from shopsight.cli.output import INTERRUPTED, print_note
from shopsight.control_characters import one_line
from shopsight.errors import ConfigError, UntrustedRecipeError

PANEL = "Data"

Result = TypeVar("Result")

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Read this folder (one sub-folder per class, or train/ val/ test/ above them), CSV or "
        "Parquet table, or named data set (`shopsight data` lists them).",
    ),
]
OptionalDataArgument = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="Read DATA as `shopsight audit` does.", show_default=False),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print only the result, as JSON, on stdout.")
]
AcceptChangedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="KIND",
        help="Go on in spite of changed-file (the run's images changed).",
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Compute on auto (CUDA if there, else the CPU), cpu, cuda, cuda:1, mps.",
    ),
]
EngineOption = Annotated[
    Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"],
    typer.Option(
        "--engine",
        help="Run it with torch or, exported, with another; auto: the fastest that is there.",
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "32", "tf32", "bf16", "16", "int8"],
    typer.Option(
        "--precision",
        help="Compute in this number format; auto: the fastest that answers alike, never 16 (fp16) "
        "or int8.",
    ),
]
ResizeOption = Annotated[
    Literal["pad", "crop", "squash"] | None,
    typer.Option(
        "--resize",
        help="Make images square in this way; without it, as the backbone's library does.",
        show_default=False,
    ),
]
BoxesOption = Annotated[
    bool,
    typer.Option(
        "--boxes", help="Have a backbone by name look at the part of each image in its box."
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="Train by this recipe (`shopsight recipes` lists them).",
        rich_help_panel="Recipe",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change any setting of the recipe, such as optimizer.lr=3e-4. Repeat for more.",
        rich_help_panel="Recipe",
    ),
]
TrustRecipeOption = Annotated[
    bool,
    typer.Option(
        "--trust-recipe",
        help="Use a recipe file without asking about the files, addresses and trackers that it "
        "names.",
        rich_help_panel="Recipe",
    ),
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="KIND",
        help="Train although the audit found this kind of fault. Repeat for more.",
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="KIND",
        help="Fix this kind of fault by leaving images out. Repeat for more.",
    ),
]
DecisionsOption = Annotated[
    Path | None,
    typer.Option(
        "--decisions",
        metavar="CSV",
        help="Leave out the rows that this list marks drop, such as duplicates.csv.",
        show_default=False,
    ),
]
FailOnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        metavar="error|warning|KIND",
        help="Fail also on warnings, or on this kind of finding; errors always fail. Repeat for "
        "more.",
    ),
]
CacheDirOption = Annotated[
    str | None,
    typer.Option(
        "--cache-dir",
        metavar="FOLDER",
        help="Keep decoded images and downloads here, not in ~/.cache/shopsight.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory-gb",
        metavar="GB",
        min=0.1,
        help="Take at most so much memory, not three quarters of what there is.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """The flags of every verb that takes DATA.

    Attributes:
        read: how DATA is read.
        json: print the result as JSON.
        given: all flags and arguments on this command line, as the user writes them.
    """

    read: api.ReadOptions
    json: bool
    given: tuple[str, ...]

    def refuse(self, ignored: Collection[str], *, why: str, fix: str) -> None:
        """Refuse what was given and would change nothing.

        Raises:
            ConfigError: one of `ignored` is on the command line.
        """
        found = [flag for flag in self.given if flag in ignored]
        if found:
            raise ConfigError(f"{', '.join(found)} would change nothing: {why}", fix=fix)


def _read_flag(option: Field[Any]) -> inspect.Parameter:
    """The flag of a field of `ReadOptions`."""
    typed: Any = str | None
    if option.name in REPEATABLE:
        typed = list[str] | None
    elif option.name == "rare_below":
        typed = int | None
    elif isinstance(option.default, bool):
        typed = bool
    setting = typer.Option(
        api.flag_of(option.name),
        metavar=option.metadata["metavar"] or None,
        help=option.metadata["help"],
        rich_help_panel=PANEL,
        show_default=False,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if typed is bool else None,
        annotation=Annotated[typed, setting],
    )


REPEATABLE = frozenset({"image", "label", "drop", "skip_folder"})
READ_PARAMETERS = [_read_flag(option) for option in fields(api.ReadOptions)]
READ_FLAGS = [api.flag_of(option.name) for option in fields(api.ReadOptions)]
RUN_FLAGS = tuple(api.flag_of(name) for name in api.RUN_OPTIONS)
"""What may be said of the images of a run, which are read as the run says."""
SHARED_PARAMETERS = [
    inspect.Parameter(
        "cache_dir", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=CacheDirOption
    ),
    inspect.Parameter(
        "memory_gb", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=MemoryOption
    ),
    inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
    inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
]


def takes_data(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` with a flag for every field of `ReadOptions`, handed to it as one `options`.

    A flag of the verb's own takes the place of one of the same name: `explain --label NAME`, where
    no label of DATA is read.
    """
    hints = get_type_hints(verb, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name != "options"
    ]
    taken = {parameter.name for parameter in own}
    reading = [option for option in READ_PARAMETERS if option.name not in taken]

    def command(
        *,
        context: typer.Context,
        cache_dir: str | None,
        memory_gb: float | None,
        json: bool,
        **given: Any,
    ) -> None:
        values = {option.name: given.pop(option.name) for option in reading}
        values |= {name: tuple(values[name] or ()) for name in ("drop", "skip_folder")}
        values |= {name: _one_or_several(values.get(name)) for name in ("image", "label")}
        options = DataOptions(api.ReadOptions(**values), json, _on_the_line(context))
        try:
            with api.use_cache_dir(cache_dir), api.use_memory_budget(memory_gb):
                verb(**given, options=options)
        except KeyboardInterrupt:
            print_note("interrupted; the same command goes on from what was kept")
            raise typer.Exit(INTERRUPTED) from None

    parameters = [*own, *reading, *SHARED_PARAMETERS]
    command.__name__ = verb.__name__
    command.__doc__ = verb.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _on_the_line(context: typer.Context) -> tuple[str, ...]:
    """The flags and arguments that the user gave, as they are written: `--drop`, `DATA`."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            is_flag = parameter.param_type_name == "option"
            given.append(parameter.opts[0] if is_flag else str(parameter.metavar))
    return tuple(given)


def _one_or_several(words: list[str] | None) -> str | tuple[str, ...] | None:
    return words[0] if words and len(words) == 1 else tuple(words or ()) or None


def asked_about_recipe(work: Callable[[bool], Result], *, trusted: bool) -> Result:
    """Do the work; where it stops at a recipe of somebody else, ask on a terminal whether to go on.

    Args:
        work: takes whether the recipe is trusted.
        trusted: it is, by the command line.

    Raises:
        UntrustedRecipeError: it is not, and nobody can be asked, or the answer is no.
    """
    try:
        return work(trusted)
    except UntrustedRecipeError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        print_note(f"{error.where}: {error.what}")
        for setting in error.details:
            print_note(f"  {one_line(setting)}")
        if not typer.confirm("Use it all the same?", default=False, err=True):
            raise
    return work(True)


def names_in(text: str) -> list[str]:
    """`"a, b"` -> `["a", "b"]`."""
    return [word.strip() for word in text.split(",") if word.strip()]


def parsed_seconds(text: str, *, flag: str = "--time-limit") -> float:
    """`"90"`, `"90s"`, `"10m"`, `"1h30m"` -> seconds.

    Args:
        text: of the flag.
        flag: what an error names.

    Raises:
        ConfigError: it is not such a time, or zero.
    """
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    text = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms]?)", text)
    total = sum(float(number) * units[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or total <= 0:
        raise ConfigError(f"{text!r} is not a time", where=flag, fix="90s, 10m or 1h30m")
    return total
