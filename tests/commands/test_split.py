from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError, SplitError
from tests.helpers import ProductPhotos, make_products


def test_products_and_copies_stay_in_one_part(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=20)
    shutil.copy(photos.folder / "hat" / "hat-000-0.jpg", photos.folder / "hat" / "copy.jpg")
    (photos.folder / "hat" / "broken.jpg").write_bytes(b"not an image")
    out = tmp_path / "splits.parquet"
    found = api.split(photos.folder, out=out, val=0.2, test=0.2, seed=3)
    assert found.report.ok
    assert Catalog.read(out).fingerprint() == found.catalog.fingerprint()
    by_image = dict(found.catalog.table.select("image", "split").iter_rows())
    assert by_image["hat/copy.jpg"] == by_image["hat/hat-000-0.jpg"]
    assert "hat/broken.jpg" not in by_image
    assert set(by_image.values()) == {"train", "val", "test"}
    assert not list(tmp_path.glob("*.csv.*"))


def test_a_class_must_fit_into_every_part(product_photos: ProductPhotos) -> None:
    few = api.open_catalog(product_photos.folder).take([0, 1, 20, 21, 40, 41])
    with pytest.raises(SplitError):
        api.split(few, val=0.3, test=0.3, read=api.ReadOptions(group="label"))


def test_options_that_a_catalog_would_ignore_are_refused(product_photos: ProductPhotos) -> None:
    catalog = api.open_catalog(product_photos.table)
    read = api.ReadOptions(encoding="cp1252", images_root="x", label="product")
    with pytest.raises(CatalogError, match="--images-root, --encoding would change nothing"):
        api.split(catalog, read=read)
    with pytest.raises(CatalogError, match="--image would change nothing"):
        api.audit(product_photos.folder, read=api.ReadOptions(image="file"))


@pytest.mark.parametrize("folds", [0, 2])
def test_images_without_a_label_are_in_no_part(
    folds: int, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    catalog = api.open_catalog(product_photos.folder)
    bare = pl.when(pl.int_range(pl.len()).is_in([0, 25])).then(None).otherwise(pl.col("label"))
    catalog = catalog.with_table(catalog.table.with_columns(label=bare))
    out = tmp_path / "splits.csv"
    found = api.split(catalog, out=out, val=0.2, test=0.2, folds=folds)
    assert "left out 2 of 60 images without a label, e.g. dress/dress-000-0.jpg" in said
    table = Catalog.read(out).table
    column = "fold" if folds else "split"
    assert table["image"].to_list() == catalog.table["image"].to_list()
    assert (
        table.filter(pl.col(column).is_null())
        .select("image")
        .equals(catalog.table.filter(pl.col("label").is_null()).select("image"))
    )
    assert sum(found.report.num_images.values()) == 58
    with pytest.raises(CatalogError, match="2 of 60 images without a label"):
        api.split(catalog, read=api.ReadOptions(on_unlabeled="error"))


@pytest.mark.parametrize("folds", [0, 3])
@pytest.mark.parametrize("action", ["keep", "drop", "merge", "error"])
def test_rare_classes_are_settled_before_the_split(
    action: str, folds: int, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    catalog = api.open_catalog(product_photos.folder)
    # A hat without a label, and two more that are the only caps and ties.
    row, label = pl.int_range(pl.len()), pl.col("label")
    renamed = pl.when(row == 25).then(None).when(row == 26).then(pl.lit("cap"))
    renamed = renamed.when(row == 27).then(pl.lit("tie")).otherwise(label)
    catalog = catalog.with_table(catalog.table.with_columns(label=renamed))
    read = api.ReadOptions(on_rare=action)  # type: ignore[arg-type]
    out = tmp_path / "splits.csv"
    if action == "error":
        with pytest.raises(SplitError, match="2 of 5 classes cannot be in every part"):
            api.split(catalog, read=read, out=out, folds=folds)
        assert not out.exists()
        return
    api.split(catalog, read=read, out=out, folds=folds)
    table = Catalog.read(out).table
    column, train = ("fold", "-1") if folds else ("split", "train")
    part = dict(table.select("image", pl.col(column).cast(pl.String)).iter_rows())
    names = catalog.table["image"].to_list()
    assert part[names[25]] is None
    assert len(part) == (58 if action == "drop" else 60)
    assert list(part) == [name for name in names if name in part]
    if action == "drop":
        assert not {names[26], names[27]} & set(part)
        assert "rare: left out 2 of 5 classes, 2 images, e.g. cap (1 image)" in said
    else:
        labels = dict(table.select("image", "label").iter_rows())
        assert (part[names[26]], part[names[27]]) == (train, train)
        assert labels[names[26]] == ("cap" if action == "keep" else "(rare)")
        assert any(line.startswith("rare: ") and "not measured" in line for line in said)


def by_product(photos: ProductPhotos, **columns: list[str]) -> Catalog:
    """The photos, two of each product, which is the label; further columns too."""
    catalog = api.open_catalog(photos.folder)
    product = pl.col("image").str.extract(r"([^/]+)-[0-9]+\.jpg$", 1).alias("label")
    return catalog.with_table(
        catalog.table.with_columns(product, *(pl.Series(n, v) for n, v in columns.items()))
    )


def test_by_label_contributors_may_be_on_both_sides(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    sellers = [f"seller {n % 7}" for n in range(product_photos.count)]
    catalog = by_product(product_photos, group=sellers, seller=sellers)
    out = tmp_path / "split.csv"
    found = api.split(catalog, by="label", test=0.2, val=0.2, out=out)
    assert found.report.ok
    assert found.report.num_groups == 7
    parts = found.catalog.table.group_by("seller").agg(pl.col("split").unique())["split"]
    assert any("test" in names and len(names) > 1 for names in parts)
    assert any("that is no leak" in line for line in said)
    # Between train and val they are kept apart.
    assert not any({"train", "val"} <= set(names) for names in parts)
    images = api.ReadOptions(images_root=str(product_photos.folder), group="seller")
    report = api.audit(out, read=images)
    assert "group-leak" not in report.counts
    # Without the column that says which classes are held out, it is a split like any other.
    table = pl.read_csv(out).drop("held_out")
    table.write_csv(tmp_path / "other.csv")
    assert "group-leak" in api.audit(tmp_path / "other.csv", read=images).counts


def test_by_label_a_product_on_both_sides_is_a_leak(product_photos: ProductPhotos) -> None:
    catalog = by_product(product_photos)
    done = api.split(catalog, by="label", test=0.2, val=0.0).catalog
    # One product of the held-out classes, and one of the others, are one.
    shared = [done.table.filter(pl.col("split") == part)["label"][0] for part in ("train", "test")]
    group = pl.when(pl.col("label").is_in(shared)).then(pl.lit("one")).otherwise(pl.col("label"))
    report = api.audit(done.with_table(done.table.with_columns(group=group)))
    assert report.counts["group-leak"] == 1


def test_by_label_where_each_class_is_one_group_there_is_no_val_part(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    catalog = by_product(product_photos)
    catalog = catalog.with_table(catalog.table.with_columns(group=pl.col("label")))
    with pytest.raises(SplitError, match="each of 30 classes is one group"):
        api.split(catalog)
    found = api.split(catalog, by="label", test=0.2, out=tmp_path / "split.csv")
    assert found.report.ok
    assert set(found.report.num_images) == {"train", "test"}
    assert any(line.startswith("no val part: each class is one group") for line in said)
    assert "group-leak" not in api.audit(found.catalog).counts
