"""What a recipe's settings reach beyond the run: what is read, allowed or sent on their word.

Each setting that can hold free text says so with one of the marks below, in its annotation; a
field of `ReadOptions` says it in its metadata. A test walks all sections: none goes without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import BaseModel

from shopsight.read_options import ReadOptions


@dataclass(frozen=True)
class Reach:
    """The mark of a setting.

    Attributes:
        what: "reads" a file, a folder or an address; "sends" results somewhere; "allows" more to be
            read than usual; "searches" names for what may take for ever; or reaches "nothing".
    """

    what: Literal["reads", "sends", "allows", "searches", "nothing"]


READS, SENDS, NOTHING = Reach("reads"), Reach("sends"), Reach("nothing")


def reach_of(section: type[BaseModel], name: str) -> Reach | None:
    """The mark of one key of a section; None where it has none."""
    for mark in section.model_fields[name].metadata:
        if isinstance(mark, Reach):
            return mark
    if issubclass(section, ReadOptions):
        for option in fields(ReadOptions):
            if option.name == name and "reaches" in option.metadata:
                return Reach(option.metadata["reaches"])
    return None


def reaching(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Reach]]:
    """The settings that reach something: dotted name, value, and what they reach."""
    for name in type(section).model_fields:
        value, mark = getattr(section, name), reach_of(type(section), name)
        if isinstance(value, BaseModel):
            yield from reaching(value, f"{prefix}{name}.")
        elif mark is not None and mark != NOTHING:
            yield f"{prefix}{name}", value, mark
