"""Which column of a user's table means what: by its name first, by its content second."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS
from shopsight.catalog.cell_numbers import decimal_numbers
from shopsight.catalog.folders import split_of
from shopsight.errors import CatalogError
from shopsight.read_options import NO_COLUMN
from shopsight.text import listed

# In order of preference; names are compared in lower case with underscores.
IMAGE_NAMES = (
    "image", "image_path", "img_path", "filepath", "file_path", "path", "image_file", "filename",
    "file_name", "file", "image_name", "img_name", "img", "picture", "photo", "image_url",
    "img_url", "url", "image_id", "name", "id",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "class_name", "category", "category_name", "target", "label_name",
    "article_type", "product_type", "product_category", "type", "tags", "categories", "classes",
    "attributes", "sub_category", "subcategory", "master_category", "class_id", "category_id",
    "label_id", "tag", "y",
)  # fmt: skip
GROUP_NAMES = (
    "group", "group_id", "product_id", "product", "sku", "item_id", "item", "listing_id", "spu",
    "asin", "parent_id", "model_id", "sender_id", "seller_id", "user_id", "customer_id",
)  # fmt: skip
SPLIT_NAMES = ("split", "subset", "set", "usage", "partition", "part", "phase")
TEXT_NAMES = ("text", "caption", "title", "product_display_name", "product_name", "description")
# x, y, and then width and height (the first list) or the opposite corner (the second).
BOX_NAMES_SIZE = (
    ("box_x", "box_y", "box_w", "box_h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("box_x", "box_y", "box_width", "box_height"),
)
BOX_NAMES_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
    ("x1", "y1", "x2", "y2"),
)
PLURAL_LABELS = frozenset({"labels", "tags", "categories", "classes", "attributes"})


def canonical(name: str) -> str:
    """A column name in lower case with underscores.

    >>> canonical("articleType"), canonical("Article Type")
    ('article_type', 'article_type')
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def ranked(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns whose name is in `names`, best first."""
    canonical_names = {column: canonical(column) for column in columns}
    return sorted(
        (column for column in columns if canonical_names[column] in names),
        key=lambda column: names.index(canonical_names[column]),
    )


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
    """The choice of a column.

    Attributes:
        column: its name; None when no column was chosen.
        note: a line for the user about the choice.
    """

    column: str | None
    note: str = ""


def choose_label(table: pl.DataFrame, taken: Sequence[str], where: str) -> Choice:
    """Choose the label column by its name, else the only one whose values look like classes.

    Args:
        table: the user's table.
        taken: columns that mean something else.
        where: the file, for the error.

    Raises:
        CatalogError: several columns look like classes, and none has the name of a label.
    """
    free = [column for column in table.columns if column not in taken]
    named = ranked(free, LABEL_NAMES)
    if named:
        others = f" (also possible: {listed(named[1:])}; --label COLUMN)" if named[1:] else ""
        return Choice(named[0], f"label from column {named[0]!r}{others}")
    likely = [column for column in free if _looks_like_classes(table[column])]
    if len(likely) > 1:
        raise CatalogError(
            f"{len(likely)} columns could hold the label",
            where=where,
            details=[_sketch(table[column]) for column in likely],
            fix=f"--label COLUMN, or --label {NO_COLUMN} when the images have none",
        )
    if likely:
        return Choice(likely[0], f"label from column {_sketch(table[likely[0]])}")
    return Choice(None, "no column looks like a label: read as unlabeled")


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
                return Choice(None, f"{note} (--group {column} uses it nevertheless)")
        return Choice(
            column,
            f"group from column {column!r}: a group stays in one part "
            f"(--group {NO_COLUMN} turns grouping off)",
        )
    return Choice(None)


def choose_split(table: pl.DataFrame, taken: Sequence[str]) -> Choice:
    """Choose the column whose values all mean train, val or test, in any of their spellings."""
    free = [column for column in table.columns if column not in taken]
    for column in ranked(free, SPLIT_NAMES):
        if table.schema[column] != pl.String:
            continue
        values = table[column].drop_nulls().unique().sort().to_list()
        if values and all(split_of(value) for value in values):
            return Choice(column, f"split from column {column!r}: {listed(values)}")
        return Choice(None, f"column {column!r} is not used as a split: it holds {listed(values)}")
    return Choice(None)


def choose_text(table: pl.DataFrame, taken: Sequence[str]) -> Choice:
    """Choose by its name the column with a caption or title."""
    named = ranked([column for column in table.columns if column not in taken], TEXT_NAMES)
    return Choice(named[0], f"text from column {named[0]!r}") if named else Choice(None)


def read_split(column: pl.Series) -> pl.Series:
    """Replace spellings ("training", "valid", ...) by train, val and test."""
    meaning = {value: split_of(value) for value in column.drop_nulls().unique().to_list()}
    return column.replace_strict(meaning, return_dtype=pl.String)


def choose_boxes(table: pl.DataFrame, where: str) -> tuple[list[pl.Series], list[str]]:
    """Find the four columns of a box by their names.

    Returns:
        The columns as x, y, width, height, and the names of their sources; both empty without
        boxes.

    Raises:
        CatalogError: a cell is not a number, or a box has no area.
    """
    by_name = {canonical(column): column for column in table.columns}
    for names in (*BOX_NAMES_SIZE, *BOX_NAMES_CORNERS):
        if all(name in by_name for name in names):
            sources = [by_name[name] for name in names]
            x, y, third, fourth = (_numbers(table[source], where) for source in sources)
            if names in BOX_NAMES_CORNERS:
                third, fourth = third - x, fourth - y
            if ((third <= 0) | (fourth <= 0)).any():
                raise CatalogError("some boxes have no area", where=where, details=sources)
            boxes = [x, y, third, fourth]
            return [box.alias(name) for box, name in zip(boxes, BOX_COLUMNS, strict=True)], sources
    return [], []


def read_labels(column: pl.Series, separator: str | None) -> tuple[pl.Series, str]:
    """Read the label column.

    Args:
        column: the cells.
        separator: what stands between the labels of a cell; None guesses, "" means nothing does.

    Returns:
        Labels as String, or as List(String) when cells hold several; and a note, or "".
    """
    if isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String)), "several labels per image: the column holds lists"
    text = as_text(column)
    if separator == "":
        return text, ""
    parsed = _bracketed(text) if separator is None else None
    if parsed is not None:
        return parsed, "several labels per image: cells are written as lists"
    mark = separator or _separator(text)
    if mark is None:
        return text, ""
    parts = (
        text.str.split(mark)
        .list.eval(pl.element().str.strip_chars())
        .list.eval(pl.element().filter(pl.element() != ""))
    )
    note = f"several labels per image, separated by {mark!r}"
    return parts, f"{note} (--label-separator '' keeps them whole)"


def as_text(column: pl.Series) -> pl.Series:
    """Any column as String: "3" for 3.0 where all values are whole, null for empty cells."""
    if column.dtype.is_float() and column.drop_nulls().is_finite().all():
        whole = column.drop_nulls()
        if (whole == whole.round()).all():
            column = column.cast(pl.Int64)
    text = column.cast(pl.String)
    return text.set(text == "", None)


def _looks_like_classes(column: pl.Series) -> bool:
    if not (column.dtype == pl.String or column.dtype.is_integer()):
        return False
    distinct, rows = column.drop_nulls().n_unique(), len(column) - column.null_count()
    if distinct < 2 or rows == 0 or distinct > max(2, rows // 2):
        return False
    if column.dtype == pl.String:
        # Measurements and flags are not classes.
        numeric = column.drop_nulls().head(100).cast(pl.Float64, strict=False)
        flags = {"true", "false", "0", "1", "yes", "no"}
        values = set(column.drop_nulls().str.to_lowercase().unique().head(10).to_list())
        return numeric.null_count() > 0 and not values <= flags
    return distinct > 2


def _sketch(column: pl.Series) -> str:
    values = column.drop_nulls().unique(maintain_order=True)
    shown = ", ".join(str(value) for value in values.head(3).to_list())
    return f"{column.name} ({values.len():,} values: {shown}, ...)"


def _numbers(column: pl.Series, where: str) -> pl.Series:
    numbers = decimal_numbers(column, where)
    if numbers.null_count() > as_text(column).null_count():
        bad = column.filter(numbers.is_null() & column.is_not_null())[0]
        raise CatalogError(f"column {column.name!r} holds {bad!r}, not a number", where=where)
    return numbers


def _bracketed(text: pl.Series) -> pl.Series | None:
    cells = text.drop_nulls()
    if not len(cells) or not (cells.str.starts_with("[") & cells.str.ends_with("]")).all():
        return None
    try:
        lists = [None if cell is None else ast.literal_eval(cell) for cell in text.to_list()]
    except (ValueError, SyntaxError):
        return None
    return pl.Series(
        text.name,
        [None if cell is None else [str(label) for label in cell] for cell in lists],
        dtype=pl.List(pl.String),
    )


def _separator(text: pl.Series) -> str | None:
    marks = ["|", ";"] + ([","] if canonical(text.name) in PLURAL_LABELS else [])
    cells = text.drop_nulls()
    for mark in marks:
        joined = cells.filter(cells.str.contains(mark, literal=True))
        if not len(joined):
            continue
        parts = cells.str.split(mark).explode().str.strip_chars()
        # Names that merely contain the mark ("Shirts; men") give as many parts as there are names.
        alone = cells.filter(~cells.str.contains(mark, literal=True)).str.strip_chars()
        joined_parts = joined.str.split(mark).explode().str.strip_chars()
        known = len(alone) > 0 and joined_parts.is_in(alone.unique().implode()).all()
        if known or parts.n_unique() < cells.n_unique():
            return mark
    return None
