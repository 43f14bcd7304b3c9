"""Embeddings on disk: a folder of Parquet shards, or one `.npz` file.

    embeddings.json      the embedding space, the model, the data
    shard-00001.parquet  id, product, label, content, vector (a list of float32 of fixed width)
    failed.csv           images without an embedding, and why

A shard is written aside, flushed and renamed, so that what is there is whole. Which items are done
is read from the shards themselves: no other file could be right where they are wrong. `content` is
the hash of the file, and the box in it where there is one: what the vector depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32
from pydantic import ValidationError

from shopsight.bundle.embedding_space import EmbeddingSpace
from shopsight.errors import EmbeddingError, ShopsightError, first_line
from shopsight.files import atomic_file, make_folder, write_json
from shopsight.held_files import remove_file
from shopsight.io.arrays import read_arrays
from shopsight.io.json_files import read_json
from shopsight.io.parquet import read_parquet
from shopsight.paths import is_file
from shopsight.spreadsheets import for_reading

ABOUT_FILE, FAILED_FILE = "embeddings.json", "failed.csv"
FORMAT_VERSION = 1
COLUMNS = ("id", "product", "label", "content")
MOST_NPZ_BYTES = 16 << 30


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings that were read, n of them.

    Attributes:
        space: that they are in.
        table: `id` and `content`, and `product` and `label` where they are known.
        vectors: unit vectors, in the table's order.
    """

    space: EmbeddingSpace
    table: pl.DataFrame
    vectors: Float32[np.ndarray, "n d"]


