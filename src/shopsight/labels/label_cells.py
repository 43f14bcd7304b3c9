"""Distinct cells of text become lists of labels.

What programs write most often is taken apart by polars; a cell in another spelling by
`label_lists.parse_list`, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from shopsight.errors import CatalogError
from shopsight.labels.label_lists import (
    is_object,
    is_surely_list,
    looks_like_list,
    parse_list,
    scalar_of,
)
from shopsight.labels.label_separator import BLANK
from shopsight.tables.cell_text import MISSING_WORDS, is_number
from shopsight.text import counted

WHOLE_FLAG = '--label-separator ""'
# Lists of items without a backslash or an inner quote, and the pattern of an item.
_SIMPLE = (
    (r"^[\[({]\s*(?:'[^'\\]*'\s*,\s*)*(?:'[^'\\]*')?\s*[\])}]$", r"'[^'\\]*'"),
    (r'^[\[({]\s*(?:"[^"\\]*"\s*,\s*)*(?:"[^"\\]*")?\s*[\])}]$', r'"[^"\\]*"'),
    (r"^\[\s*\d+(?:\s*,\s*\d+)*\s*\]$", r"\d+"),
)
_QUOTED_PART = r"""(?s)^(?:'(.*)'|"(.*)"|`(.*)`|\x{2018}(.*)\x{2019}|\x{201c}(.*)\x{201d})$"""
_BRACKETS_OR_CALL = r"^\s*(?:[\[({]|[\w.]+\()|dtype: "
_PRINTED_SERIES = re.compile(r"dtype: \w+\s*$")
_NAME_IN_PARENTHESES = re.compile(r"\s*\([^,'\"]*\)\s*")


def split_cells(cells: pl.Series, mark: str) -> pl.Series:
    """Split as `label_separator.split_at` does; List(String)."""
    lists = cells.str.extract_all(r"\S+") if mark == BLANK else cells.str.split(mark)
    part = pl.element().str.strip_chars().str.replace(_QUOTED_PART, "${1}${2}${3}${4}${5}")
    return lists.list.eval(part).list.eval(pl.element().filter(pl.element() != ""))


def without_brackets(cells: pl.Series) -> pl.Series:
    """The inside of cells that are all in brackets; other cells as they are."""
    if not all(map(looks_like_list, cells.to_list())):
        return cells
    return cells.str.strip_chars().str.slice(1).str.head(-1)


def scalars_in(cells: pl.Series) -> list[str] | None:
    """The values where every cell shows how a library writes one: tensor(3), np.str_('a')."""
    if not len(cells) or scalar_of(cells[0]) is None:
        return None
    values = [scalar_of(cell) for cell in cells.to_list()]
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else None


def lists_in(cells: pl.Series, name: str, where: str) -> pl.Series | None:
    """Read cells that are written as lists.

    Args:
        cells: distinct cells.
        name: of their column, for errors.
        where: the table, for errors.

    Returns:
        The labels of each cell, List(String); None where cells are no lists.

    Raises:
        CatalogError: some cells are lists and others are not, or one cannot be read.
    """
    odd = cells.filter(cells.str.contains(_BRACKETS_OR_CALL)).to_list()
    _refuse_objects(odd, name, where)
    all_lists = odd and len(odd) == len(cells) and all(map(looks_like_list, odd))
    if all_lists and not all(map(_NAME_IN_PARENTHESES.fullmatch, odd)):
        return _parsed(cells, where)
    surely = next(filter(is_surely_list, odd), None)
    if surely is not None:
        lists = set(filter(is_surely_list, odd))
        other = next((cell for cell in cells.to_list() if cell not in lists), surely)
        raise CatalogError(
            f"some cells of labels are lists, such as {surely}, and others are not: {other}",
            where=where,
            fix=f"write all in one way, such as red|cotton; {WHOLE_FLAG} keeps cells whole",
        )
    return None


def plain_items(lists: pl.Series, where: str) -> pl.Series:
    """Items without missing ones, and with 3 for 3.0.

    Raises:
        CatalogError: they are numbers such as .25, which are no labels.
    """
    items = lists.explode().drop_nulls().unique(maintain_order=True).to_list()
    plain = {item: item.strip() for item in items}
    plain = {item: text for item, text in plain.items() if text and text not in MISSING_WORDS}
    if plain and all(map(is_number, plain.values())):
        plain = {item: re.sub(r"\.0*$", "", text) for item, text in plain.items()}
        if not all(re.fullmatch(r"[+-]?\d+", text) for text in plain.values()):
            raise CatalogError(
                "cells hold numbers with decimals, not labels",
                where=where,
                details=[", ".join(row) for row in lists.head(3).to_list()],
                fix=f"name a column of labels: --label COLUMN; {WHOLE_FLAG} keeps cells whole",
            )
    if all(plain.get(item) == item for item in items):
        return lists
    new = pl.element().replace_strict(plain, default=None, return_dtype=pl.String)
    return lists.list.eval(new.drop_nulls())


def _parsed(cells: pl.Series, where: str) -> pl.Series:
    """The lists in cells: by pattern, and the rest one by one."""
    lists = pl.Series([None], dtype=pl.List(pl.String)).new_from_index(0, len(cells))
    stripped = cells.str.strip_chars()
    for whole, item in _SIMPLE:
        hit = stripped.str.contains(whole) & lists.is_null()
        if hit.any():
            found = stripped.str.extract_all(item)
            found = found.list.eval(pl.element().str.strip_chars("'\""))
            lists = found.zip_with(hit, lists)
    rest = cells.filter(lists.is_null()).to_list()
    if not rest:
        return lists
    one_by_one = {cell: parse_list(cell) for cell in rest}
    _refuse_unread([cell for cell, items in one_by_one.items() if items is None], where)
    _refuse_blanks_only({cell: items or [] for cell, items in one_by_one.items()}, cells, where)
    read = pl.DataFrame(
        {"cell": rest, "list": list(one_by_one.values())},
        schema={"cell": pl.String, "list": pl.List(pl.String)},
    )
    others = cells.alias("cell").to_frame().join(read, on="cell", how="left", maintain_order="left")
    return lists.zip_with(lists.is_not_null(), others["list"])


def _refuse_unread(unread: Sequence[str], where: str) -> None:
    if not unread:
        return
    if any("..." in cell for cell in unread):
        raise CatalogError(
            "cells that were cut when they were written: labels are lost",
            where=where,
            details=unread,
            fix="write the table again with whole cells, such as red|cotton",
        )
    raise CatalogError(
        f"{counted(len(unread), 'different cell')} in brackets cannot be read as labels",
        where=where,
        details=unread,
        fix=f"write them alike, such as red|cotton, or keep them whole: {WHOLE_FLAG}",
    )


def _refuse_blanks_only(lists: dict[str, list[str]], cells: pl.Series, where: str) -> None:
    """`[long sleeve]` is one label or two, where no cell has a comma or a quote."""
    bare = [cell for cell, items in lists.items() if any(" " in item for item in items)]
    if bare and not cells.str.contains(r"""[,;|'"]""").any():
        raise CatalogError(
            "cells in brackets have words without a comma between them",
            where=where,
            details=bare,
            fix='1. --label-separator " "   (each word is a label)\n'
            '2. --label-separator ","   (the words are one label)',
        )


def _refuse_objects(cells: Sequence[str], name: str, where: str) -> None:
    objects = [cell for cell in cells if is_object(cell)]
    printed = [cell for cell in cells if _PRINTED_SERIES.search(cell) and "\n" in cell]
    if objects or printed:
        raise CatalogError(
            f"column {name!r} holds {'JSON objects' if objects else 'printed Series'}, not labels",
            where=where,
            details=[repr(cell[:100]) for cell in objects or printed],
            fix="write the labels alone into a column, such as red|cotton, and name it: "
            "--label COLUMN",
        )
