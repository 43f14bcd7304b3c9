"""A generation of an index: one embedding space, its log, and the engine that is derived from it.

    generations/000001/
        generation.json   `GenerationInfo`
        log/              the truth, see `shopsight.search.change_log`
        center.npz        mean of the unit vectors when the generation was built
        engine/           derived; `applied.json` in it says up to which change

A change is written to the log first, then applied to the engine, then `applied.json` is. Whatever
happens between two of these steps, the next opening applies what is missing: changes are whole
items or ids, so applying one twice changes nothing. An engine that is gone or damaged is built from
the log, without the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shopsight import progress
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.errors import SearchError, ShopsightError, WriteError, first_line
from shopsight.files import discard_folder, write_json
from shopsight.inference.engine import EnginePrecision
from shopsight.io.arrays import read_arrays
from shopsight.io.json_files import read_json
from shopsight.search.change_log import SEGMENT, ChangeLog, Items, located
from shopsight.search.disk_room import check_room_for_change, check_room_for_engine
from shopsight.search.engine_copy import EngineCopy
from shopsight.search.engines import create_engine, open_engine
from shopsight.unit_vectors import unit_vectors
from shopsight.vector_engines.engine import (
    DEFAULT_EF,
    EngineSettings,
    Points,
    Storage,
    VectorEngine,
)
from shopsight.vector_engines.filters import ColumnKind, Schema

INFO_FILE, CENTER_FILE, APPLIED_FILE = "generation.json", "center.npz", "applied.json"
LOG, ENGINE = "log", "engine"
ROWS_AT_ONCE = 5000
MOST_EF, MOST_PARTS = 10_000, 10_000
MOST_CENTER_BYTES = 100 << 20
OWN_COLUMNS: Schema = {"product": "text", "image": "text"}
"""Kept of every item, beside the columns that were chosen."""

TextVectors = Literal["none", "encoder", "words"]


class GenerationInfo(BaseModel):
    """What does not change while a generation lives; the content of generation.json.

    Attributes:
        model: what the user called the model; opens it again.
        resize: of a backbone, the framing that was asked for; None is its own.
        space: of the image vectors.
        precision: in which these were computed; None of an index from before it was written down.
        rounding: of vectors that are not of fp32, how well both search among each other; None
            where it was not measured.
        schema_: kinds of the kept columns.
        text: how the texts of items became vectors, if they did.
        text_dim: numbers in a text vector; 0 where there are none.
        storage: how the engine keeps vectors.
        exact_below: items up to which every search is exact.
        ef: candidates of a search in the graph.
        shards: parts of the collection on a server; None is the server's own.
        replicas: copies of each part on a server; None is the server's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str
    resize: Literal["pad", "crop", "squash"] | None = None
    space: EmbeddingSpace
    precision: EnginePrecision | None = None
    rounding: EmbedsInto | None = None
    schema_: dict[str, ColumnKind] = Field(alias="schema")
    text: TextVectors = "none"
    text_dim: int = Field(default=0, ge=0, le=100_000)
    storage: Storage = "f16"
    exact_below: int = Field(default=50_000, ge=0)
    ef: int = Field(default=DEFAULT_EF, ge=1, le=MOST_EF)
    shards: int | None = Field(default=None, ge=1, le=MOST_PARTS)
    replicas: int | None = Field(default=None, ge=1, le=MOST_PARTS)

    def settings(self) -> EngineSettings:
        """What its engine is made with."""
        dims: dict[Any, int] = {"image": self.space.embedding_dim}
        if self.text_dim:
            dims["text"] = self.text_dim
        return EngineSettings(
            dims,
            {**OWN_COLUMNS, **self.schema_},
            storage=self.storage,
            exact_below=self.exact_below,
            ef=self.ef,
            shards=self.shards,
            replicas=self.replicas,
        )


