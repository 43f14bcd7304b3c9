"""Mappings between two taxonomies, as Shopify publishes them: to Google's, and between releases.

→ Shoes > Boots > Ankle Boots
⇒ Footwear > Boots
"""

from __future__ import annotations

from collections.abc import Collection

from shopsight.errors import CatalogError
from shopsight.label_tree import path_parts, path_text
from shopsight.text import lines_of

FROM_MARK, TO_MARK = "\N{RIGHTWARDS ARROW}", "\N{RIGHTWARDS DOUBLE ARROW}"


def is_mapping(text: str) -> bool:
    """Whether the first line that is no comment begins with an arrow."""
    lines = (line.strip() for line in lines_of(text))
    return next((line for line in lines if line and line[0] != "#"), "").startswith(FROM_MARK)


def read_mapping(text: str, labels: Collection[str], where: str) -> tuple[dict[str, str], str]:
    """What the labels become; of several targets of a path the first.

    Args:
        text: of the file.
        labels: those of the images.
        where: the file, for errors.

    Returns:
        Old label -> new label, of the labels that the mapping has, or where it has none of them
        all that it has; and a note.

    Raises:
        CatalogError: a line is neither a path with an arrow nor a comment.
    """
    found, source = dict[str, str](), ""
    for at, line in enumerate(map(str.strip, lines_of(text)), start=1):
        if line.startswith(FROM_MARK):
            source = _path(line)
        elif line.startswith(TO_MARK) and source:
            found.setdefault(source, _path(line))
        elif line and not line.startswith("#"):
            raise CatalogError(
                f"line {at} begins with no arrow, as those of a mapping do",
                where=where,
                details=[line[:80]],
                fix=f"{FROM_MARK} A > B   and below it   {TO_MARK} C > D",
            )
    used = {label: found[label] for label in labels if label in found}
    example = next((f": {old!r} is {new!r}" for old, new in used.items()), "")
    return used or found, f"labels by a mapping of {len(found):,} paths{example}"


def _path(line: str) -> str:
    return path_text(path_parts(line[1:].strip()))
