"""Embed: a unit vector for each image, in a folder or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.bundle.embedding_space import check_same_space
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import FOR_BACKBONE, with_used_boxes
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.embeddings.embed_catalog import EmbedCounts, embed_catalog
from shopsight.embeddings.runner import LOCAL, Runner, opened_by
from shopsight.embeddings.store import (
    EmbeddingFolder,
    Embeddings,
    read_npz,
    write_failed,
    write_npz,
)
from shopsight.errors import ConfigError
from shopsight.files import discard_folder
from shopsight.inference.embedder import Embedder
from shopsight.inference.engine import PrecisionChoice
from shopsight.output_locks import only_writer_of_file, only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.preprocess import Resize
from shopsight.progress import notify
from shopsight.read_options import ReadOptions

SHARDS_SUFFIX, FAILED_SUFFIX = ".shards", ".failed.csv"


@dataclass(frozen=True)
class EmbedResult:
    """What was embedded.

    Attributes:
        out: the folder or the file.
        counts: of images.
        embedding_dim: numbers in a vector.
        space: fingerprint of the embedding space.
        engine: what computed, e.g. "torch on cpu, 32".
    """

    out: Path
    counts: EmbedCounts
    embedding_dim: int
    space: str
    engine: str

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "out": str(self.out),
            "embedded": self.counts.embedded,
            "kept": self.counts.kept,
            "failed": self.counts.failed,
            "embedding_dim": self.embedding_dim,
            "space": self.space,
            "engine": self.engine,
        }


def embed(
    model: str | Path | Embedder,
    data: str | Path | Catalog,
    *,
    out: str | Path,
    read: ReadOptions | None = None,
    resize: Resize | None = None,
    boxes: bool = False,
    batch_size: int | None = None,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    runner: Runner = LOCAL,
) -> EmbedResult:
    """Embed the images of DATA: unit vectors by string ids, with the space that they are in.

    Each distinct image is embedded once. Called again, it goes on where it stopped: only what is
    not in `out` yet is embedded, and what failed before.

    Args:
        model: a run, a bundle, or a backbone by name; nothing has to be trained.
        data: a folder, a table, the name of a data set, or a catalog.
        out: a folder of Parquet shards, or an .npz file.
        read: how DATA is read; None guesses everything.
        resize: of a backbone, how an image becomes a square; None is how its library does it.
        boxes: of a backbone, look at the part of each image in its box; what was trained looks as
            it was trained, and boxes that it does not look at are said.
        batch_size: images that the model sees at once; None is its own choice.
        device: see `shopsight.devices`.
        precision: "auto" is the fastest whose embeddings stay near those of fp32.
        runner: who embeds: this process, or the workers of a Ray cluster. The vectors are the same.

    Raises:
        EmbeddingError: `out` holds embeddings of another space, or no cluster answers.
        CatalogError: DATA cannot be read, or two rows have one id.
        LockedError: another process writes `out`.
        WriteError: there is too little room on the disk.
    """
    out = Path(out)
    check_output_path(out if out.suffix == ".npz" else out / "embeddings.json")
    refuse_output_over_data(data, out)
    if out.suffix and out.suffix != ".npz" and not out.is_dir():
        raise ConfigError(
            f"embeddings are not written as {out.suffix!r}",
            where=str(out),
            fix="name a folder, or a file that ends in .npz",
        )
    catalog = open_catalog(data, read)
    opened = opened_by(
        runner, model, device=device, precision=precision, resize=resize, boxes=boxes
    )
    with opened as embedder:
        catalog = with_used_boxes(catalog, used=embedder.preprocess.boxes, how=FOR_BACKBONE)
        if out.suffix == ".npz":
            counts = _as_npz(embedder, catalog, out, batch_size)
        else:
            folder = EmbeddingFolder(out)
            with only_writer_of_folder(out):
                counts = embed_catalog(embedder, catalog, folder, batch_size=batch_size)
        space, engine = embedder.space, embedder.engine_name
    return EmbedResult(out, counts, space.embedding_dim, space.fingerprint, engine)


def _as_npz(embedder: Embedder, catalog: Catalog, out: Path, batch_size: int | None) -> EmbedCounts:
    """Shards beside the file until it is whole, so that an interrupted call goes on."""
    folder = EmbeddingFolder(out.with_name(out.name + SHARDS_SUFFIX))
    with only_writer_of_file(out):
        if out.is_file() and not folder.exists():
            _begin_from(read_npz(out), embedder, catalog, folder, out)
        counts = embed_catalog(embedder, catalog, folder, batch_size=batch_size)
        write_npz(out, folder.read())
        write_failed(out.with_name(out.name + FAILED_SUFFIX), counts.failed)
        discard_folder(folder.path)
    return counts


def _begin_from(
    before: Embeddings, embedder: Embedder, catalog: Catalog, folder: EmbeddingFolder, out: Path
) -> None:
    """Take up what a finished file holds.

    Raises:
        EmbeddingError: it is of another space.
    """
    declared = check_same_space(
        embedder.space,
        before.space,
        where=str(out),
        embeds_into=embedder.embeds_into,
        fix="name another file",
    )
    if declared is not None:
        notify(declared.line(embedder.name))
    folder.create(before.space, model=str(embedder.name), data=catalog.name)
    none = pl.lit(None, pl.String)
    folder.write(before.table.with_columns(product=none, label=none), before.vectors)