class Generation:
    """A generation in its folder. Its owner alone writes it.

    Args:
        folder: of the generation.
        collection: its name on a server.
        url: of the server that has the engine; None has it in process.
    """

    def __init__(self, folder: Path, *, collection: str, url: str | None = None) -> None:
        self.folder = folder
        self.info = read_info(folder)
        self.log = ChangeLog(folder / LOG, self.info.schema_)
        self._collection = collection
        self._url = url
        self._copy: EngineCopy | None = None
        self._engine: VectorEngine | None = None
        self._live: pl.DataFrame | None = None

    @property
    def engine(self) -> VectorEngine:
        """The engine, opened and brought up to the log the first time."""
        if self._engine is None:
            self._engine = self._opened()
        return self._engine

    @property
    def live(self) -> pl.DataFrame:
        """All items, see `ChangeLog.live`."""
        if self._live is None:
            self._live = self.log.live()
        return self._live

    @property
    def num_products(self) -> int:
        """Products that the items show; 0 where none is known."""
        return self.live["product"].drop_nulls().n_unique()

    @cached_property
    def center(self) -> Float32[np.ndarray, "d"]:
        """The mean of the unit vectors when the generation was built."""
        file = self.folder / CENTER_FILE
        if file.is_file():
            return read_arrays(file, most_bytes=MOST_CENTER_BYTES)["center"]
        return mean_of(self)

    def write(self, items: Items) -> None:
        """Put items in; on the disk, in log and engine, when this returns.

        Raises:
            WriteError: the disk has no room for them, or cannot be written; nothing has changed.
        """
        self.check_room(len(items))
        number = self.log.write(items)
        self._apply(number, items)
        if self._live is not None:
            added = located(items.table.select(self._live.columns[:-2]), number)
            others = self._live.filter(~pl.col("id").is_in(items.table["id"].implode()))
            self._live = pl.concat([others, added.select(others.columns)]).sort("id")

    def delete(self, ids: Sequence[str]) -> None:
        """Take items out; on the disk, in log and engine, when this returns."""
        if not ids:
            return
        self.check_room(0)
        number = self.log.write_deleted(ids)
        self._apply(number, list(ids))
        if self._live is not None:
            self._live = self._live.filter(~pl.col("id").is_in(list(ids)))

    def close(self) -> None:
        """Let go of the engine and of mapped files."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        self.log.close()

    def check_room(self, count: int) -> None:
        """Refuse to put items in that the disk has no room for; see `check_room_for_change`."""
        check_room_for_change(self.folder, self.info.settings(), count, url=self._url)

    def check_room_for_all(self, new: int) -> None:
        """Refuse to add items to an engine that is made anew; see `check_room_for_engine`."""
        check_room_for_engine(
            self.folder,
            self.info.settings(),
            self.live.height + new,
            logged=new,
            url=self._url,
        )

    def _apply(self, number: int, change: Items | list[str]) -> None:
        apply_change(self.engine, change)
        self.engine.flush()
        self._set_applied(number)

    def _set_applied(self, number: int) -> None:
        write_json(self._applied_file(), {"change": number})

    def _applied_file(self) -> Path:
        return self._engine_folder() / APPLIED_FILE

    def _engine_folder(self) -> Path:
        return self.folder / ENGINE if self._copy is None else self._copy.folder

    def _applied(self) -> int:
        try:
            return int(read_json(self._applied_file())["change"])
        except (OSError, ShopsightError, KeyError, TypeError, ValueError):
            return -1

    def _opened(self) -> VectorEngine:
        try:
            return self._opened_in_place()
        except WriteError:
            if self._copy is not None or self._url is not None:
                raise
            self._copy = EngineCopy(self.folder / ENGINE)
            return self._opened_in_place()

    def _opened_in_place(self) -> VectorEngine:
        applied, reason = self._applied(), None
        if 0 <= applied <= self.log.last():
            try:
                engine = open_engine(
                    self._engine_folder(),
                    self.info.settings(),
                    url=self._url,
                    collection=self._collection,
                )
                self._replay(engine, applied)
                return engine
            except SearchError as error:
                if self._url is not None:
                    raise
                reason = error.what
        engine = self._rebuilt()
        if reason is not None:
            progress.notify(f"the engine was built anew from the log: {reason}")
        return engine

    def _replay(self, engine: VectorEngine, applied: int) -> None:
        last = applied
        for number, change in self.log.changes(applied, rows=ROWS_AT_ONCE):
            count = 0 if isinstance(change, list) else len(change)
            check_room_for_change(self._engine_folder(), engine.settings, count, url=self._url)
            apply_change(engine, change)
            last = number
        if last > applied:
            engine.flush()
            self._set_applied(last)

    def _rebuilt(self) -> VectorEngine:
        self.discard_engine()
        # Not `self.live`: a change that is being written may be in the log and not in there yet.
        last = self.log.last()
        live = self.log.live(until=last)
        settings = self.info.settings()
        check_room_for_engine(self._engine_folder(), settings, live.height, url=self._url)
        engine = create_engine(
            self._engine_folder(), settings, url=self._url, collection=self._collection
        )
        fill_engine(engine, self.log, live)
        engine.optimize()
        self._set_applied(last)
        return engine

    def discard_engine(self) -> None:
        """Remove the engine's files; it is built from the log when it is next needed."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        discard_folder(self._engine_folder())


