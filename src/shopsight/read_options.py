"""How DATA is read: one value for the command line, the Python API and recipes.

A field here is a flag of every command that takes DATA (`--images-root`), an argument of
`ReadOptions(...)` for every verb of `shopsight.api`, and a key of a recipe's `[data]` section. Its
metadata is the flag's metavar and help text.

A dataclass and not a pydantic model: the command line builds its flags from it, and importing
pydantic would take a third of the time in which `shopsight --help` answers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from shopsight.errors import ConfigError
from shopsight.text import command_line

NO_COLUMN = "none"
"""Names no column: `group="none"` turns grouping off."""

DataKind = Literal["folder", "table", "own table", "opened", "file", "named", "export"]
"""A folder of images; a table or list; a table that shopsight wrote; a catalog that is open
already; a single image or IDX file; a named data set; an export of a shop system."""

Platform = Literal[
    "shopify", "meta", "google", "woocommerce", "magento", "prestashop", "bigcommerce", "amazon"
]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
"""The shop systems whose exports are read, in the order in which a file is compared with them."""

RUN_OPTIONS = ("images_root", "allow_private", "allow_remote", "allow_outside")
"""What may be said of the images of a run, which are otherwise read as the run says."""

_ALL: tuple[DataKind, ...] = get_args(DataKind)


def _flag(
    metavar: str,
    help: str,
    *,
    of: tuple[DataKind, ...] = _ALL,
    reaches: Literal["nothing", "reads", "allows", "searches"] = "nothing",
) -> dict[str, Any]:
    """What a field says of itself; `reaches` is that of `shopsight.config.reach`."""
    return {"metavar": metavar, "help": help, "of": of, "reaches": reaches}


def _choice(*choices: str, help: str, of: tuple[DataKind, ...] = _ALL) -> dict[str, Any]:
    """What a field with fixed values says of itself; the first value is the default."""
    return _flag("|".join(choices), help, of=of) | {"choices": choices}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How DATA is read; what is not set is guessed, and the guess is reported.

    Raises:
        ConfigError: one string instead of several, or a value that is none of a field's choices.
    """

    image: str | tuple[str, ...] | None = field(
        default=None,
        metadata=_flag(
            "COLUMN",
            "Read the image's file or id from this column. Repeat for more: each image is a row.",
            of=("table", "own table"),
        ),
    )
    label: str | tuple[str, ...] | None = field(
        default=None,
        metadata=_flag(
            "COLUMN",
            "Read the class from this column; none ignores labels. Repeat for columns of 0 and 1, "
            "one for each label.",
        ),
    )
    group: str | None = field(
        default=None,
        metadata=_flag(
            "COLUMN",
            "Keep images with one value of this column (product, SKU, contributor) in one part of "
            "a split; none turns grouping off.",
        ),
    )
    text: str | None = field(
        default=None,
        metadata=_flag(
            "COLUMN",
            "Read the product's title or description from this column; none reads no text.",
        ),
    )
    images_root: str | Path | None = field(
        default=None,
        metadata=_flag(
            "FOLDER",
            "Look for the table's image names in this folder.",
            of=("table", "own table", "named", "export"),
            reaches="reads",
        ),
    )
    label_pattern: str | None = field(
        default=None,
        metadata=_flag(
            "PATTERN",
            'Read the class from file names: "*_{label}.jpg", or a regular expression with '
            "(?P<label>...).",
            of=("folder",),
            reaches="searches",
        ),
    )
    skip_folder: tuple[str, ...] = field(
        default=(),
        metadata=_flag(
            "NAME",
            "Leave out the folder of this name, which is neither a split nor a class. Repeat for "
            "more.",
            of=("folder",),
        ),
    )
    label_separator: str | None = field(
        default=None,
        metadata=_flag(
            "TEXT",
            'Split a cell with several labels at this text; "" keeps cells whole. Guessed when '
            "left out.",
        ),
    )
    path_separator: str | None = field(
        default=None,
        metadata=_flag(
            "TEXT",
            "Read labels as paths whose names this text separates, such as /; they are written "
            "with ' > ', which needs no flag.",
        ),
    )
    empty_label: Literal["missing", "none"] | None = field(
        default=None,
        metadata=_choice(
            "missing",
            "none",
            help="What an empty cell of labels means: missing (the image is unlabeled), or none "
            "(no label applies to it).",
        ),
    )
    root: str | Path | None = field(
        default=None,
        metadata=_flag(
            "FOLDER", "Read a named data set from this local copy.", of=("named",), reaches="reads"
        ),
    )
    label_map: str | Path | None = field(
        default=None,
        metadata=_flag(
            "FILE",
            "Rename labels by this table with the columns `label` and `to`, or by a list of ids "
            "and names; many may become one.",
            reaches="reads",
        ),
    )
    platform: Platform | None = field(
        default=None,
        metadata=_flag(
            "|".join(PLATFORMS),
            "Read the export of this shop system; recognized by its columns when left out.",
            of=("export",),
        )
        | {"choices": PLATFORMS},
    )
    status: str | None = field(
        default=None,
        metadata=_flag(
            "NAME",
            "Read the products of this status, such as active, of an export or what `import` kept.",
            of=("export", "own table"),
        ),
    )
    label_column: Literal["category", "type", "tags"] | None = field(
        default=None,
        metadata=_choice(
            "category",
            "type",
            "tags",
            help="Take the class of an export's products from this of them; without it from the "
            "category, or the type where no product has one.",
            of=("export",),
        ),
    )
    drop: tuple[str, ...] = field(
        default=(), metadata=_flag("LABEL", "Leave out this class. Repeat for more.")
    )
    encoding: str | None = field(
        default=None,
        metadata=_flag(
            "NAME",
            "Decode a text table by this encoding, such as cp1252. Guessed when left out.",
            of=("table", "own table", "export"),
        ),
    )
    on_bad_row: Literal["error", "skip"] | None = field(
        default=None,
        metadata=_choice(
            "error",
            "skip",
            help="What to do with a table's row of too many or too few cells, or a box without "
            "area.",
            of=("table", "own table", "export"),
        ),
    )
    on_missing_image: Literal["skip", "error"] | None = field(
        default=None,
        metadata=_choice(
            "skip",
            "error",
            help="What to do with a row that names no image, or one that is not there.",
        ),
    )
    on_unlabeled: Literal["skip", "error"] | None = field(
        default=None,
        metadata=_choice(
            "skip",
            "error",
            help="What training and scoring do with images without a label.",
        ),
    )
    on_rare: Literal["keep", "drop", "merge", "parent", "error"] | None = field(
        default=None,
        metadata=_choice(
            "keep",
            "drop",
            "merge",
            "parent",
            "error",
            help="What to do with a class of few images: keep it in training only, unmeasured; "
            "drop it; merge all such classes into one; fold it into the path above it; or stop.",
        ),
    )
    rare_below: int | None = field(
        default=None,
        metadata=_flag(
            "N",
            "Call a class rare that has fewer images; without it, one of so few that it cannot be "
            "in every part of the split.",
        ),
    )
    allow_private: bool = field(
        default=False,
        metadata=_flag(
            "",
            "Read a table's addresses that lead into a private network.",
            reaches="allows",
        ),
    )
    allow_remote: bool = field(
        default=False,
        metadata=_flag(
            "",
            "Read the object stores (s3, gs, az) that a table's cells name, with your credentials.",
            reaches="allows",
        ),
    )
    allow_outside: bool = field(
        default=False,
        metadata=_flag(
            "",
            "Read files outside the data's folder that a table or a link names.",
            reaches="allows",
        ),
    )

    def __post_init__(self) -> None:
        for name in ("drop", "skip_folder"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"{name} = {value!r} is one text, not several", where=name)
        if self.path_separator is not None and not self.path_separator.strip():
            raise ConfigError(
                f"{self.path_separator!r} is no text between names", where="--path-separator"
            )
        for one in fields(ReadOptions):
            choices, value = one.metadata.get("choices"), getattr(self, one.name)
            if choices and value is not None and value not in choices:
                raise ConfigError(
                    f"{value!r} is not a choice", where=flag_of(one.name), fix=" or ".join(choices)
                )

    @property
    def image_columns(self) -> tuple[str, ...]:
        """The columns of image names that the user named; empty when they are to be guessed."""
        return _several(self.image)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of labels that the user named; empty when they are to be guessed."""
        return _several(self.label)

    def choice(self, name: str) -> str:
        """The value of a field with fixed values: the first of them when it is not set."""
        value = self._value(name)
        choices = next(one.metadata["choices"] for one in fields(ReadOptions) if one.name == name)
        return str(choices[0] if value is None else value)

    def given(self) -> tuple[str, ...]:
        """Names of the fields that are set."""
        return tuple(one.name for one in fields(ReadOptions) if self._value(one.name) is not None)

    def unused(self, kind: DataKind) -> tuple[str, ...]:
        """Names of the fields that are set and say nothing about this kind of DATA."""
        return tuple(
            one.name
            for one in fields(ReadOptions)
            if kind not in one.metadata["of"] and self._value(one.name) is not None
        )

    def merged(self, other: ReadOptions | None) -> ReadOptions:
        """Give these options with those that `other` sets; labels to drop add up."""
        values = {name: self._value(name) for name in self.given()}
        if other is not None:
            values |= {name: other._value(name) for name in other.given()}
            values["drop"] = tuple(dict.fromkeys((*self.drop, *other.drop)))
        return ReadOptions(**values)

    def without(self, names: Collection[str]) -> ReadOptions:
        """These options with the named fields as they are when nobody sets them."""
        unset: dict[str, Any] = {one.name: one.default for one in fields(self) if one.name in names}
        return replace(self, **unset)

    def _value(self, name: str) -> Any:
        value = getattr(self, name)
        return None if value == () or value is False else value


def _several(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def flag_of(name: str) -> str:
    """`"images_root"` -> `"--images-root"`."""
    return f"--{name.replace('_', '-')}"


def drop_flags(labels: Sequence[str], *, most: int = 20) -> str:
    """The flags that leave out these classes, ready to copy; of a long list, how to write it.

    >>> drop_flags(["hat", "shoe"])
    '--drop hat --drop shoe'
    """
    if len(labels) > most:
        return f"--drop LABEL, {len(labels):,} times"
    return command_line([word for label in labels for word in ("--drop", label)])
