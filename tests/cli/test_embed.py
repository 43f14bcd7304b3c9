from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.commands.embed import embed
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.embeddings.store import EmbeddingFolder, read_embeddings
from shopsight.errors import EmbeddingError
from tests.helpers import Shopsight
from tests.search.vectors import SeededEmbedder, drawn

LITE0 = "embedded:tf_efficientnet_lite0"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw_catalog(tmp_path / "photos", products_per_class=1)
    return tmp_path / "photos"


def test_embeddings_have_ids_vectors_and_their_space(
    shopsight: Shopsight, photos: Path, tmp_path: Path
) -> None:
    shown = shopsight("embed", LITE0, photos, "--out", tmp_path / "vectors", "--json")
    assert shown.code == 0, shown.err
    found = read_embeddings(tmp_path / "vectors")
    assert found.table.height == len(open_catalog(photos))
    assert found.vectors.shape == (found.table.height, 1280)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert found.space.backbone == LITE0
    assert f'"space": "{found.space.fingerprint}"' in shown.out
    again = shopsight("embed", LITE0, photos, "--out", tmp_path / "vectors.npz")
    assert again.code == 0, again.err
    stored = read_embeddings(tmp_path / "vectors.npz")
    assert stored.space == found.space
    order = [stored.table["id"].to_list().index(item) for item in found.table["id"]]
    np.testing.assert_allclose(stored.vectors[order], found.vectors, atol=1e-6)
    assert not (tmp_path / "vectors.npz.shards").exists()


def test_only_what_is_missing_changed_or_failed_is_embedded(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.jpg"))
    whole = files[0].read_bytes()
    files[0].write_bytes(b"")
    shutil.copyfile(files[1], files[1].with_name("copy.jpg"))
    out = tmp_path / "vectors"
    first = SeededEmbedder()
    done = embed(first, photos, out=out)
    assert list(done.counts.failed) == [files[0].relative_to(photos).as_posix()]
    assert len(first.seen) == len(files) - 1  # The copy is embedded with its original.
    assert done.counts.embedded == len(files)
    listed = pl.read_csv(out / "failed.csv")
    assert listed["id"].to_list() == list(done.counts.failed)
    files[0].write_bytes(whole)
    files[2].write_bytes(files[3].read_bytes())
    second = SeededEmbedder()
    again = embed(second, photos, out=out)
    assert sorted(second.seen) == sorted([str(files[0]), str(files[2])])
    assert again.counts.kept == len(files) - 1
    assert not (out / "failed.csv").exists()
    found = EmbeddingFolder(out).read()
    vectors = dict(zip(found.table["id"].to_list(), found.vectors, strict=True))
    name = files[2].relative_to(photos).as_posix()
    np.testing.assert_allclose(vectors[name], drawn(b"a" + files[3].read_bytes()), atol=1e-6)


@pytest.mark.parametrize("name", ["vectors", "vectors.npz"])
def test_spaces_are_not_mixed(photos: Path, tmp_path: Path, name: str) -> None:
    embed(SeededEmbedder("a"), photos, out=tmp_path / name)
    with pytest.raises(EmbeddingError, match="another space"):
        embed(SeededEmbedder("b"), photos, out=tmp_path / name)


def test_a_finished_file_is_taken_up(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.jpg"))
    whole = files[0].read_bytes()
    files[0].write_bytes(b"")
    first = embed(SeededEmbedder(), photos, out=tmp_path / "vectors.npz")
    failed = pl.read_csv(tmp_path / "vectors.npz.failed.csv")
    assert failed["id"].to_list() == list(first.counts.failed)
    files[0].write_bytes(whole)
    again = SeededEmbedder()
    embed(again, photos, out=tmp_path / "vectors.npz")
    assert again.seen == [str(files[0])]
    assert read_embeddings(tmp_path / "vectors.npz").table.height == len(files)
    assert not (tmp_path / "vectors.npz.failed.csv").exists()


def test_another_box_is_another_image(photos: Path, tmp_path: Path) -> None:
    (file, *_) = sorted(photos.rglob("*.jpg"))
    name = file.relative_to(photos).as_posix()

    def table(x: int) -> Path:
        row = {"image": name, "box_x": x, "box_y": 0, "box_w": 40, "box_h": 40}
        pl.DataFrame([row]).write_csv(photos / "boxes.csv")
        return photos / "boxes.csv"

    embed(SeededEmbedder(boxes=True), table(0), out=tmp_path / "vectors")
    moved = SeededEmbedder(boxes=True)
    embed(moved, table(30), out=tmp_path / "vectors")
    assert len(moved.seen) == 1
    same = SeededEmbedder(boxes=True)
    embed(same, table(30), out=tmp_path / "vectors")
    assert same.seen == []


def test_what_is_no_embedding_is_refused(
    shopsight: Shopsight, photos: Path, tmp_path: Path
) -> None:
    shown = shopsight("embed", LITE0, photos, "--out", tmp_path / "vectors.txt")
    assert shown.code == 2
    assert "ends in .npz" in shown.err
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(EmbeddingError, match="no embeddings that shopsight wrote"):
        read_embeddings(tmp_path / "other.npz")
    with pytest.raises(EmbeddingError, match="no embeddings there"):
        read_embeddings(tmp_path / "nowhere")
