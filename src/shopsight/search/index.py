"""An index that is open: what searches and changes go through.

One process owns an index while it has it open; its lock says which. Everything that changes it goes
through `writing`, one after another; queries may come from any thread.
"""

from __future__ import annotations

import difflib
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight import paths, progress
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import image_thumbnail
from shopsight.errors import LockedError, ReadOnlyError, SearchError
from shopsight.images.model_input import Box
from shopsight.inference.embedder import Embedder
from shopsight.inference.image_stream import NamedImage
from shopsight.io.access import Access
from shopsight.output_locks import only_writer_of_folder
from shopsight.search.change_log import ROW, SEGMENT
from shopsight.search.generation import OWN_COLUMNS, Generation, GenerationInfo
from shopsight.search.index_folder import IndexFolder, Source
from shopsight.search.index_precision import check_query_precision, is_measured
from shopsight.text import as_unicode, command_line
from shopsight.vector_engines.engine import Hit, VectorName
from shopsight.vector_engines.filters import Filter, Schema


@contextmanager
def open_index(folder: Path | str, *, device: str = "auto") -> Iterator[Index]:
    """Open an index as its owner, for as long as the block lasts.

    Args:
        folder: of the index.
        device: for the model, which is opened when it is first needed.

    Raises:
        SearchError: there is no index, it was never finished, or is damaged.
        LockedError: another process has it open; the error says which.
        ReadOnlyError: the block changes an index that this user may not write.
    """
    place = IndexFolder(folder)
    number = place.current()
    with _copy_offered(place.path), only_writer_of_folder(place.path):
        number = place.current()
        place.sweep(current=number)
        index = Index(place, place.generation(number), number, device=device)
        try:
            yield index
        finally:
            index.close()


@contextmanager
def _copy_offered(folder: Path) -> Iterator[None]:
    """Name a copy as the next step where an index is another process's, or cannot be written."""
    copied = command_line(["shopsight", "index", "snapshot", folder, "--out", "COPY"])
    try:
        yield
    except LockedError as error:
        if error.where != str(folder):
            raise
        fix = f"{error.fix}\n{copied}   (then search the copy)"
        raise LockedError(error.what, where=error.where, details=error.details, fix=fix) from None
    except ReadOnlyError as error:
        if error.where is None or not Path(error.where).is_relative_to(folder):
            raise
        fix = f"{copied}   (then change the copy)"
        if error.fix is not None and copied in error.fix:
            fix = error.fix
        raise ReadOnlyError(
            error.what, where=str(folder), details=error.details, fix=fix
        ) from error


