from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from shopsight.audit.row_decisions import dropped_rows
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.synthetic import draw_catalog, draw_product
from shopsight.images.thumbnails import thumb
from shopsight.inference.embedder import Embedder
from shopsight.inference.open_embedder import DEFAULT_MODEL, open_embedder
from shopsight.search.duplicate_pairs import (
    FEWEST_KNOWN,
    are_color_variants,
    mutual_pairs,
    threshold_of_copies,
    threshold_of_products,
)
from shopsight.search.duplicate_products import MOST_IN_CLUSTER, find_duplicates
from shopsight.unit_vectors import unit_vectors
from tests.search.vectors import SeededEmbedder


@pytest.fixture(scope="module")
def lite0() -> Embedder:
    return open_embedder(DEFAULT_MODEL, precision="32")


def write(path: Path, rgb: np.ndarray, *, quality: int = 92) -> None:
    done, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    path.write_bytes(data.tobytes())


def recolored(rgb: np.ndarray) -> np.ndarray:
    """The same luma with the opposite chroma."""
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    planes[:, :, 1:] = 255 - planes[:, :, 1:]
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def with_rows(catalog: Catalog, rows: list[tuple[str, str, str]]) -> Catalog:
    more = pl.DataFrame(rows, schema=["image", "label", "group"], orient="row")
    return catalog.with_table(pl.concat([catalog.table, more]))


def kinds_of(table: pl.DataFrame) -> dict[frozenset[str], str]:
    """The kind of each cluster by its images."""
    groups = table.group_by("cluster", maintain_order=True).agg("id", pl.col("kind").first())
    return {frozenset(ids): kind for _, ids, kind in groups.iter_rows()}


def test_each_kind_is_found(tmp_path: Path, lite0: Embedder) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    root = tmp_path / "photos"
    shutil.copyfile(root / "bag/bag-0000-0.jpg", root / "copy.jpg")
    shoe = cv2.imread(str(root / "shoe/shoe-0000-0.jpg"))[:, :, ::-1]
    write(root / "again.jpg", cv2.resize(shoe, (256, 256), interpolation=cv2.INTER_CUBIC))
    shirt = cv2.imread(str(root / "shirt/shirt-0000-0.jpg"))[:, :, ::-1]
    write(root / "red.jpg", recolored(shirt))
    blank = np.full((128, 128, 3), 230, np.uint8)
    cv2.putText(blank, "no photo", (8, 70), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (40, 40, 40), 2)
    shared = [f"none-{number}.jpg" for number in range(5)]
    for name in shared:
        write(root / name, blank)
    catalog = with_rows(
        catalog,
        [
            ("copy.jpg", "bag", "bag-x"),
            ("again.jpg", "shoe", "shoe-x"),
            ("red.jpg", "shirt", "shirt-x"),
            *((name, "bag", f"bag-{name}") for name in shared),
        ],
    )
    found = find_duplicates(catalog, lite0, threshold=0.999)
    assert kinds_of(found.table) == {
        frozenset({"bag/bag-0000-0.jpg", "copy.jpg"}): "same file",
        frozenset({"shoe/shoe-0000-0.jpg", "again.jpg"}): "same image",
        frozenset({"shirt/shirt-0000-0.jpg", "red.jpg"}): "color variant",
        frozenset(shared): "shared image",
    }
    dropped = found.table.filter(pl.col("decision") == "drop")["id"].to_list()
    apart = found.table.filter(pl.col("decision") == "")["kind"].unique().sort().to_list()
    assert apart == ["color variant", "shared image"]
    # The first of two equal files stays, and the larger of two encodings.
    assert sorted(dropped) == ["copy.jpg", "shoe/shoe-0000-0.jpg"]


def test_a_list_never_contradicts_itself(tmp_path: Path, lite0: Embedder) -> None:
    """A shirt with a copy is also beside its color variant."""
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    root = tmp_path / "photos"
    shutil.copyfile(root / "shirt/shirt-0000-0.jpg", root / "copy.jpg")
    write(root / "red.jpg", recolored(cv2.imread(str(root / "copy.jpg"))[:, :, ::-1]))
    rows = [("copy.jpg", "shirt", "shirt-x"), ("red.jpg", "shirt", "shirt-y")]
    catalog = with_rows(catalog, rows)
    found = find_duplicates(catalog, lite0, threshold=0.999)
    assert found.table["id"].to_list().count("copy.jpg") == 2
    file = tmp_path / "duplicates.csv"
    found.table.write_csv(file)
    dropped = dropped_rows(file, catalog)
    assert catalog.table["image"].filter(dropped).to_list() == ["copy.jpg"]


