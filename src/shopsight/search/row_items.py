"""From rows of a catalog to items of an index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.items import item_ids, products
from shopsight.search.kept_columns import kept_table
from shopsight.vector_engines.filters import Schema


def item_table(catalog: Catalog, schema: Schema, *, source: str) -> pl.DataFrame:
    """The items of a catalog, one row each in its order: `ITEM_COLUMNS` and the kept columns.

    `sha256` is null: the files were not read. `row_hash` is of everything but the image.

    Raises:
        CatalogError: two rows have one id, or a cell is not of its column's kind.
    """
    table = catalog.table
    known = products(catalog)
    boxes = [
        table[name].cast(pl.Float64) if name in table.columns else _nulls(name, len(catalog))
        for name in BOX_COLUMNS
    ]
    own = pl.DataFrame(
        [
            item_ids(catalog),
            _nulls("product", len(catalog), pl.String()) if known is None else known,
            pl.Series("source", [source] * len(catalog), pl.String),
            table["image"],
            _nulls("sha256", len(catalog), pl.String()),
            _nulls("row_hash", len(catalog), pl.String()),
            *(column.alias(name) for column, name in zip(boxes, BOX_COLUMNS, strict=True)),
        ]
    )
    kept = kept_table(table, schema, where=catalog.name)
    whole = pl.concat([own, kept], how="horizontal") if kept.width else own
    return whole.with_columns(row_hashes(whole))


def _nulls(name: str, count: int, dtype: pl.DataType | None = None) -> pl.Series:
    return pl.Series(name, [None] * count, dtype or pl.Float64())


def row_hashes(items: pl.DataFrame) -> pl.Series:
    """A hash of each row's product, image, box and kept columns."""
    names = [name for name in items.columns if name not in ("id", "sha256", "row_hash")]
    cells = items.select(
        pl.concat_str(
            [_as_text(pl.col(name), items.schema[name]) for name in names], separator="\x1f"
        )
    ).to_series()
    digests = [hashlib.sha256(cell.encode()).hexdigest()[:32] for cell in cells.to_list()]
    return pl.Series("row_hash", digests, pl.String)


def _as_text(cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A cell as text in which a missing one differs from an empty one."""
    if isinstance(dtype, pl.List):
        cell = pl.format("[{}]", cell.list.join("\x1e"))
    return cell.cast(pl.String).fill_null("\x00")


def texts_of(items: pl.DataFrame) -> Sequence[str | None]:
    """The text of each item, None where it has none."""
    if "text" not in items.columns:
        return [None] * items.height
    return [text if text and text.strip() else None for text in items["text"].to_list()]
