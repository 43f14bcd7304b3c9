"""`predict --by product`: a row a product, its photos, what decided and what disagrees."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight import api
from shopsight.audit.known_copies import known_copies
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import product_photos as products_of
from shopsight.errors import ConfigError, WriteError
from tests.helpers import ProductPhotos


@pytest.fixture(scope="module")
def shop(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in any order: a product with a copy, one photo, unreadable ones, no product."""
    folder = tmp_path_factory.mktemp("shop")
    for name in ("hat/hat-000-0", "hat/hat-000-1", "shoe/shoe-001-0", "dress/dress-002-0"):
        shutil.copy(product_photos.folder / f"{name}.jpg", folder / f"{Path(name).name}.jpg")
    shutil.copy(folder / "hat-000-1.jpg", folder / "copy.jpg")
    shutil.copy(product_photos.folder / "hat/hat-003-0.jpg", folder / "lone.jpg")
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "odd.jpg").write_bytes(b"neither")
    rows = [
        ("hat-000-0.jpg", "hat-1", 2),
        ("shoe-001-0.jpg", "shoe-1", 1),
        ("copy.jpg", "hat-1", 3),
        ("broken.jpg", "dress-1", 1),
        ("lone.jpg", None, None),
        ("hat-000-1.jpg", "hat-1", 1),
        ("dress-002-0.jpg", "dress-1", 2),
        ("odd.jpg", "none-1", 1),
    ]
    table = pl.DataFrame(rows, schema=["image", "product_id", "position"], orient="row")
    table.write_csv(folder / "shop.csv")
    return folder / "shop.csv"


READ = api.ReadOptions(group="product_id")


def test_a_row_for_each_product_in_the_order_of_their_first_rows(
    tiny_run: Path, shop: Path
) -> None:
    predictor = api.load(tiny_run)
    found = list(api.predict_products(predictor, shop, read=READ, top=2))
    assert [one.product for one in found] == ["hat-1", "shoe-1", "dress-1", None, "none-1"]
    assert [one.row for one in found] == [0, 1, 3, 4, 7]
    hat, shoe, dress, lone, nothing = found
    assert (hat.num_photos, hat.num_copies) == (3, 1)
    assert len(hat.labels) == len(hat.probabilities) == 2
    assert hat.decided_by is not None
    # Products of one readable photo have its own answer.
    (alone,) = predictor.predict([shop.parent / "shoe-001-0.jpg"], top=2)
    assert shoe.labels == alone.labels
    assert shoe.probabilities == pytest.approx(alone.probabilities, abs=1e-6)
    assert shoe.decided_by == alone.source
    assert lone.num_photos == 1
    assert [(Path(one.source).name, one.reason) for one in dress.unread] == [
        ("broken.jpg", "not an image")
    ]
    assert dress.label is not None
    assert (nothing.label, nothing.confidence, nothing.labels) == (None, None, ())
    assert nothing.error is not None
    assert "odd.jpg" in nothing.error


def test_photos_that_disagree_are_named_with_their_labels(tiny_run: Path, shop: Path) -> None:
    predictor = api.load(tiny_run)
    own = {one.source: one for one in predictor.predict(shop, read=READ) if one.labels}
    for one in api.predict_products(predictor, shop, read=READ):
        for other in one.disagreeing:
            assert other.label == own[other.source].labels[0] != one.label
            assert other.probability == pytest.approx(own[other.source].probabilities[0], abs=1e-4)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_written_files_hold_the_same(
    tiny_run: Path, shop: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"products{suffix}"
    found = list(api.predict_products(tiny_run, shop, read=READ, out=out, top=2))
    if suffix == ".csv":
        with out.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["product"] for row in rows] == [one.product or "" for one in found]
        assert [row["label"] for row in rows] == [one.label or "" for one in found]
        assert rows[2]["unread"].endswith("broken.jpg")
    elif suffix == ".jsonl":
        lines = out.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [one.to_json() for one in found]
    else:
        table = pl.read_parquet(out)
        assert table["label"].to_list() == [one.label for one in found]
        assert table["photos"].to_list() == [one.num_photos for one in found]
        assert table["unread"].list.len().to_list() == [len(one.unread) for one in found]


def test_the_table_that_is_read_is_not_written_over(tiny_run: Path, shop: Path) -> None:
    with pytest.raises(WriteError, match="the file that is read"):
        api.predict_products(tiny_run, shop, read=READ, out=shop)


def test_without_products_it_says_how_to_name_them(
    tiny_run: Path, tmp_path: Path, shop: Path
) -> None:
    with pytest.raises(ConfigError, match="no column says") as error:
        api.predict_products(tiny_run, shop, read=api.ReadOptions(group="none"))
    assert "--group COLUMN" in str(error.value.fix)


def test_copies_are_equal_files_and_near_duplicates_that_an_audit_knows(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photo = product_photos.folder / "hat/hat-000-0.jpg"
    shutil.copy(photo, tmp_path / "a.jpg")
    shutil.copy(photo, tmp_path / "b.jpg")
    with Image.open(photo) as image:
        image.save(tmp_path / "c.jpg", quality=60)
    shutil.copy(product_photos.folder / "hat/hat-004-0.jpg", tmp_path / "d.jpg")
    shutil.copy(photo, tmp_path / "other.jpg")
    table = pl.DataFrame(
        {
            "image": ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "other.jpg", "other.jpg"],
            "group": ["1", "1", "1", "1", "2", None],
        }
    )
    catalog = Catalog(table, "shop", root=str(tmp_path))
    photos = products_of(catalog)
    assert photos is not None
    copies = known_copies(catalog, photos)
    assert copies[0] == copies[1]
    # Those of other products are photos of their own.
    assert len(set(copies.tolist())) == 5
    api.audit(catalog)
    copies = known_copies(catalog, photos)
    assert copies[0] == copies[1] == copies[2]
    assert len(set(copies.tolist())) == 4


def test_the_deepest_path_of_a_product(tiny_run: Path, shop: Path, tmp_path: Path) -> None:
    predictor = api.load(tiny_run)
    labels = ("Wear > Dress", "Wear > Hat", "Shoes")
    paths = api.Predictor(predictor.engine, predictor.info.model_copy(update={"labels": labels}))
    out = tmp_path / "paths.csv"
    found = list(api.predict_products(paths, shop, read=READ, confidence=0.6, top=3, out=out))
    for one in found[:4]:
        probability = dict(zip(one.labels, one.probabilities, strict=True))
        wear = probability["Wear > Dress"] + probability["Wear > Hat"]
        best = max(probability, key=lambda label: probability[label])
        expected = best if probability[best] >= 0.6 else "Wear" if wear >= 0.6 else ""
        assert one.node == expected
    assert found[4].node is None
    rows = pl.read_csv(out)
    assert rows["node"].fill_null("").to_list() == [one.node or "" for one in found]
