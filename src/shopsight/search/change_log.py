"""The truth of an index: its items and vectors as files, one folder for each change.

    log/00000001/  items.parquet   id, product, source, image, sha256, row_hash, box, kept columns
                   image.npy       float16 "n d", unit vectors of the items, in their order
                   text.npy        float16 "n t", of their texts; rows of zeros where there is none
    log/00000002/  deleted.parquet id

A change is written aside, flushed to the disk and renamed; its folder flushed too. What has a
number here survives a killed process and a power cut. Later changes win. Nothing is ever written
into a folder that has its number, so that it can be read, mapped and copied without a lock.

Rounding a unit vector to float16 moves each number by at most 2^-12 of itself, which changes
cosines by less than .0005; it halves the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float16, Float32, Int64

from shopsight.errors import SearchError, first_line
from shopsight.files import atomic_folder, make_folder
from shopsight.io.parquet import read_parquet
from shopsight.unit_vectors import unit_vectors
from shopsight.vector_engines.engine import VectorName
from shopsight.vector_engines.filters import Schema
from shopsight.vector_engines.payloads import POLARS_TYPES

ITEMS_FILE, DELETED_FILE = "items.parquet", "deleted.parquet"
SEGMENT, ROW = "_segment", "_row"
"""Columns of the live table: where an item's vectors are."""
ITEM_COLUMNS = {
    "id": pl.String(),
    "product": pl.String(),
    "source": pl.String(),
    "image": pl.String(),
    "sha256": pl.String(),
    "row_hash": pl.String(),
    "box_x": pl.Float64(),
    "box_y": pl.Float64(),
    "box_w": pl.Float64(),
    "box_h": pl.Float64(),
}


@dataclass(frozen=True, eq=False)
class Items:
    """Items with their vectors, n of them.

    Attributes:
        table: `ITEM_COLUMNS` and the kept columns.
        image: unit vectors.
        text: unit vectors of texts, rows of zeros where an item has none; None where the index
            has no texts.
    """

    table: pl.DataFrame
    image: Float32[np.ndarray, "n d"]
    text: Float32[np.ndarray, "n t"] | None = None

    def __len__(self) -> int:
        return self.table.height