def test_other_photos_of_a_product_are_found(tmp_path: Path, lite0: Embedder) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=6)
    views = catalog.table.with_columns(pl.col("image").str.contains("-1.jpg").alias("second"))
    sides = [
        catalog.with_table(views.filter(pl.col("second") == one).drop("second", "group"))
        for one in (False, True)
    ]
    found = find_duplicates(sides[0], lite0, other=sides[1], threshold=0.8)
    clusters = found.table.group_by("cluster").agg(
        pl.col("id").str.slice(0, pl.col("id").str.len_chars() - 6).n_unique().alias("products"),
        pl.col("side").n_unique().alias("sides"),
    )
    assert clusters.height >= 5
    assert (clusters["sides"] == 2).all()
    # Rendered products are no photographs, and those of a class are alike; chance is one in 48.
    assert (clusters["products"] == 1).mean() > 0.4
    assert (found.table.filter(pl.col("decision") == "drop")["side"] == 1).all()
    # Photos that the catalog itself calls one product are none.
    known = find_duplicates(catalog, lite0, threshold=0.8)
    products = known.table.group_by("cluster").agg(pl.col("product").n_unique())
    assert (products["product"] > 1).all()


def test_a_pair_is_mutual_and_crosses() -> None:
    angles = np.deg2rad([0, 10, 14, 90, 92])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pairs, scores = mutual_pairs(vectors, np.arange(5), neighbors=1)
    # 0 is nearest to 1, whose nearest is 2.
    assert pairs.tolist() == [[3, 4], [1, 2]]
    np.testing.assert_allclose(scores, np.cos(np.deg2rad([2, 4])), atol=1e-6)
    pairs, _ = mutual_pairs(vectors, np.array([0, 1, 1, 2, 2]), neighbors=1)
    # 1 and 2 are kept apart; 2 is then nearest to 0, which is nearer to 1.
    assert pairs.tolist() == [[0, 1]]
    assert len(mutual_pairs(vectors[:1], np.zeros(1, np.int64))[0]) == 0
    assert len(mutual_pairs(vectors, np.zeros(5, np.int64))[0]) == 0


def test_mutual_pairs_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(3)
    vectors = unit_vectors(rng.normal(size=(2100, 8)).astype(np.float32))
    apart = rng.integers(900, size=2100)
    pairs, _ = mutual_pairs(vectors, apart, neighbors=2)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    cosines[apart[:, None] == apart] = -9
    near = [set(row.tolist()) for row in np.argsort(-cosines, axis=1)[:, :2]]
    expected = {(i, j) for i in range(2100) for j in near[i] if i < j and i in near[j]}
    assert set(map(tuple, pairs.tolist())) == expected


def test_thresholds_come_from_known_pairs() -> None:
    scores = np.linspace(1, 0, 101).astype(np.float32)
    right = np.arange(101) < 45
    found = threshold_of_products(scores, right)
    # 45 right among the first 50 are nine in ten; the 51st would make it 45 of 51.
    assert found is not None
    assert found.score == pytest.approx(0.51)
    assert found.source == "products"
    assert threshold_of_products(scores, ~right) is None
    few = np.ones(FEWEST_KNOWN - 1, np.float32)
    assert threshold_of_products(few, few > 0) is None
    assert threshold_of_copies(few) is None
    copies = threshold_of_copies(scores)
    assert copies is not None
    assert (scores >= copies.score).mean() == pytest.approx(0.95, abs=0.01)


def test_color_variants_have_one_structure_and_two_colors() -> None:
    shirt, other = (draw_product("shirt", number=0, view=view) for view in (0, 1))
    thumbs = np.stack([thumb(one) for one in (shirt, recolored(shirt), other)])
    first = np.repeat(thumbs[:1], 3, axis=0)
    assert are_color_variants(first, thumbs).tolist() == [False, True, False]
    assert not are_color_variants(thumbs, np.zeros_like(thumbs)).any()


def test_clusters_stay_small(tmp_path: Path) -> None:
    """A chain of near vectors, such as that of plain socks, does not become one product."""

    class Alike(SeededEmbedder):
        def embed(self, images, **options):  # type: ignore[no-untyped-def]
            for number, one in enumerate(super().embed(images, **options)):
                angle = 0.01 * number
                vector = np.zeros(self.space.embedding_dim, np.float32)
                vector[:2] = np.cos(angle), np.sin(angle)
                yield type(one)(one.source, vector)

    catalog = draw_catalog(tmp_path / "photos", products_per_class=2)
    catalog = catalog.with_table(catalog.table.drop("group"))
    found = find_duplicates(catalog, Alike(), threshold=0.9)
    sizes = found.table.filter(pl.col("kind") == "same product").group_by("cluster").len()["len"]
    assert sizes.max() is not None
    assert sizes.max() <= MOST_IN_CLUSTER
    assert "drop" in found.table["decision"]
    # Other photos are proposals, unless somebody looked and gave a threshold.
    guessed = find_duplicates(catalog, Alike())
    assert guessed.threshold.source == "default"
    assert guessed.table.height > 0
    assert "drop" not in guessed.table["decision"]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    (tmp_path / "photos/bag/bag-0000-0.jpg").write_bytes(b"no image")
    found = find_duplicates(catalog, SeededEmbedder())
    assert list(found.failed) == [(0, "bag/bag-0000-0.jpg")]
    assert found.table.height == 0
    assert found.threshold.source == "default"
