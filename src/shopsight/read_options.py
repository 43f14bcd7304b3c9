"""How DATA is read: one value for the command line, the Python API and recipes.

A field here is a flag of every command that takes DATA (`--images-root`), an argument of
`ReadOptions(...)` for every verb of `shopsight.api`, and a key of a recipe's `[data]` section. Its
metadata is the flag's metavar and help text.

A dataclass and not a pydantic model: the command line builds its flags from it, and importing
pydantic would take a third of the time in which `shopsight --help` answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from shopsight.errors import ConfigError

NO_COLUMN = "none"
"""Names no column: `group="none"` turns grouping off."""


def _flag(metavar: str, help: str) -> dict[str, str]:
    return {"metavar": metavar, "help": help}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How DATA is read; what is not set is guessed, and the guess is reported.

    Raises:
        ConfigError: `drop` is one string instead of several.
    """

    image: str | None = field(
        default=None, metadata=_flag("COLUMN", "Read the image's file or id from this column.")
    )
    label: str | None = field(
        default=None,
        metadata=_flag("COLUMN", "Read the class from this column; none ignores labels."),
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
        default=None, metadata=_flag("FOLDER", "Look for the table's image names in this folder.")
    )
    label_pattern: str | None = field(
        default=None,
        metadata=_flag(
            "PATTERN",
            'Read the class from file names: "*_{label}.jpg", or a regular expression with '
            "(?P<label>...).",
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
    root: str | Path | None = field(
        default=None, metadata=_flag("FOLDER", "Read a named data set from this local copy.")
    )
    label_map: str | Path | None = field(
        default=None,
        metadata=_flag(
            "CSV",
            "Rename labels by this table with the columns `label` and `to`; many may become one.",
        ),
    )
    drop: tuple[str, ...] = field(
        default=(), metadata=_flag("LABEL", "Leave out this class. Repeat for more.")
    )
    encoding: str | None = field(
        default=None,
        metadata=_flag(
            "NAME", "Decode a text table by this encoding, such as cp1252. Guessed when left out."
        ),
    )

    def __post_init__(self) -> None:
        if isinstance(self.drop, str):
            raise ConfigError(f"drop = {self.drop!r} is one text, not several labels", where="drop")

    def given(self) -> tuple[str, ...]:
        """Names of the fields that are set."""
        return tuple(one.name for one in fields(ReadOptions) if self._value(one.name) is not None)

    def merged(self, other: ReadOptions | None) -> ReadOptions:
        """Give these options with those that `other` sets; labels to drop add up."""
        values = {name: self._value(name) for name in self.given()}
        if other is not None:
            values |= {name: other._value(name) for name in other.given()}
            values["drop"] = tuple(dict.fromkeys((*self.drop, *other.drop)))
        return ReadOptions(**values)

    def _value(self, name: str) -> Any:
        value = getattr(self, name)
        return None if value == () else value


def flag_of(name: str) -> str:
    """`"images_root"` -> `"--images-root"`."""
    return f"--{name.replace('_', '-')}"
