"""What stands between the labels of a cell of plain text, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from shopsight.errors import CatalogError
from shopsight.label_tree import is_path
from shopsight.labels.label_lists import without_quotes
from shopsight.text import counted

BLANK = " "
LINE_END = "\n"
MARKS = (LINE_END, "|", ";", ",", BLANK)
"""What may stand between labels, tried in this order; a blank stands for any of them."""

TAG_NAMES = frozenset({"tags", "keywords", "hashtags"})
PLURAL_NAMES = TAG_NAMES | frozenset(
    {"labels", "categories", "classes", "attributes", "targets", "label_names", "class_names"}
    | {"label_ids", "class_ids", "category_ids", "attribute_ids"}
)
"""Names of columns, as `columns.canonical` writes them, that promise several labels in a cell."""


def split_at(cell: str, mark: str) -> list[str]:
    """The parts of a cell, without blanks and quotes around them and without empty ones.

    >>> split_at("red | blue|", "|"), split_at("red  blue", " ")
    (['red', 'blue'], ['red', 'blue'])
    """
    parts = cell.split() if mark == BLANK else cell.split(mark)
    return [part for part in (without_quotes(part.strip()) for part in parts) if part]


def guess_separator(cells: Sequence[str], name: str, where: str) -> tuple[str | None, str]:
    """Decide whether cells hold several labels.

    Sure signs are parts that occur alone as well, and parts that recur: `a|b`, `b|c`, `a|c`. Names
    of one class recur too (`running shoes`, `tennis shoes`), the more so with blanks and commas,
    so that these need the name of the column as well, or numbers.

    Args:
        cells: distinct cells, none of them blank.
        name: of the column, as `columns.canonical` writes it.
        where: the table, for the error.

    Returns:
        The separator, None where cells are whole; and a note on marks that do not separate.

    Raises:
        CatalogError: it may be either; both readings are named with their flags.

    >>> guess_separator(["red|shirt", "red", "shirt"], "label", "t.csv")
    ('|', '')
    >>> guess_separator(["Shirts, men", "Hats"], "label", "t.csv")
    (None, "labels such as 'Shirts, men' are kept whole (--label-separator ',' splits them)")
    >>> guess_separator(["16 0", "0", "16 25"], "target", "t.csv")
    (' ', '')
    """
    note = ""
    for mark in MARKS:
        joined = [cell for cell in cells if len(split_at(cell, mark)) > 1]
        if not joined or (mark == BLANK and note):
            continue
        verdict = _verdict(cells, joined, mark, name)
        if verdict == "sure":
            return mark, ""
        if verdict == "unsure":
            raise _either(joined, mark, name, where)
        if verdict == "whole":
            flag = f"--label-separator {mark!r} splits them"
            note = f"labels such as {joined[0]!r} are kept whole ({flag})"
    return None, note


def _verdict(cells: Sequence[str], joined: Sequence[str], mark: str, name: str) -> str:
    """Whether the mark separates: "sure", "unsure", "whole", or "" where it is not worth a word."""
    all_parts = [part for cell in cells for part in split_at(cell, mark)]
    parts = set(all_parts)
    in_joined = {part for cell in joined for part in split_at(cell, mark)}
    alone = {without_quotes(cell.strip()) for cell in cells} - set(map(str.strip, joined))
    known = in_joined <= alone
    # Names in two cells at all; and so many that there are fewer of them than of cells.
    recur, recur_often = len(parts) < len(all_parts), len(parts) < len(cells)
    often = 2 * len(joined) >= len(cells)
    plural = name in PLURAL_NAMES
    if mark in (",", BLANK) and any(map(is_path, joined)):
        # "Food, Beverages & Tobacco > Food Items": names of categories have commas.
        return "whole" if mark == "," else ""
    numbers = all(part.isdecimal() for part in in_joined)
    if mark == LINE_END:
        return "sure"
    if mark in ("|", ";"):
        sure = known or recur_often or (recur and (mark == "|" or plural))
        return "sure" if sure else "unsure" if often else "whole"
    if mark == ",":
        # "3,5" may be the decimal number of half of Europe.
        decimals = numbers and not plural and all(len(split_at(one, mark)) == 2 for one in joined)
        if not decimals and (known or (recur and (plural or numbers))):
            return "sure"
        return "unsure" if recur_often or decimals or (often and plural) else "whole"
    if numbers:
        return "sure" if known or recur else "unsure"
    if plural and recur_often:
        return "sure" if name in TAG_NAMES or 2 * len(parts) <= len(cells) else "unsure"
    if name in TAG_NAMES and often:
        return "unsure"
    # "red shirt" beside "shirt red": words in any order are tags.
    orders = {frozenset(split_at(cell.casefold(), mark)) for cell in joined}
    if len(orders) < len({cell.casefold() for cell in joined}):
        return "unsure"
    return "whole" if recur_often or (plural and recur) else ""


def _either(joined: Sequence[str], mark: str, name: str, where: str) -> CatalogError:
    example = joined[0]
    parts = split_at(example, mark)
    return CatalogError(
        f"cells of the column of labels ({name}) may hold several labels or one",
        where=where,
        details=[f"{example!r} is {counted(len(parts), 'label')}, or a single one", *joined[1:3]],
        fix=f'1. --label-separator "{mark}"   (several labels per image: {", ".join(parts)})\n'
        f'2. --label-separator ""   (one label per image: {example})',
    )
