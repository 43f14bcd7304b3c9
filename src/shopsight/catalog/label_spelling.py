"""Spellings of one label: Unicode's forms, and blanks at the ends, make no class of their own."""

from __future__ import annotations

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.tables.cell_text import plain_label
from shopsight.text import counted


def unify_labels(catalog: Catalog) -> Catalog:
    """Write every label in Unicode's composed form (NFC), without blanks at its ends.

    A Mac's folder names, and the same names typed elsewhere, are the same text in two forms. Labels
    that differ in case stay apart; the audit names them.

    Args:
        catalog: the images, of any source.

    Returns:
        The catalog; a note says how many images had another spelling, with an example.
    """
    meant = {label: plain_label(label) for label in catalog.labels}
    changed = {label: plain for label, plain in meant.items() if plain != label}
    if not changed:
        return catalog
    column = catalog.table["label"]
    old = pl.Series(list(changed), dtype=pl.String)
    if catalog.multilabel:
        # A list may name one label in two spellings.
        item = pl.element().replace(changed)
        plain = column.list.eval(item.filter(item != "")).list.unique(maintain_order=True)
        count = int(column.list.set_intersection(old.to_list()).list.len().fill_null(0).gt(0).sum())
    else:
        plain = column.replace(changed)
        plain = plain.set(plain == "", None)
        count = int(column.is_in(old.implode()).sum())
    example = min(changed)
    note = (
        f"labels without blanks at their ends, in one Unicode form: {counted(count, 'image')}, "
        f"e.g. {example!a} is read as {changed[example]!r}"
    )
    table = catalog.table.with_columns(plain.alias("label"))
    return catalog.with_table(table).with_notes(note)
