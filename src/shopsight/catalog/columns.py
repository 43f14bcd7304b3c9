"""Which column of a user's table means what: by its name first, by its content second."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.errors import CatalogError
from shopsight.labels.label_columns import is_flags
from shopsight.labels.label_lists import is_object
from shopsight.read_options import NO_COLUMN
from shopsight.tables.cell_text import as_text
from shopsight.tables.column_names import (
    GROUP_NAMES,
    IMAGE_NAMES,
    LABEL_NAMES,
    TEXT_NAMES,
    VAGUE_LABEL_NAMES,
    canonical,
    ranked,
)
from shopsight.text import command_line, listed

SAMPLED_CELLS = 200
MOST_NUMBERED_CLASSES = 1000
"""A column of more different numbers is not offered as one of classes."""


def asked(table: pl.DataFrame, column: str, flag: str, where: str) -> str:
    """Check a column that the user named.

    Args:
        table: the user's table.
        column: the name.
        flag: the flag that named it, for the error.
        where: the file, for the error.

    Returns:
        The name.

    Raises:
        CatalogError: the table has no such column; the nearest name is offered.
    """
    if column in table.columns:
        return column
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    raise CatalogError(
        f"no column {column!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        where=where,
        details=table.columns,
        fix=f"{flag} COLUMN",
    )


@dataclass(frozen=True)
class Choice:
    """The choice of a column, or of several columns of labels.

    Attributes:
        columns: their names; empty when no column was chosen.
        note: a line for the user about the choice.
    """

    columns: tuple[str, ...] = ()
    note: str = ""

    @property
    def column(self) -> str | None:
        """The one column, or the first; None when no column was chosen."""
        return self.columns[0] if self.columns else None


def given(table: pl.DataFrame, columns: Sequence[str], flag: str, where: str) -> Choice | None:
    """The columns that the user named; None when they are to be guessed.

    Args:
        table: the user's table.
        columns: their names; "none" alone names no column.
        flag: the flag that named them, for errors.
        where: the file, for errors.

    Raises:
        CatalogError: the table has no such column, or one that is called "none".
    """
    if not columns:
        return None
    if tuple(columns) == (NO_COLUMN,):
        if NO_COLUMN in table.columns:
            raise CatalogError(
                f"{flag} {NO_COLUMN} takes no column, and there is a column of that name",
                where=where,
                fix=f"rename the column {NO_COLUMN!r} of the table",
            )
        return Choice()
    return Choice(tuple(dict.fromkeys(asked(table, column, flag, where) for column in columns)))


def choose_label(table: pl.DataFrame, taken: Sequence[str], where: str) -> Choice:
    """Choose the label column by its name, else the only one whose values look like classes.

    Columns of 0 and 1 are chosen, one for each label, where every row has exactly one 1.

    Args:
        table: the user's table.
        taken: columns that mean something else.
        where: the file, for the error.

    Raises:
        CatalogError: several columns look like classes, and none has the name of a label.
    """
    free = [column for column in table.columns if column not in taken]
    named = ranked(free, LABEL_NAMES)
    unfit = {column: why for column in named if (why := _unfit(table[column]))}
    unfit |= _constant(table, [column for column in named if column not in unfit])
    passed = "".join(f"; column {column!r} {why}" for column, why in unfit.items())
    named = [column for column in named if column not in unfit]
    if named:
        others = f" (also possible: {listed(named[1:])}; --label COLUMN)" if named[1:] else ""
        return Choice((named[0],), f"label from column {named[0]!r}{others}{passed}")
    # Names of products and of images are no classes, however few there are.
    no_classes = ranked(free, [*GROUP_NAMES, *TEXT_NAMES, *IMAGE_NAMES])
    likely = [
        column for column in free if column not in no_classes and _looks_like_classes(table[column])
    ]
    if len(likely) > 1:
        raise CatalogError(
            f"{len(likely)} columns could hold the label",
            where=where,
            details=[_sketch(table[column]) for column in likely],
            fix=f"--label COLUMN, or --label {NO_COLUMN} when the images have none",
        )
    if likely:
        return Choice((likely[0],), f"label from column {_sketch(table[likely[0]])}{passed}")
    flags = [column for column in free if is_flags(table[column])]
    if len(flags) > 1:
        return _choose_flags(table, flags, where)
    could = [column for column in free if _could_be_classes(table[column])]
    flag = command_line(["--label", could[0]]) if could else ""
    hint = f" ({listed(could)} could be one: {flag})" if could else ""
    return Choice(note=f"no column looks like a label: read as unlabeled{hint}{passed}")


def _choose_flags(table: pl.DataFrame, flags: Sequence[str], where: str) -> Choice:
    """All columns of 0 and 1, where they are one-hot; else the user must say what they mean."""
    texts = [as_text(table[column]).str.strip_chars().str.to_lowercase() for column in flags]
    ones = pl.DataFrame(texts).select(
        pl.sum_horizontal(pl.all().is_in(["1", "1.0", "true"]).cast(pl.Int32))
    )
    if (ones.to_series() == 1).all():
        return Choice(
            tuple(flags),
            f"labels from the {len(flags)} columns of 0 and 1, one of them 1 in every row: "
            f"{listed(flags)} (--label {NO_COLUMN} reads no labels)",
        )
    words = [word for column in flags for word in ("--label", column)]
    raise CatalogError(
        f"{len(flags)} columns of 0 and 1 could be labels, one for each",
        where=where,
        details=[listed(flags, most=20)],
        fix=f"1. {command_line(words)}\n   (those of them that are labels)\n"
        f"2. --label {NO_COLUMN}   (none of them is)",
    )


def choose_group(table: pl.DataFrame, label: str | None, taken: Sequence[str]) -> Choice:
    """Choose by its name the column whose values must stay in one part of a split.

    A column that groups classes rather than images of one product is not chosen: with it no class
    could be in two parts.

    Args:
        table: the user's table.
        label: the label column, or None.
        taken: columns that mean something else.
    """
    free = [column for column in table.columns if column not in taken]
    for column in ranked(free, GROUP_NAMES):
        groups = table[column].n_unique()
        if groups == len(table) or groups < 2:
            continue
        if label is not None and isinstance(table.schema[label], pl.String):
            spread = table.group_by(label).agg(pl.col(column).n_unique())[column].median()
            if not isinstance(spread, (int, float)) or spread < 3:
                note = f"column {column!r} has fewer than 3 groups in most classes: not used"
                return Choice(note=f"{note} (--group {column} uses it nevertheless)")
        return Choice(
            (column,),
            f"group from column {column!r}: a group stays in one part "
            f"(--group {NO_COLUMN} turns grouping off)",
        )
    return Choice()


def choose_text(table: pl.DataFrame, taken: Sequence[str]) -> Choice:
    """Choose by its name the column with a caption or title."""
    named = ranked([column for column in table.columns if column not in taken], TEXT_NAMES)
    return Choice((named[0],), f"text from column {named[0]!r}") if named else Choice()


def _unfit(column: pl.Series) -> str:
    """Why a column with the name of a label holds none; "" where it may."""
    cells = column.drop_nulls()
    if cells.dtype.is_float():
        cells = cells.drop_nans()
    if cells.dtype == pl.String:
        cells = cells.filter(cells.str.strip_chars() != "")
    if not len(cells):
        return "is empty"
    if cells.dtype == pl.String:
        some = cells.head(SAMPLED_CELLS).str.strip_chars()
        if some.str.contains(r"(?s)^<[a-zA-Z!/].*>$").all():
            return "holds HTML"
        if all(map(is_object, some.to_list())):
            return "holds JSON objects"
    return ""


def _constant(table: pl.DataFrame, named: Sequence[str]) -> dict[str, str]:
    """Why columns such as `type`, all of one value, give way to others that tell images apart.

    A column named `label` does not: that it has one class is the user's to know.
    """
    values = {
        column: as_text(table[column]).drop_nulls().unique()
        for column in named
        if table.schema[column] == pl.String
    }
    if all(len(values.get(column, ())) == 1 for column in named):
        return {}
    return {
        column: f"holds nothing but {cells[0]!r}"
        for column, cells in values.items()
        if len(cells) == 1 and canonical(column) in VAGUE_LABEL_NAMES
    }


def _looks_like_classes(column: pl.Series) -> bool:
    if not (column.dtype == pl.String or column.dtype.is_integer()):
        return False
    distinct, rows = column.drop_nulls().n_unique(), len(column) - column.null_count()
    if distinct < 2 or rows == 0 or distinct > max(2, rows // 2):
        return False
    if column.dtype == pl.String:
        if _unfit(column):
            return False
        # Measurements and flags are not classes.
        cells = column.drop_nulls().str.strip_chars()
        numeric = cells.head(100).cast(pl.Float64, strict=False)
        flags = {"true", "false", "0", "1", "yes", "no"}
        values = set(cells.str.to_lowercase().unique().head(10).to_list())
        return numeric.null_count() > 0 and not values <= flags
    return distinct > 2


def _could_be_classes(column: pl.Series) -> bool:
    """Whether values recur as those of classes do, be they numbers, flags or words."""
    if not (column.dtype in (pl.String, pl.Boolean) or column.dtype.is_integer()):
        return False
    distinct, rows = column.drop_nulls().n_unique(), len(column) - column.null_count()
    if column.dtype == pl.String:
        numbers = as_text(column).cast(pl.Float64, strict=False).drop_nulls()
        if (numbers % 1 != 0).any():
            return False  # Prices.
    return 2 <= distinct <= min(MOST_NUMBERED_CLASSES, rows // 2) and not _unfit(column)


def _sketch(column: pl.Series) -> str:
    values = column.drop_nulls().unique(maintain_order=True)
    shown = ", ".join(str(value) for value in values.head(3).to_list())
    return f"{column.name} ({values.len():,} values: {shown}, ...)"
