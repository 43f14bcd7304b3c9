from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from shopsight.embeddings.store import EmbeddingFolder
from tests.search.vectors import DIM, drawn, space


def rows(*ids: str) -> tuple[pl.DataFrame, np.ndarray]:
    table = pl.DataFrame({"id": ids, "product": ids, "label": ids, "content": ids})
    return table, np.stack([drawn(one.encode()) for one in ids])


def test_a_shard_that_is_removed_costs_its_own_rows_alone(tmp_path: Path) -> None:
    folder = EmbeddingFolder(tmp_path / "embeddings")
    folder.create(space(), model="a", data="photos")
    for one in ("a", "b", "c"):
        folder.write(*rows(one))
    folder.shards()[0].unlink()
    assert folder.done()["id"].to_list() == ["b", "c"]
    folder.write(*rows("a"))
    found = folder.read()
    assert found.table["id"].to_list() == ["b", "c", "a"]
    assert found.vectors.shape == (3, DIM)
    np.testing.assert_allclose(found.vectors[2], drawn(b"a"), atol=1e-6)


def test_the_last_embedding_of_an_id_counts(tmp_path: Path) -> None:
    folder = EmbeddingFolder(tmp_path / "embeddings")
    folder.create(space(), model="a", data="photos")
    folder.write(*rows("a", "b"))
    table, vectors = rows("a")
    folder.write(table.with_columns(content=pl.lit("anew")), -vectors)
    assert sorted(folder.done().rows()) == [("a", "anew"), ("b", "b")]
    found = folder.read()
    row = found.table["id"].to_list().index("a")
    np.testing.assert_allclose(found.vectors[row], -drawn(b"a"), atol=1e-6)
