from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight.commands.evaluate_index import compare_indexes, evaluate_index
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import CompareError, SearchError
from shopsight.metrics.retrieval import DEFINITIONS
from shopsight.search.build import build
from shopsight.search.index import open_index
from tests.search.vectors import SeededEmbedder, empty_index, random_items

pytest.importorskip("qdrant_edge")

LITE0 = "embedded:tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of rendered products, two photos of each, by the embedded backbone."""
    from shopsight.commands.index import build_index

    folder = tmp_path_factory.mktemp("real")
    draw_catalog(folder / "photos", products_per_class=3)
    catalog = draw_catalog(folder / "photos", products_per_class=3)
    build_index(LITE0, catalog, out=folder / "index")
    return folder


def test_own_photos_are_searched_for_by_product(real: Path, tmp_path: Path) -> None:
    found = evaluate_index(real / "index", out=tmp_path / "page.html")
    assert found.relevant_by == "product"
    assert found.num_scored == found.num_items == 48
    assert set(found.metrics) == set(DEFINITIONS)
    recall = found.metrics["recall_at_10"]
    assert recall.is_known
    assert recall.low < recall.value < recall.high or recall.value == 1.0
    # Two views of one rendered product are much alike.
    assert found.metrics["recall_at_1"].value > 0.3
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") > 20
    assert "said good" in page
    as_json = json.loads(json.dumps(found.to_json()))
    assert as_json["metrics"]["mean_average_precision"] == pytest.approx(
        found.metrics["mean_average_precision"].value
    )
    few, more = found.thresholds
    assert few.rate < more.rate
    assert few.min_score >= more.min_score
    with open_index(real / "index") as index:
        items, vectors = index.items(["product"]), index.vectors()
        products = items["product"].to_numpy()
        scores = vectors @ vectors.T
        scores[products[:, None] == products[None]] = -1
        let_in = (scores.max(axis=1) >= few.min_score).mean()
        assert let_in <= few.rate + 1e-9


def test_queries_of_another_catalog_are_matched_by_product(real: Path) -> None:
    photos = draw_catalog(real / "again", products_per_class=3)
    table = photos.table
    queries = photos.with_table(table[np.arange(0, table.height, 2)])
    found = evaluate_index(real / "index", queries)
    # The same files are in the gallery: junk, neither right nor wrong.
    assert found.num_scored == 24
    assert found.metrics["recall_at_1"].value == pytest.approx(
        evaluate_index(real / "index").ranked.values["recall_at_1"][::2].mean()
    )


def test_re_ranking_takes_neighbors_by_the_photos_of_a_product(real: Path) -> None:
    found = evaluate_index(real / "index", rerank=True)
    assert found.how == "re-ranked by 6 neighbors"
    assert not found.thresholds
    plain = evaluate_index(real / "index").ranked.values["mean_average_precision"]
    assert not np.array_equal(found.ranked.values["mean_average_precision"], plain)


def test_copies_of_a_photo_are_neither_right_nor_wrong(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=2)
    build(SeededEmbedder(), catalog, tmp_path / "plain")
    plain = evaluate_index(tmp_path / "plain")
    for file in sorted((tmp_path / "photos").rglob("*.jpg")):
        shutil.copyfile(file, file.with_name(f"copy-of-{file.name}"))
    doubled = open_catalog(tmp_path / "photos")
    groups = [Path(name).name.removeprefix("copy-of-")[:-6] for name in doubled.table["image"]]
    import polars as pl

    doubled = doubled.with_table(doubled.table.with_columns(pl.Series("group", groups)))
    build(SeededEmbedder(), doubled, tmp_path / "doubled")
    found = evaluate_index(tmp_path / "doubled")
    assert found.num_scored == 2 * plain.num_scored
    assert found.metrics["recall_at_1"].value == pytest.approx(plain.metrics["recall_at_1"].value)


def test_a_photo_that_was_encoded_again_is_a_copy_too(real: Path, tmp_path: Path) -> None:
    photos = draw_catalog(tmp_path / "photos", products_per_class=3)
    shutil.copytree(real / "index", tmp_path / "index")
    files = sorted((tmp_path / "photos").rglob("*.jpg"))
    for file in files:
        with Image.open(file) as image:
            image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(file, quality=70)
    found = evaluate_index(tmp_path / "index", photos)
    # Rendered scenes are all alike: a copy may not be among those whose images are compared.
    assert found.queries.encoded_again >= len(files) - 2
    assert found.queries.unseen == 0
    own = evaluate_index(real / "index")
    assert found.num_scored == own.num_scored
    assert own.queries.encoded_again == 0
    assert found.metrics["recall_at_1"].value < 0.9
    assert "the same image encoded again" in found.copies_text()
    shutil.rmtree(real / "photos", ignore_errors=False)
    unseen = evaluate_index(tmp_path / "index", photos)
    assert unseen.queries.unseen
    # The copies are found, and count as right.
    assert unseen.metrics["recall_at_1"].value == 1.0
    draw_catalog(real / "photos", products_per_class=3)


def test_what_nothing_can_be_said_of_is_an_error(tmp_path: Path) -> None:
    empty_index(tmp_path / "index")
    with pytest.raises(SearchError, match="neither a product nor one label"):
        evaluate_index(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        index.generation.write(random_items([0, 1, 2]))
    with pytest.raises(SearchError, match="one product in all"):
        evaluate_index(tmp_path / "index")
    with open_index(tmp_path / "index") as index:
        index.generation.delete(["item-00001", "item-00002"])
        index.generation.write(random_items([3, 6, 9]))
    with pytest.raises(SearchError, match="no product has several photos"):
        evaluate_index(tmp_path / "index")


def test_indexes_are_compared_on_the_same_queries(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=3)
    for name in ("a", "b"):
        build(SeededEmbedder(name), catalog, tmp_path / name)
    found = compare_indexes([tmp_path / "a", tmp_path / "b"])
    assert set(found.metrics) == set(DEFINITIONS)
    # Random vectors: neither is better.
    assert found.chosen.may_be_best == (0, 1)
    build(SeededEmbedder(), catalog.take(range(20)), tmp_path / "few")
    with pytest.raises(CompareError, match="not hold the same items"):
        compare_indexes([tmp_path / "a", tmp_path / "few"])
    with pytest.raises(CompareError, match="two indexes"):
        compare_indexes([tmp_path / "a"])