def read_info(folder: Path) -> GenerationInfo:
    """Read what a generation says of itself.

    Raises:
        SearchError: it is damaged, or of a newer shopsight.
    """
    try:
        return GenerationInfo.model_validate(read_json(folder / INFO_FILE))
    except (ValidationError, OSError, ShopsightError) as error:
        raise SearchError(
            f"what the index says of itself cannot be read: {first_line(error)}",
            where=str(folder / INFO_FILE),
            fix="install a newer shopsight\ntake the index from a snapshot, or build it anew",
        ) from error


def write_info(folder: Path, info: GenerationInfo) -> None:
    """Write what a generation says of itself."""
    write_json(folder / INFO_FILE, info.model_dump(mode="json", by_alias=True))


def apply_change(engine: VectorEngine, change: Items | list[str]) -> None:
    """Apply a change of the log to an engine."""
    if isinstance(change, list):
        engine.delete(change)
    else:
        engine.upsert(points_of(change, engine.settings))


def points_of(items: Items, settings: EngineSettings) -> Points:
    """Items as an engine takes them."""
    vectors: dict[Any, Float32[np.ndarray, "n d"]] = {"image": items.image}
    if "text" in settings.dims and items.text is not None:
        vectors["text"] = items.text
    return Points(items.table["id"].to_list(), vectors, items.table.select(list(settings.schema)))


def fill_engine(engine: VectorEngine, log: ChangeLog, live: pl.DataFrame) -> None:
    """Put all live items of a log into an engine."""
    with progress.task("Filling the engine", live.height, "items") as advance:
        for items in pieces(log, live):
            engine.upsert(points_of(items, engine.settings))
            advance(len(items))
    engine.flush()


def pieces(log: ChangeLog, live: pl.DataFrame, rows: int = ROWS_AT_ONCE) -> Iterator[Items]:
    """Live items in pieces, each of one change."""
    ordered = live.sort(SEGMENT, "_row")
    for (_,), some in ordered.group_by(SEGMENT, maintain_order=True):
        for start in range(0, some.height, rows):
            yield log.items_of(some.slice(start, rows))


def mean_of(generation: Generation) -> Float32[np.ndarray, "d"]:
    """The mean of the unit vectors of all live items."""
    total = np.zeros(generation.info.space.embedding_dim, np.float64)
    for items in pieces(generation.log, generation.live):
        total += unit_vectors(items.image).sum(axis=0, dtype=np.float64)
    return (total / max(1, generation.live.height)).astype(np.float32)