class Index:
    """An open index. See `open_index`.

    Args:
        folder: its files.
        generation: that is searched.
        number: of that generation.
        device: for the model.
    """

    def __init__(
        self, folder: IndexFolder, generation: Generation, number: int, *, device: str = "auto"
    ) -> None:
        self.folder = folder
        self.writing = threading.RLock()
        self._generation = generation
        self._number = number
        self._device = device
        self._embedder: Embedder | None = None
        self._sources: dict[str, Source] | None = None
        self._readers: dict[int, int] = {}
        self._readers_changed = threading.Condition()

    @property
    def generation(self) -> Generation:
        """The one that is searched."""
        return self._generation

    @property
    def number(self) -> int:
        """Of the generation that is searched."""
        return self._number

    @property
    def info(self) -> GenerationInfo:
        """What does not change while the generation lives."""
        return self._generation.info

    @property
    def schema(self) -> Schema:
        """What can be filtered by."""
        return {**OWN_COLUMNS, **self.info.schema_}

    @property
    def unit(self) -> str:
        """What an answer consists of: "product" where items show products, else "image"."""
        return "product" if self._generation.live["product"].null_count() < len(self) else "image"

    @property
    def num_products(self) -> int:
        """Products that the items show; 0 where none is known."""
        return self._generation.num_products

    @property
    def center(self) -> Float32[np.ndarray, "d"]:
        """The mean of the unit vectors when the generation was built."""
        return self._generation.center

    @property
    def has_boxes(self) -> bool:
        """Whether its items are parts of images, in boxes."""
        return self.info.space.preprocess.boxes

    def __len__(self) -> int:
        return self._generation.live.height

    def embedder(self) -> Embedder:
        """The model, opened when it is first needed and checked against the space.

        It computes in the fastest precision of which is known what the search loses by it, else in
        that in which the index was built.

        Raises:
            EmbeddingError: it computes another space now than when the index was built.
            ShopsightError: it cannot be opened.
        """
        if self._embedder is None:
            from shopsight.inference.open_embedder import open_embedder

            info = self.info
            again = partial(
                open_embedder,
                info.model,
                device=self._device,
                resize=info.resize,
                boxes=self.has_boxes,
            )
            opened = again()
            if info.precision is not None and not is_measured(info, opened):
                opened = again(precision=info.precision)
            self.use(opened)
        assert self._embedder is not None
        return self._embedder

    def use(self, embedder: Embedder) -> None:
        """Have queries embedded by this model.

        Raises:
            EmbeddingError: it is of another space, and declares nothing about the index's; or what
                its precision loses in the index was not measured.
        """
        declared = check_query_precision(self.info, embedder, where=str(self.folder.path))
        if declared is not None:
            progress.notify(declared.line(f"{embedder.name} ({embedder.engine_name})"))
        self._embedder = embedder

    def items(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The items, one row each, sorted by id: `id` and these columns, or all."""
        table = self._generation.live.drop(SEGMENT, ROW)
        return table if columns is None else table.select(list(dict.fromkeys(["id", *columns])))

    def vectors(
        self, ids: Sequence[str] | None = None, *, vector: VectorName = "image"
    ) -> Float32[np.ndarray, "n d"]:
        """Unit vectors from the files of truth, in the order of `ids` or of `items`."""
        live = self._generation.live
        if ids is not None:
            live = pl.DataFrame({"id": list(ids)}, {"id": pl.String}).join(
                live.select("id", SEGMENT, ROW), on="id", how="left", maintain_order="left"
            )
            missing = live.filter(pl.col(ROW).is_null())["id"].to_list()
            if missing:
                raise SearchError("no such items", details=missing, where=str(self.folder.path))
        return self._generation.log.vectors(live, vector=vector)

    def query(
        self,
        vectors: Float32[np.ndarray, "q d"],
        *,
        limit: int,
        where: Filter | None = None,
        vector: VectorName = "image",
        exact: bool = False,
    ) -> list[list[Hit]]:
        """The nearest items of each query, best first; see `VectorEngine.query`."""
        with self._reading() as generation:
            return generation.engine.query(
                vectors, limit=limit, where=where, vector=vector, exact=exact
            )

    def resolve(self, name: str) -> tuple[str, ...]:
        """The ids of an item, or of all items of a product.

        Raises:
            SearchError: there is neither, or there are both.
        """
        live = self._generation.live
        name = unicodedata.normalize("NFC", as_unicode(name))
        as_item = live.filter(pl.col("id") == name)["id"].to_list()
        as_product = live.filter(pl.col("product") == name)["id"].to_list()
        if as_item and as_product and as_item != as_product:
            raise SearchError(
                f"{name!r} is an item and a product of {len(as_product)} others",
                where=str(self.folder.path),
                details=as_product,
                fix="name the id of one of its items",
            )
        if as_item or as_product:
            return tuple(as_item or as_product)
        raise self._unknown(name)

    def _unknown(self, name: str) -> SearchError:
        live = self._generation.live
        names = [*live["product"].drop_nulls().unique().to_list(), *live["id"].to_list()]
        # Comparing with millions of names would take minutes.
        near = difflib.get_close_matches(name, names[:50_000], n=3, cutoff=0.6)
        return SearchError(
            f"neither an item nor a product is called {name!r}",
            where=str(self.folder.path),
            details=[f"did you mean {one}?" for one in near],
            fix=command_line(["shopsight", "index", "info", self.folder.path, "--items"]),
        )

    def add_source(self, catalog: Catalog) -> None:
        """Remember where a catalog's images lie, before its items are written."""
        self.folder.add_source(catalog)
        self._sources = None

    def named_image(self, item: str) -> NamedImage:
        """The image of an item, as `predict` and `embed` take it."""
        row = self._generation.live.row(by_predicate=pl.col("id") == item, named=True)
        return self.named_images(pl.DataFrame([row], schema=self._generation.live.schema))[0]

    def named_images(self, items: pl.DataFrame) -> list[NamedImage]:
        """The images of items, given as rows of `items()`."""
        sources = self._sources
        if sources is None:
            sources = self._sources = self.folder.sources()
        found = []
        columns = ["source", "image", "box_x", "box_y", "box_w", "box_h"]
        for source, image, *corners in items.select(columns).iter_rows():
            known = sources.get(source)
            access = Access(roots=()) if known is None else known.access
            path = image if paths.is_full(image) else paths.join(source, image)
            box = None if corners[0] is None else Box(*corners)
            boxed: Literal["no", "asked"] = "no" if box is None else "asked"
            found.append(NamedImage(path, path, access, box, boxed=boxed))
        return found

    def thumbnail(self, item: str, *, side_px: int = 160) -> str:
        """The image of an item as a data URI, cut to its box; empty where it cannot be read."""
        one = self.named_image(item)
        return image_thumbnail(str(one.image), one.access, one.box, side_px=side_px)

    @contextmanager
    def _reading(self) -> Iterator[Generation]:
        """The generation that is searched, which stays open for as long as the block lasts."""
        with self._readers_changed:
            generation = self._generation
            self._readers[id(generation)] = self._readers.get(id(generation), 0) + 1
        try:
            yield generation
        finally:
            with self._readers_changed:
                self._readers[id(generation)] -= 1
                self._readers_changed.notify_all()

    def swap(self, number: int) -> None:
        """Search another generation from now on, and remove the one before.

        New searches go to the new one at once; the old one is closed when the last search that
        began there has ended.
        """
        new = self.folder.generation(number)
        new.engine.flush()
        self.folder.set_current(number)
        with self._readers_changed:
            old, self._generation, self._number = self._generation, new, number
            if (old.info.space, old.info.precision) != (new.info.space, new.info.precision):
                self._embedder = None
            self._readers_changed.wait_for(lambda: not self._readers.get(id(old), 0))
        old.close()
        self.folder.sweep(current=number)

    def close(self) -> None:
        """Let go of the files."""
        self._generation.close()
