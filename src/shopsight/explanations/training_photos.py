"""The training photos that are most like an image: what the network takes it for.

They are found by the cosine of embeddings, among the kept features of a run, a folder of
embeddings, or an index. A file that holds the very image does not count: that it is like itself
says nothing. What labels such a file has is said apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.bundle.embedding_space import EmbeddingSpace, check_same_space
from shopsight.catalog.row_thumbnail import image_thumbnail
from shopsight.embeddings.store import EmbeddingFolder, read_embeddings
from shopsight.errors import ConfigError
from shopsight.inference.predictor import Predictor
from shopsight.io.access import Access
from shopsight.io.confinement import real_root
from shopsight.metrics.nearest import nearest_of_other_families
from shopsight.paths import is_full, join
from shopsight.runs.discover import run_of
from shopsight.runs.run_folder import RunFolder
from shopsight.search.index import Index, open_index
from shopsight.search.index_folder import IndexFolder
from shopsight.text import command_line, count_text

SHOWN = 5
SIDE_PX = 132
_OWN_FILE = 0


@dataclass(frozen=True)
class Neighbor:
    """A training photo.

    Attributes:
        name: as its catalog names it.
        label: its label or labels; empty where none is known.
        similarity: cosine of the embeddings; 1 is the same direction.
        image: a thumbnail as a data URI; empty where it cannot be read now.
    """

    name: str
    label: str
    similarity: float
    image: str = ""


@dataclass(frozen=True)
class Nearest:
    """What the training photos say of an image.

    Attributes:
        photos: the most similar ones of other files, best first.
        own_labels: labels that the very file has among the training photos; empty where it is none.
    """

    photos: tuple[Neighbor, ...] = ()
    own_labels: tuple[str, ...] = ()


@runtime_checkable
class TrainingPhotos(Protocol):
    """Where neighbors are looked for."""

    @property
    def about(self) -> str:
        """What they are, for people."""
        ...

    def nearest(self, vector: Float32[np.ndarray, "d"], sha256: str) -> Nearest:
        """The photos that are most like an image.

        Args:
            vector: its embedding, of unit length.
            sha256: of its file.
        """
        ...


class KeptVectors:
    """Training photos whose embeddings are in memory.

    Args:
        about: what they are.
        vectors: unit vectors, n of them.
        table: `name`, `label` and `sha256` of each.
        thumbnail_of: the thumbnail of a row.
    """

    def __init__(
        self,
        about: str,
        vectors: Float32[np.ndarray, "n d"],
        table: pl.DataFrame,
        thumbnail_of: Callable[[int], str],
    ) -> None:
        self.about = about
        self._vectors = vectors
        self._table = table
        self._thumbnail_of = thumbnail_of

    def nearest(self, vector: Float32[np.ndarray, "d"], sha256: str) -> Nearest:
        """See `TrainingPhotos`."""
        own = self._table["sha256"].eq_missing(sha256).to_numpy()
        found = nearest_of_other_families(
            vector[None],
            self._vectors,
            query_family=np.array([_OWN_FILE]),
            gallery_family=np.where(own, _OWN_FILE, 1),
            k=SHOWN,
        )[0]
        rows = [row for row in found.tolist() if row >= 0]
        names, labels = self._table["name"], self._table["label"]
        photos = tuple(
            Neighbor(
                names[row],
                labels[row] or "",
                float(self._vectors[row] @ vector),
                self._thumbnail_of(row),
            )
            for row in rows
        )
        return Nearest(photos, _distinct(labels.filter(pl.Series(own)).to_list()))


class IndexedPhotos:
    """The photos of an index that is open.

    Args:
        about: what they are.
        index: the index.
    """

    def __init__(self, about: str, index: Index) -> None:
        self.about = about
        self._index = index
        kept = [name for name in ("label", "sha256") if name in index.generation.live.columns]
        self._items = index.generation.live.select("id", *kept)

    def nearest(self, vector: Float32[np.ndarray, "d"], sha256: str) -> Nearest:
        """See `TrainingPhotos`."""
        own = self._items.head(0)
        if "sha256" in self._items.columns:
            own = self._items.filter(pl.col("sha256") == sha256)
        left_out = set(own["id"])
        hits = self._index.query(vector[None], limit=SHOWN + len(left_out))[0]
        photos = tuple(
            Neighbor(
                hit.id,
                _text(hit.columns.get("label")),
                float(hit.score),
                self._index.thumbnail(hit.id, side_px=SIDE_PX),
            )
            for hit in hits
            if hit.id not in left_out
        )
        labels = own["label"].to_list() if "label" in own.columns else [""] * own.height
        return Nearest(photos[:SHOWN], _distinct([_text(one) for one in labels]))


@contextmanager
def open_training_photos(
    place: str | Path, predictor: Predictor, *, allow_outside: bool = False
) -> Iterator[TrainingPhotos]:
    """Open what a model learned from, or whatever else images shall be compared with.

    Args:
        place: a finished run, a folder or file of embeddings, or an index.
        predictor: the model; the embeddings must be of its space.
        allow_outside: embeddings may name photos anywhere on this machine; else only those are
            shown that lie in the folder in which the embeddings are, or below it.

    Raises:
        ConfigError: `place` is none of these.
        EmbeddingError: it holds embeddings of another space.
        SearchError: the index cannot be opened.
        ImageError: an image of the run whose features are not kept cannot be read.
    """
    path = Path(place)
    if IndexFolder(path).exists():
        with open_index(path) as index:
            check_space(index.info.space, predictor, place)
            yield IndexedPhotos(f"{count_text(len(index))} photos of {path.name}", index)
    elif path.suffix == ".npz" or EmbeddingFolder(path).exists():
        yield _of_embeddings(path, predictor, allow_outside=allow_outside)
    elif RunFolder(path).exists() and RunFolder(path).has_model():
        # Its features are kept by torch.
        from shopsight.explanations.run_photos import of_run

        yield of_run(RunFolder(path), predictor)
    else:
        raise ConfigError(
            "is neither a finished run nor embeddings nor an index",
            where=str(place),
            fix="name the run whose training photos are to be compared with the images",
        )


def own_run(model: str | Path) -> Path | None:
    """The finished run that a model lies in; None of a bundle elsewhere."""
    run = run_of(model)
    return None if run is None or not run.has_model() else run.path


def _of_embeddings(path: Path, predictor: Predictor, *, allow_outside: bool) -> TrainingPhotos:
    found = read_embeddings(path)
    check_space(found.space, predictor, path)
    table = found.table
    label = table["label"] if "label" in table.columns else pl.Series([None] * table.height)
    shown = pl.DataFrame(
        {
            "name": table["id"],
            "label": label.cast(pl.String),
            # The content of a box has its corners behind the hash.
            "sha256": table["content"].str.split("#").list.first(),
        }
    )
    about = f"{count_text(table.height)} photos of {path.name}"
    beside = path.absolute().parent
    data = "" if path.suffix == ".npz" else str(EmbeddingFolder(path).about().get("data", ""))
    root = data if is_full(data) else str(beside / data)
    # Whoever wrote the file may have named any folder of this machine.
    access = Access(roots=None if allow_outside else (real_root(str(beside)),))

    def thumbnail_of(row: int) -> str:
        name = shown["name"][row]
        ref = name if is_full(name) else join(root, name)
        return image_thumbnail(ref, access, None, side_px=SIDE_PX)

    return KeptVectors(about, found.vectors, shown, thumbnail_of)


def check_space(space: EmbeddingSpace, predictor: Predictor, place: str | Path) -> None:
    """Refuse photos whose embeddings do not compare with a model's.

    Args:
        space: theirs.
        predictor: the model.
        place: where they are.

    Raises:
        EmbeddingError: they are of another space.
    """
    check_same_space(
        predictor.info.space,
        space,
        where=str(place),
        embeds_into=predictor.info.embeds_into,
        fix=command_line(["shopsight", "embed", "MODEL", "DATA", "--out", "EMBEDDINGS"])
        + "   (then --train EMBEDDINGS)",
    )


def _text(label: object) -> str:
    if isinstance(label, list):
        return " | ".join(map(str, label))
    return "" if label is None else str(label)


def _distinct(labels: Sequence[str | None]) -> tuple[str, ...]:
    """Each label once, in order; of files without a label that there is such a file."""
    return tuple(dict.fromkeys(one or "no label" for one in labels))
