"""The flags that mean the same for every verb: those about DATA, and how results are shown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from shopsight import api
from shopsight.errors import ConfigError

if TYPE_CHECKING:
    from shopsight.api import Catalog

PANEL = "Data"

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder (one sub-folder per class, or train/ val/ test/ above them), a CSV or "
        "Parquet table, or a named data set (see `shopsight data`).",
    ),
]
OptionalDataArgument = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="As for `shopsight audit`.", show_default=False),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
]


def _data_option(flag: str, metavar: str, help: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=help, rich_help_panel=PANEL, show_default=False)


@dataclass(frozen=True)
class DataOptions:
    """How DATA is read. Each field is a flag of every verb that takes DATA."""

    image: Annotated[
        str | None, _data_option("--image", "COLUMN", "Table column with the image file or id.")
    ] = None
    label: Annotated[
        str | None, _data_option("--label", "COLUMN", "Table column with the class.")
    ] = None
    group: Annotated[
        str | None,
        _data_option(
            "--group",
            "COLUMN",
            "Column (product, SKU, contributor) whose values must not straddle a split.",
        ),
    ] = None
    images_root: Annotated[
        str | None,
        _data_option("--images-root", "FOLDER", "Folder that the table's image names start from."),
    ] = None
    label_pattern: Annotated[
        str | None,
        _data_option(
            "--label-pattern",
            "PATTERN",
            "Where the class is in file names: '*_{label}.jpg', or a regular expression with "
            "(?P<label>...).",
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        _data_option(
            "--label-separator",
            "TEXT",
            "Between several labels in a cell; guessed when left out, '' for none.",
        ),
    ] = None
    root: Annotated[
        str | None, _data_option("--root", "FOLDER", "Local copy of a named data set.")
    ] = None
    label_map: Annotated[
        str | None,
        _data_option("--label-map", "CSV", "Columns `label` and `to`: many labels to one."),
    ] = None
    drop: Annotated[
        list[str], _data_option("--drop", "LABEL", "Leave a class out. Repeat for more.")
    ] = field(default_factory=list)
    cache_dir: Annotated[
        str | None,
        _data_option(
            "--cache-dir",
            "FOLDER",
            "Where decoded images and downloads are kept (default: ~/.cache/shopsight).",
        ),
    ] = None
    json: JsonOption = False

    def open(self, data: str) -> Catalog:
        """Read DATA as these flags say."""
        return api.open_catalog(
            data,
            image=self.image,
            label=self.label,
            group=self.group,
            images_root=self.images_root,
            label_pattern=self.label_pattern,
            label_separator=self.label_separator,
            root=self.root,
            label_map=self.label_map,
            drop=self.drop,
        )

    def read(self, data: str) -> str | Catalog:
        """`open` when some flag says how to read DATA; else DATA as it is."""
        return self.open(data) if self.flags() else data

    def flags(self) -> list[str]:
        """The flags given that say how to read DATA."""
        blank = DataOptions(cache_dir=self.cache_dir, json=self.json)
        return [
            f"--{name.replace('_', '-')}"
            for name in (shared.name for shared in fields(self))
            if getattr(self, name) != getattr(blank, name)
        ]

    def need_data(self, why: str) -> None:
        """Refuse flags about DATA where none is read: they would change nothing.

        Raises:
            BadParameter: there are such flags.
        """
        given = self.flags()
        if given:
            raise typer.BadParameter(f"{', '.join(given)}: {why}")


def takes_data(verb: Callable[..., None]) -> Callable[..., None]:
    """`verb` with every field of `DataOptions` as a flag, handed to it as one `options`."""
    hints = get_type_hints(verb, include_extras=True)
    shared_hints = get_type_hints(DataOptions, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name != "options"
    ]
    names = [shared.name for shared in fields(DataOptions)]
    blank = DataOptions()
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(blank, name),
            annotation=shared_hints[name],
        )
        for name in names
    ]

    def command(**given: Any) -> None:
        options = DataOptions(**{name: given.pop(name) for name in names})
        with api.use_cache_dir(options.cache_dir):
            verb(**given, options=options)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own
    ] + shared
    command.__name__ = verb.__name__
    command.__doc__ = verb.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def parsed_seconds(text: str) -> float:
    """`"90"`, `"90s"`, `"10m"`, `"1h30m"` -> seconds.

    Raises:
        ConfigError: it is not such a time, or zero.
    """
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    text = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms]?)", text)
    total = sum(float(number) * units[unit or "s"] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or total <= 0:
        raise ConfigError(f"{text!r} is not a time", where="--time-limit", fix="90s, 10m or 1h30m")
    return total
