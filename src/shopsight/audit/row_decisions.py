"""Decisions about rows that a person or a command wrote down: keep, drop, another label.

The CSV has the columns `id` (as `shopsight.catalog.items` gives it) and `decision`, and where
labels were reviewed `new_label`; others are for its readers. An empty decision keeps the row, an
empty label the one that it has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.errors import ConfigError
from shopsight.progress import notify
from shopsight.spreadsheets import guarded_text, unguarded
from shopsight.tables.table_files import read_table
from shopsight.text import counted

ID, DECISION, NEW_LABEL = "id", "decision", "new_label"
KEEP, DROP = "keep", "drop"


def dropped_rows(path: Path | str, catalog: Catalog) -> Bool[np.ndarray, "n"]:
    """Which rows of a catalog the decisions leave out.

    Args:
        path: the CSV.
        catalog: that it was written about.

    Raises:
        ConfigError: it is no list of decisions, contradicts itself, names rows that the catalog
            does not have, or leaves none.
    """
    decisions = _read(path)
    ids = item_ids(catalog)
    # A cell that a spreadsheet would run was written with an apostrophe before it.
    row_of = {name: row for row, name in enumerate(ids.to_list())}
    row_of |= {guarded_text(name): row for name, row in row_of.items()}
    unknown = [name for name in decisions if name not in row_of]
    if unknown:
        raise ConfigError(
            f"{counted(len(unknown), 'decision')} of {len(decisions):,} are about rows that are "
            "not in the data",
            where=str(path),
            details=unknown,
            fix="give the decisions that were made about this DATA, read with the same flags "
            "(--drop, --image, ...); shopsight duplicates DATA --out FOLDER makes new ones",
        )
    dropped = np.zeros(len(catalog), bool)
    dropped[[row_of[name] for name, decision in decisions.items() if decision == DROP]] = True
    if len(catalog) and dropped.all():
        raise ConfigError("the decisions leave no image", where=str(path))
    return dropped


def with_new_labels(path: Path | str, catalog: Catalog) -> Catalog:
    """The catalog with the labels that its rows were given.

    Args:
        path: the CSV.
        catalog: that it was written about, with labels or without.

    Raises:
        ConfigError: it is no list of decisions, or an image may have several labels.
    """
    table = _table(path)
    _decisions(table, path)
    if NEW_LABEL not in table.columns:
        return catalog
    named = table.select(pl.col(ID, NEW_LABEL).cast(pl.String)).drop_nulls()
    named = named.filter(pl.col(NEW_LABEL) != "")
    if not named.height:
        return catalog
    if catalog.multilabel:
        raise ConfigError(
            f"{NEW_LABEL} gives one label, and an image of this data may have several",
            where=str(path),
            fix="take the column away",
        )
    label_of = dict(unguarded(named).iter_rows())
    ids = item_ids(catalog).to_list()
    given = (
        catalog.table["label"].to_list() if "label" in catalog.table.columns else [None] * len(ids)
    )
    labels = [label_of.get(name, old) for name, old in zip(ids, given, strict=True)]
    changed = sum(new != old for new, old in zip(labels, given, strict=True))
    notify(f"{counted(changed, 'label')} by {path}")
    return catalog.with_table(
        catalog.table.with_columns(pl.Series("label", labels, dtype=pl.String))
    )


def check_decisions(path: Path | str) -> None:
    """Refuse what is no list of decisions, before the data is read.

    Raises:
        ConfigError: it is none.
    """
    _read(path)


def _read(path: Path | str) -> dict[str, str]:
    return _decisions(_table(path), path)


def _table(path: Path | str) -> pl.DataFrame:
    if not Path(path).is_file():
        raise ConfigError("there is no such list of decisions", where=str(path))
    table, _ = read_table(str(path))
    missing = [name for name in (ID, DECISION) if name not in table.columns]
    if missing:
        raise ConfigError(
            f"a list of decisions has a column {missing[0]!r}",
            where=str(path),
            details=[f"its columns: {', '.join(table.columns)}"],
            fix="shopsight duplicates DATA --out FOLDER   (writes one)",
        )
    return table


def _decisions(table: pl.DataFrame, path: Path | str) -> dict[str, str]:
    """The decision about each row that is named.

    Raises:
        ConfigError: it is none, or there are two about one row.
    """
    decision = pl.col(DECISION).cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")
    rows = table.select(pl.col(ID).cast(pl.String), decision).filter(pl.col(ID).is_not_null())
    wrong = rows.filter(~pl.col(DECISION).is_in([KEEP, DROP, ""]))
    if wrong.height:
        raise ConfigError(
            f"a decision is {KEEP!r} or {DROP!r}",
            where=str(path),
            details=[f"{name}: {word!r}" for name, word in wrong.iter_rows()],
        )
    # What nobody decided contradicts nothing, but must be in the data as well.
    decided = rows.filter(pl.col(DECISION) != "")
    rows = pl.concat([decided, rows.join(decided, on=ID, how="anti")]).unique(maintain_order=True)
    twice = rows.filter(pl.col(ID).is_duplicated())[ID].unique(maintain_order=True)
    if len(twice):
        raise ConfigError(
            f"{counted(len(twice), 'row')} have two decisions",
            where=str(path),
            details=twice.to_list(),
        )
    return dict(rows.iter_rows())
