"""Changes of the labels as a whole: dropping some, mapping many to one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.text import counted, listed


def drop_labels(catalog: Catalog, labels: Collection[str]) -> Catalog:
    """Drop the images of these labels.

    An image with several labels loses only these; it is dropped when none is left.

    Raises:
        CatalogError: the catalog has no such label; the nearest one is offered.
    """
    if not labels:
        return catalog
    _refuse_unknown(catalog, labels)
    gone = pl.Series(sorted(set(labels)), dtype=pl.String)
    column = pl.col("label")
    if catalog.multilabel:
        left = column.list.set_difference(gone.to_list())
        was_empty = column.list.len() == 0
        table = catalog.table.with_columns(was_empty=was_empty, label=left)
        table = table.filter(
            pl.col("label").is_null() | (column.list.len() > 0) | pl.col("was_empty")
        )
        table = table.drop("was_empty")
    else:
        table = catalog.table.filter(column.is_null() | ~column.is_in(gone.implode()))
    count = len(catalog) - len(table)
    note = f"dropped {listed(gone.to_list())}: {counted(count, 'image')}"
    return catalog.with_table(table).with_notes(note)


def map_labels(catalog: Catalog, mapping: Mapping[str, str]) -> Catalog:
    """Give each image its new label, and say in `notes` what was merged, renamed and dropped.

    Args:
        catalog: the images.
        mapping: old label -> new label; an empty new label drops the images. Labels that it does
            not mention stay.

    Raises:
        CatalogError: the catalog has no labels, or the map mentions none of them.
    """
    if not catalog.labels:
        raise CatalogError("there are no labels to map", where=catalog.name)
    if not set(mapping) & set(catalog.labels):
        raise CatalogError(
            "the label map mentions none of the labels",
            where=catalog.name,
            details=[f"labels: {listed(catalog.labels)}", f"map: {listed(sorted(mapping))}"],
        )
    dropped = drop_labels(catalog, [label for label in catalog.labels if mapping.get(label) == ""])
    renamed = renamed_labels(dropped, {old: new for old, new in mapping.items() if new})
    return renamed.with_notes(*_notes(catalog.labels, mapping))


def renamed_labels(catalog: Catalog, mapping: Mapping[str, str]) -> Catalog:
    """Give labels their new names, without a note; those that are not mentioned stay.

    An image with several labels of which two become one has it once.
    """
    full = {label: mapping.get(label, label) for label in catalog.labels}
    if catalog.multilabel:
        renamed = (
            pl.col("label")
            .list.eval(pl.element().replace_strict(full))
            .list.unique(maintain_order=True)
        )
    else:
        renamed = pl.col("label").replace_strict(full, return_dtype=pl.String)
    return catalog.with_table(catalog.table.with_columns(renamed))


def _notes(labels: Collection[str], mapping: Mapping[str, str]) -> list[str]:
    """A line for each merged label, and one each for what was renamed, kept, and not found."""
    old_labels: dict[str, list[str]] = {}
    for label in labels:
        old_labels.setdefault(mapping.get(label, label), []).append(label)
    old_labels.pop("", None)
    notes = [
        f"label map: {listed(old)} -> {new}"
        for new, old in sorted(old_labels.items())
        if len(old) > 1
    ]
    renamed = [
        f"{old[0]} -> {new}" for new, old in old_labels.items() if len(old) == 1 and old[0] != new
    ]
    unmapped = [label for label in labels if label not in mapping]
    unused = sorted(set(mapping) - set(labels))
    for what, names in (
        ("renamed", renamed),
        ("not mentioned, kept as they are:", unmapped),
        ("mentioned, but not in the data:", unused),
    ):
        if names:
            notes.append(f"label map: {what} {listed(names)}")
    return notes


def _refuse_unknown(catalog: Catalog, labels: Collection[str]) -> None:
    unknown = sorted(set(labels) - set(catalog.labels))
    if not unknown:
        return
    details = []
    for label in unknown:
        near = _nearest(label, catalog.labels)
        details.append(f"{label!r}" + (f": did you mean {near!r}?" if near else ""))
    raise CatalogError(
        f"no such {'label' if len(unknown) == 1 else 'labels'} to drop",
        where=catalog.name,
        details=details,
        fix=f"the labels are {listed(catalog.labels, most=20)}",
    )


def _nearest(label: str, labels: Collection[str]) -> str | None:
    by_plain = {other.strip().casefold(): other for other in labels}
    near = difflib.get_close_matches(label.strip().casefold(), by_plain, n=1, cutoff=0.5)
    return by_plain[near[0]] if near else None