class ChangeLog:
    """The changes in a folder.

    Args:
        folder: it need not exist.
        schema: the kept columns.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder = folder
        self._types = ITEM_COLUMNS | {name: POLARS_TYPES[kind] for name, kind in schema.items()}
        self._mapped: dict[tuple[int, VectorName], Float16[np.ndarray, "n d"]] = {}

    def numbers(self) -> list[int]:
        """Numbers of the changes that are there, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(one.name) for one in self.folder.iterdir() if one.name.isdecimal())

    def last(self) -> int:
        """Number of the last change; 0 without any."""
        return max(self.numbers(), default=0)

    def place(self, number: int) -> Path:
        """The folder of a change."""
        return self.folder / f"{number:08d}"

    def write(self, items: Items) -> int:
        """Write items, in the place of those with the same ids; flushed when this returns.

        Raises:
            WriteError: the disk is full, or the folder cannot be written.
        """
        number = self.last() + 1
        size = 2 * items.image.size + 500 * len(items)
        with self._new(number, needed_bytes=size) as part:
            items.table.select(list(self._types)).write_parquet(part / ITEMS_FILE)
            np.save(part / "image.npy", items.image.astype(np.float16))
            if items.text is not None:
                np.save(part / "text.npy", items.text.astype(np.float16))
        return number

    def write_deleted(self, ids: Sequence[str]) -> int:
        """Write that items are gone; flushed when this returns.

        Raises:
            WriteError: the disk is full, or the folder cannot be written.
        """
        number = self.last() + 1
        with self._new(number, needed_bytes=50 * len(ids)) as part:
            pl.DataFrame({"id": list(ids)}, {"id": pl.String}).write_parquet(part / DELETED_FILE)
        return number

    def _new(self, number: int, *, needed_bytes: int) -> AbstractContextManager[Path]:
        make_folder(self.folder)
        return atomic_folder(self.place(number), needed_bytes=needed_bytes)

    def read(self, number: int) -> pl.DataFrame | list[str]:
        """The items of a change without vectors, or the ids that it deletes.

        Raises:
            SearchError: its files are damaged.
        """
        place = self.place(number)
        try:
            if (place / DELETED_FILE).is_file():
                ids: list[str] = read_parquet(place / DELETED_FILE)["id"].to_list()
                return ids
            table = read_parquet(place / ITEMS_FILE)
            count = self._vectors(number, "image").shape[0]
        except Exception as error:
            raise SearchError(
                f"a change of the index is damaged: {first_line(error)}",
                where=str(place),
                fix="take the index from a snapshot, or build it anew",
            ) from error
        if count != table.height or not set(self._types) <= set(table.columns):
            raise SearchError(
                f"a change of the index is damaged: {table.height} items, {count} vectors",
                where=str(place),
                fix="take the index from a snapshot, or build it anew",
            )
        return table.select(list(self._types))

    def live(self, *, until: int | None = None) -> pl.DataFrame:
        """All items that are there, sorted by id, with the places of their vectors.

        Args:
            until: leave later changes out.
        """
        tables: list[pl.DataFrame] = []
        deleted: list[tuple[int, list[str]]] = []
        for number in self.numbers():
            if until is not None and number > until:
                continue
            found = self.read(number)
            if isinstance(found, list):
                deleted.append((number, found))
            else:
                tables.append(located(found, number))
        if not tables:
            types = self._types | {SEGMENT: pl.Int64(), ROW: pl.Int64()}
            return pl.DataFrame(schema=types)
        items = pl.concat(tables).unique("id", keep="last", maintain_order=True)
        if deleted:
            gone = pl.concat(
                [
                    pl.DataFrame({"id": ids, "_gone": [number] * len(ids)})
                    for number, ids in deleted
                    if ids
                ]
            )
            last = gone.group_by("id").agg(pl.col("_gone").max())
            items = items.join(last, on="id", how="left")
            kept = pl.col("_gone").is_null() | (pl.col("_gone") < pl.col(SEGMENT))
            items = items.filter(kept).drop("_gone")
        return items.sort("id")

    def vectors(
        self, places: pl.DataFrame, *, vector: VectorName = "image", unit: bool = True
    ) -> Float32[np.ndarray, "n d"]:
        """Vectors of items, in the order of a table with their places.

        Args:
            places: has the columns `SEGMENT` and `ROW`.
            vector: which of an item's vectors.
            unit: make them unit again, which rounding to float16 has changed a little; a row of
                zeros stays.
        """
        segments = places[SEGMENT].to_numpy()
        rows = places[ROW].to_numpy()
        if not len(rows):
            return np.zeros((0, self._dim(vector)), np.float32)
        first = self._vectors(int(segments[0]), vector)
        found = np.empty((len(rows), first.shape[1]), np.float32)
        for number in np.unique(segments).tolist():
            chosen = np.flatnonzero(segments == number)
            found[chosen] = self._vectors(number, vector)[rows[chosen]]
        if unit:
            has = found.any(axis=1)
            found[has] = unit_vectors(found[has])
        return found

    def _dim(self, vector: VectorName) -> int:
        for number in self.numbers():
            if (self.place(number) / f"{vector}.npy").is_file():
                return int(self._vectors(number, vector).shape[1])
        return 0

    def _vectors(self, number: int, vector: VectorName) -> Float16[np.ndarray, "n d"]:
        key = number, vector
        if key not in self._mapped:
            file = self.place(number) / f"{vector}.npy"
            self._mapped[key] = np.load(file, mmap_mode="r", allow_pickle=False)
        return self._mapped[key]

    def changes(self, after: int, *, rows: int) -> Iterator[tuple[int, Items | list[str]]]:
        """The changes after a number, items in pieces of some rows."""
        for number in self.numbers():
            if number <= after:
                continue
            found = self.read(number)
            if isinstance(found, list):
                yield number, found
                continue
            for start in range(0, found.height, rows):
                yield number, self.items_of(located(found.slice(start, rows), number, start))

    def items_of(self, places: pl.DataFrame) -> Items:
        """Items with their vectors, of a table with their places."""
        has_text = (self.place(int(places[SEGMENT][0])) / "text.npy").is_file()
        text = self.vectors(places, vector="text") if has_text else None
        return Items(places.drop(SEGMENT, ROW), self.vectors(places), text)

    def close(self) -> None:
        """Let go of mapped files, which Windows cannot remove otherwise."""
        self._mapped.clear()


def located(table: pl.DataFrame, number: int, first: int = 0) -> pl.DataFrame:
    """A change's items with the places of their vectors."""
    rows: Int64[np.ndarray, "n"] = np.arange(first, first + table.height)
    return table.with_columns(
        pl.lit(number, pl.Int64).alias(SEGMENT), pl.Series(ROW, rows, pl.Int64)
    )
