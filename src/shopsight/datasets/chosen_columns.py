"""Label, group and text as the user chooses them: from other columns, renamed, left out."""

from __future__ import annotations

from shopsight.bundle.format import LONGEST_LABEL
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.columns import Choice, given
from shopsight.catalog.label_map import drop_labels, map_labels
from shopsight.errors import CatalogError
from shopsight.labels.label_columns import read_labels
from shopsight.labels.label_names import read_label_map
from shopsight.read_options import ReadOptions, flag_of
from shopsight.tables.cell_text import as_text, plain_label
from shopsight.text import counted


def with_columns(catalog: Catalog, read: ReadOptions) -> Catalog:
    """Take label, group and text of a catalog from other columns of its table, read as a table's.

    Without such a column, what `read` says of cells is said of the labels that the catalog has.

    Raises:
        CatalogError: there is no such column, or its cells are no labels.
    """
    catalog = _with_labels(catalog, read)
    table = catalog.table
    for name, column in {"group": read.group, "text": read.text}.items():
        choice = given(table, () if column is None else (column,), flag_of(name), catalog.name)
        if choice is None:
            continue
        if choice.column is None:
            table = table.drop(name, strict=False)
        else:
            table = table.with_columns(as_text(table[choice.column]).alias(name))
    return catalog if table is catalog.table else catalog.with_table(table)


def _with_labels(catalog: Catalog, read: ReadOptions) -> Catalog:
    choice = given(catalog.table, read.label_columns, "--label", catalog.name)
    if choice is None:
        about_cells = read.label_separator is not None or read.empty_label is not None
        if not about_cells or "label" not in catalog.table.columns:
            return catalog
        choice = Choice(("label",))
    if choice.column is None:
        return catalog.with_table(catalog.table.drop("label", strict=False))
    labels = read_labels(catalog.table, choice.columns, read, catalog.name)
    table = catalog.table.with_columns(labels.values.alias("label"))
    return catalog.with_table(table).with_notes(*labels.notes)


def with_label_options(catalog: Catalog, read: ReadOptions) -> Catalog:
    """The catalog without the labels to drop, and with those of the map.

    Raises:
        CatalogError: the map cannot be read.
    """
    drop = tuple(dict.fromkeys(plain_label(label) for label in read.drop))
    if read.label_map is None:
        return drop_labels(catalog, drop)
    mapping, note = read_label_map(read.label_map, catalog.labels)
    if note:
        catalog = catalog.with_notes(note)
    # A label to drop may be one of the source, or one that the map makes.
    before = [label for label in drop if label in catalog.labels]
    made = set(mapping.values())
    after = [label for label in drop if label not in before and label in made]
    unknown = [label for label in drop if label not in before and label not in made]
    catalog = map_labels(drop_labels(catalog, [*before, *unknown]), mapping)
    return drop_labels(catalog, after)


def refuse_long_labels(catalog: Catalog) -> None:
    """Refuse labels that no bundle takes; they are texts of another column.

    Raises:
        CatalogError: there are some.
    """
    long = [label for label in catalog.labels if len(label) > LONGEST_LABEL]
    if long:
        raise CatalogError(
            f"{counted(len(long), 'label')} {'has' if len(long) == 1 else 'have'} more than "
            f"{LONGEST_LABEL:,} characters",
            where=catalog.name,
            details=[f"{label[:60]}... ({len(label):,} characters)" for label in long],
            fix="--label COLUMN names the column of the labels, --label-map FILE others for them",
        )
