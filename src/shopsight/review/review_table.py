"""review.csv: a row for each product, which people open in a spreadsheet and give back edited.

The column `accept` is theirs: `yes` takes the suggested category, `no` does not, another category
is taken as it is written there, and nothing decides nothing. What would be filled in stands there
as `yes` from the beginning.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import ChangedFilesError, ConfigError
from shopsight.files import atomic_file
from shopsight.review.decide import FILL, Review
from shopsight.review.decisions import NO, YES, Decisions
from shopsight.review.shop_products import PRODUCT, ShopProducts
from shopsight.spreadsheets import for_reading, guarded_text
from shopsight.tables.table_files import read_table
from shopsight.text import counted

ACCEPT = "accept"
_YES = frozenset({YES, "y", "true", "1", "x"})
_NO = frozenset({NO, "n", "false", "0"})
_NEEDED = (PRODUCT, "given", "suggested", ACCEPT)


def taken(review: Review, decided: Decisions) -> Decisions:
    """What is changed: what was accepted, and missing categories that are filled in."""
    fills = dict(review.of(FILL).select(PRODUCT, "suggested").iter_rows())
    return replace(decided, accepted={**fills, **decided.accepted})


def write_review_table(path: Path, review: Review, photos: Catalog, decided: Decisions) -> Path:
    """Write the table.

    Args:
        path: the .csv file.
        review: the products.
        photos: of these.
        decided: what stands in the column `accept`.
    """
    table = review.table
    words = decided.cells(dict(table.select(PRODUCT, "suggested").iter_rows()))
    images = photos.table["image"].gather(table["row"])
    agree = pl.col("agree").replace_strict({True: YES, False: NO}, return_dtype=pl.String)
    accept = pl.Series(ACCEPT, [words.get(name) for name in table[PRODUCT]], dtype=pl.String)
    shown = table.select(
        PRODUCT,
        "title",
        "given",
        "suggested",
        pl.col("confidence").round(4),
        agree,
        pl.col("loss").round(4),
        "action",
        "judged",
        accept,
        images.alias("photo"),
    )
    with atomic_file(path) as part:
        for_reading(shown).write_csv(part)
    return path


def read_decisions(path: Path | str, shop: ShopProducts, *, on_changed: bool) -> Decisions:
    """Read what a user decided in such a table.

    Args:
        path: the edited table.
        shop: the products as they are in the export now.
        on_changed: leave out products whose given category is another one now, instead of refusing.

    Raises:
        ConfigError: it is no such table, or decides twice about a product.
        ChangedFilesError: products have another category now, or are gone.
        TableError: it cannot be read.
    """
    rows = _rows(path)
    given = dict(shop.table.select(PRODUCT, "given").iter_rows())
    # A cell that a spreadsheet would run was written with an apostrophe before it.
    real = {guarded_text(name): name for name in given} | {name: name for name in given}
    accepted, declined, changed = dict[str, str](), set[str](), list[str]()
    for row in rows.iter_rows(named=True):
        word = str(row[ACCEPT] or "").strip()
        if not word:
            continue
        name = real.get(str(row[PRODUCT]))
        if name is None:
            changed.append(f"{row[PRODUCT]}: is not in the export")
        elif guarded_text(given[name] or "") != guarded_text(_plain(row["given"])):
            changed.append(f"{name}: was {row['given'] or 'without one'}, is {given[name]}")
        elif word.lower() in _NO:
            declined.add(name)
        else:
            taken = _plain(row["suggested"]) if word.lower() in _YES else word
            accepted[name] = taken
    if changed and not on_changed:
        raise ChangedFilesError(
            f"the export changed since this review: {counted(len(changed), 'product')} of it",
            where=str(path),
            details=changed,
            fix="shopsight review RUN EXPORT   (reviews it anew)\n"
            "--accept changed-file   (leaves these products out)",
        )
    return Decisions(accepted, frozenset(declined))


def _rows(path: Path | str) -> pl.DataFrame:
    if not Path(path).is_file():
        raise ConfigError("there is no such review", where=str(path))
    table, _ = read_table(str(path))
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise ConfigError(
            f"a review has a column {missing[0]!r}",
            where=str(path),
            details=[f"its columns: {', '.join(table.columns)}"],
            fix="shopsight review RUN EXPORT --out FOLDER   (writes FOLDER/review.csv)",
        )
    rows = table.select(pl.col(name).cast(pl.String) for name in _NEEDED)
    rows = rows.filter(pl.col(PRODUCT).is_not_null())
    twice = rows.filter(pl.col(PRODUCT).is_duplicated())[PRODUCT].unique(maintain_order=True)
    if len(twice):
        raise ConfigError(
            f"{counted(len(twice), 'product')} with several rows",
            where=str(path),
            details=twice.to_list(),
        )
    return rows


def _plain(cell: str | None) -> str:
    """A cell without the apostrophe that it was written with."""
    text = cell or ""
    return text[1:] if text.startswith("'") and guarded_text(text[1:]) == text else text
