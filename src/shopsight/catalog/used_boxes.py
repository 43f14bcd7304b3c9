"""Whether the boxes of a catalog count: they are a framing, which somebody has to ask for.

What a network has learned from boxes it does not know of whole photos, and the other way round. So
a catalog is read as its model reads images: each row's box, or whole images, and never one where
the other was learned.
"""

from __future__ import annotations

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.errors import CatalogError
from shopsight.progress import notify
from shopsight.text import counted, listed

FOR_TRAINING = "--set framing.boxes=true trains on the part in each box"
FOR_MODEL = "this model was trained on whole images; framing.boxes=true trains one on boxes"

FOR_BACKBONE = (
    "--boxes has a backbone by name look at them; a trained model does where framing.boxes=true "
    "was set"
)
FOR_AUDIT = "--boxes audits the part in each box, which framing.boxes=true trains on"
FOR_INDEX = "the index was built of whole images; index build --boxes makes one of boxes"


def with_used_boxes(catalog: Catalog, *, used: bool, how: str = FOR_MODEL) -> Catalog:
    """The catalog as a network reads it: each row with a box, or none; the latter is said.

    Args:
        catalog: whose rows may have boxes.
        used: whether the network looks at boxes.
        how: what makes boxes count, for the user.

    Raises:
        CatalogError: boxes count and a row has none; or they do not, and rows of one photo, which
            only their boxes tell apart, have different labels.
    """
    if used:
        _refuse_without_box(catalog)
        return catalog
    _refuse_conflict(catalog, how)
    return as_whole_images(catalog, how)


def as_whole_images(catalog: Catalog, how: str) -> Catalog:
    """The catalog whose rows are about whole images, and its boxes said where it has any.

    Args:
        catalog: whose rows may have boxes.
        how: what makes boxes count, for the user.
    """
    if not set(BOX_COLUMNS) <= set(catalog.table.columns):
        return catalog
    number = len(catalog) - int(_lacks_box(catalog).sum())
    if number:
        notify(f"{counted(number, 'row')} of {catalog.name} with a box: not used, {how}")
    return catalog.with_table(catalog.table.drop(BOX_COLUMNS))


def _lacks_box(catalog: Catalog) -> pl.Series:
    has = pl.all_horizontal(pl.col(name).is_not_null() for name in BOX_COLUMNS)
    return catalog.table.select(~has).to_series()


def _refuse_without_box(catalog: Catalog) -> None:
    if not set(BOX_COLUMNS) <= set(catalog.table.columns):
        raise CatalogError(
            "boxes are to be looked at, and the images have none",
            where=catalog.name,
            fix="give the table four columns box_x, box_y, box_w, box_h, in pixels\n"
            "or use a model of whole images: framing.boxes = false in training",
        )
    lacking = catalog.table.filter(_lacks_box(catalog))["image"].to_list()
    if lacking:
        raise CatalogError(
            f"{len(lacking):,} of {counted(len(catalog), 'row')} "
            f"{'has' if len(lacking) == 1 else 'have'} no box, and boxes are to be looked at",
            where=catalog.name,
            details=lacking,
            fix="give each row a box, one of the whole image where that is meant, or leave such "
            "rows out",
        )


def _refuse_conflict(catalog: Catalog, how: str) -> None:
    if not {"label", *BOX_COLUMNS} <= set(catalog.table.columns) or _lacks_box(catalog).all():
        return
    label = pl.col("label").list.sort().list.join(" + ") if catalog.multilabel else pl.col("label")
    found = (
        catalog.table.select("image", label)
        .drop_nulls()
        .unique(maintain_order=True)
        .group_by("image", maintain_order=True)
        .agg("label")
        .filter(pl.col("label").list.len() > 1)
    )
    if not len(found):
        return
    raise CatalogError(
        f"{counted(len(found), 'photo')} {'has' if len(found) == 1 else 'have'} rows of several "
        "labels that only their boxes tell apart, and boxes are not used",
        where=catalog.name,
        details=[f"{image}: {listed(labels)}" for image, labels in found.iter_rows()],
        fix=f"{how}\nor leave one row of each photo",
    )
