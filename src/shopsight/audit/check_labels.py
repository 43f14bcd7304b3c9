"""Checks of labels: spelled in two ways, rare, out of balance."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping

import polars as pl

from shopsight.audit.audit_data import AuditData
from shopsight.audit.findings import Finding
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import are_products, product_photos, several_labels

_UNSEEN = frozenset({"Cf", "Pd"})
"""Unicode's categories of marks without a width, soft hyphens among them, and of dashes."""
RARE_CLASS_IMAGES = 20
"""A class with fewer usable images is rare."""

IMBALANCE_RATIO = 10.0
"""Largest over smallest class, from which on a catalog is out of balance."""


def check_labels(data: AuditData) -> Iterator[Finding]:
    """Find labels that are spelled in two ways, products of two labels, rare classes, imbalance."""
    counts = data.images_per_class
    yield from _spellings(data.catalog, counts)
    yield from _group_conflicts(data.catalog)
    # A class without any usable image is lost, which is another finding.
    for label, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        if 0 < count < RARE_CLASS_IMAGES:
            yield Finding("rare-class", "", detail=f"{label!r} has {_images(count)}")
    largest, smallest = (
        max(counts.items(), key=_by_count, default=None),
        min(counts.items(), key=_by_count, default=None),
    )
    if largest is None or smallest is None or largest[1] < IMBALANCE_RATIO * max(1, smallest[1]):
        return
    yield Finding(
        "imbalance",
        "",
        detail=f"{largest[0]!r} has {_images(largest[1])}, {smallest[0]!r} {smallest[1]:,}",
    )


def label_counts(catalog: Catalog, usable: pl.Series) -> dict[str, int]:
    """Count the usable images of each label, largest first.

    Args:
        catalog: the images.
        usable: for each row whether its file can be used.

    Returns:
        Every label of the catalog, 0 where none of its images is usable; empty without labels.
    """
    if not catalog.labels:
        return {}
    kept = catalog.table.filter(usable)["label"]
    flat = (kept.explode() if catalog.multilabel else kept).drop_nulls()
    found = dict(flat.value_counts().iter_rows())
    counts = {label: int(found.get(label, 0)) for label in catalog.labels}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def spelling_key(label: str) -> str:
    """The label without case, blanks, hyphens and Unicode's variants: equal for its spellings."""
    seen = "".join(
        letter
        for letter in unicodedata.normalize("NFKC", label)
        if unicodedata.category(letter) not in _UNSEEN
    )
    return re.sub(r"[\s\-_]+", "", seen).casefold()


def _spellings(catalog: Catalog, counts: Mapping[str, int]) -> Iterator[Finding]:
    """One finding for each spelling but the most frequent one."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in catalog.labels:
        spellings[spelling_key(label)].append(label)
    doubled = [labels for labels in spellings.values() if len(labels) > 1]
    if not doubled:
        return
    first = _first_rows(catalog)
    images = catalog.table["image"]
    for labels in doubled:
        usual, *others = sorted(labels, key=lambda label: (-counts[label], label))
        for other in others:
            yield Finding(
                "label-spelling",
                images[first[other]],
                images[first[usual]],
                f"{other!r} ({_images(counts[other])}) and {usual!r} ({counts[usual]:,})",
                first[other],
                first[usual],
            )


def _group_conflicts(catalog: Catalog) -> Iterator[Finding]:
    """One finding for each product whose photos have different labels.

    Where that is so of most products of several photos, the group is no product, and it is one
    finding.
    """
    if not catalog.labels or catalog.multilabel:
        return
    photos = product_photos(catalog)
    if photos is None:
        return
    # Spellings of one label are another finding.
    keys = {label: spelling_key(label) for label in catalog.labels}
    column = catalog.table["label"].replace_strict(keys, return_dtype=pl.String)
    compared = catalog.with_table(catalog.table.with_columns(column))
    conflicts = several_labels(compared, photos)
    if not conflicts.any():
        return
    if not are_products(compared, photos):
        several = int((photos.sizes > 1).sum())
        yield Finding(
            "group-label-conflict",
            "",
            detail=f"{int(conflicts.sum()):,} of {several:,} groups of several images have "
            "several labels: the group is no product",
        )
        return
    named = catalog.table.select("image", "label").with_row_index("row")
    named = named.with_columns(pl.Series("product", photos.of_photo))
    some = named.filter(pl.Series(conflicts[photos.of_photo])).drop_nulls("label")
    for table in some.partition_by("product", maintain_order=True):
        yield _group_conflict(table, photos.names[table["product"][0]] or "")


def _group_conflict(table: pl.DataFrame, name: str) -> Finding:
    """The first photo of the rarest label beside the first one of the commonest."""
    labels = (
        table.group_by("label", maintain_order=True)
        .agg(pl.len().alias("images"), pl.col("row", "image").first())
        .sort("images", descending=True, maintain_order=True)
    )
    usual, *_, odd = labels.iter_rows(named=True)
    each = ", ".join(f"{row['label']!r} ({row['images']:,})" for row in labels.rows(named=True))
    return Finding(
        "group-label-conflict",
        odd["image"],
        usual["image"],
        f"group {name!r}: {each}",
        odd["row"],
        usual["row"],
    )


def _first_rows(catalog: Catalog) -> dict[str, int]:
    rows = catalog.table.select("label").with_row_index("row")
    if catalog.multilabel:
        rows = rows.explode("label")
    return dict(rows.drop_nulls().group_by("label").agg(pl.col("row").min()).iter_rows())


def _by_count(item: tuple[str, int]) -> int:
    return item[1]


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"