class EmbeddingFolder:
    """A folder of shards.

    Args:
        path: it need not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        """Whether there are embeddings, finished or not."""
        return is_file(self.path / ABOUT_FILE)

    def create(self, space: EmbeddingSpace, *, model: str, data: str) -> None:
        """Say what the shards will be of."""
        make_folder(self.path)
        about = {"format_version": FORMAT_VERSION, "model": model, "data": data}
        write_json(self.path / ABOUT_FILE, {**about, "space": space.model_dump(mode="json")})

    def about(self) -> dict[str, Any]:
        """The content of embeddings.json.

        Raises:
            EmbeddingError: it is not there, damaged, or of another format.
        """
        file = self.path / ABOUT_FILE
        if not file.is_file():
            raise EmbeddingError(
                "no embeddings there",
                where=str(self.path),
                fix=f"shopsight embed MODEL DATA --out {self.path}",
            )
        about = dict(read_json(file))
        if about.get("format_version") != FORMAT_VERSION:
            raise EmbeddingError(
                f"embeddings of format {about.get('format_version')!r}; this shopsight reads "
                f"format {FORMAT_VERSION}",
                where=str(file),
            )
        return about

    def space(self) -> EmbeddingSpace:
        """The space of the vectors.

        Raises:
            EmbeddingError: it cannot be read.
        """
        return _space(self.about().get("space"), self.path / ABOUT_FILE)

    def shards(self) -> list[Path]:
        """The shards, in the order in which they were written."""
        found = self.path.glob("shard-*.parquet")
        return sorted(found, key=_number)

    def done(self) -> pl.DataFrame:
        """Ids and contents of what has an embedding; the last one of an id counts."""
        tables = [read_parquet(shard, columns=["id", "content"]) for shard in self.shards()]
        if not tables:
            return pl.DataFrame(schema={"id": pl.String, "content": pl.String})
        return pl.concat(tables).unique("id", keep="last", maintain_order=True)

    def write(self, table: pl.DataFrame, vectors: Float32[np.ndarray, "n d"]) -> None:
        """Write a shard; on the disk when this returns.

        Args:
            table: `COLUMNS`.
            vectors: unit vectors, in the table's order.
        """
        # Not their count: somebody may have removed one.
        number = max(map(_number, self.shards()), default=0) + 1
        width = vectors.shape[1]
        whole = table.select(COLUMNS).with_columns(
            pl.Series("vector", vectors.astype(np.float32), pl.Array(pl.Float32, width))
        )
        path = self.path / f"shard-{number:05d}.parquet"
        with atomic_file(path, needed_bytes=4 * vectors.size) as part:
            whole.write_parquet(part)

    def write_failed(self, failed: dict[str, str]) -> None:
        """List the images without an embedding; without any, no list."""
        write_failed(self.path / FAILED_FILE, failed)

    def read(self) -> Embeddings:
        """All embeddings; the last one of an id counts.

        Raises:
            EmbeddingError: a shard is damaged, or of another width.
        """
        space, tables = self.space(), []
        for shard in self.shards():
            table = read_parquet(shard)
            if table.schema.get("vector") != pl.Array(pl.Float32, space.embedding_dim):
                raise EmbeddingError(
                    f"holds no vectors of {space.embedding_dim:,} numbers", where=str(shard)
                )
            tables.append(table)
        if not tables:
            raise EmbeddingError("no embeddings there yet", where=str(self.path))
        whole = pl.concat(tables).unique("id", keep="last", maintain_order=True)
        return Embeddings(space, whole.drop("vector"), whole["vector"].to_numpy())


def write_failed(path: Path, failed: dict[str, str]) -> None:
    """List images without an embedding, by id with the reason; without any, no list."""
    if not failed:
        remove_file(path)
        return
    table = pl.DataFrame({"id": list(failed), "reason": list(failed.values())})
    with atomic_file(path) as part:
        for_reading(table).write_csv(part)


def write_npz(path: Path, found: Embeddings) -> None:
    """Write embeddings as one file: `vectors`, and lines of `ids` and `contents` in UTF-8."""
    ids = "\n".join(found.table["id"].to_list()).encode()
    contents = "\n".join(found.table["content"].to_list()).encode()
    space = found.space.model_dump_json().encode()
    with atomic_file(path, needed_bytes=found.vectors.nbytes) as part, part.open("wb") as file:
        np.savez(
            file,
            vectors=found.vectors,
            ids=np.frombuffer(ids, np.uint8),
            contents=np.frombuffer(contents, np.uint8),
            space=np.frombuffer(space, np.uint8),
        )


def read_npz(path: Path | str) -> Embeddings:
    """Read what `write_npz` wrote.

    Raises:
        EmbeddingError: it is another file, or damaged.
    """
    try:
        arrays = read_arrays(path, most_bytes=MOST_NPZ_BYTES)
        space = EmbeddingSpace.model_validate_json(arrays["space"].tobytes())
        ids = arrays["ids"].tobytes().decode().split("\n")
        contents = arrays["contents"].tobytes().decode().split("\n")
        vectors = np.asarray(arrays["vectors"], np.float32)
    except (KeyError, ValidationError, UnicodeDecodeError, ShopsightError, OSError) as error:
        raise EmbeddingError(
            f"no embeddings that shopsight wrote: {first_line(error)}", where=str(path)
        ) from error
    if vectors.shape != (len(ids), space.embedding_dim) or len(contents) != len(ids):
        raise EmbeddingError(
            f"{len(ids)} ids and vectors of shape {vectors.shape}", where=str(path)
        )
    return Embeddings(space, pl.DataFrame({"id": ids, "content": contents}), vectors)


def read_embeddings(path: Path | str) -> Embeddings:
    """Read a folder of shards or an `.npz` file.

    Raises:
        EmbeddingError: there is neither.
    """
    return read_npz(path) if Path(path).suffix == ".npz" else EmbeddingFolder(path).read()


def _number(shard: Path) -> int:
    return int(shard.stem.partition("-")[2])


def _space(kept: Any, where: Path) -> EmbeddingSpace:
    try:
        return EmbeddingSpace.model_validate(kept)
    except ValidationError as error:
        raise EmbeddingError(
            f"its embedding space cannot be read: {first_line(error)}", where=str(where)
        ) from error
