"""The two commands of a newcomer, and what they do with questions that cannot be answered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.datasets.synthetic import draw_catalog
from shopsight.images.model_input import Box
from shopsight.inference.image_stream import NamedImage
from shopsight.search.index import open_index
from shopsight.search.query_terms import build_queries
from shopsight.search.query_vectors import aims_of
from shopsight.search.word_route import WordRoute
from shopsight.unit_vectors import unit_mean
from tests.helpers import Shopsight

pytest.importorskip("qdrant_edge")

LITE0 = "embedded:tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of rendered products with prices and titles, two photos each, and its index."""
    from shopsight.commands.index import build_index
    from shopsight.read_options import ReadOptions

    folder = tmp_path_factory.mktemp("shop")
    catalog = draw_catalog(folder / "photos", products_per_class=2)
    table = catalog.table.rename({"group": "sku"}).with_columns(
        price=pl.Series(np.arange(len(catalog)) / 2.0),
        title=pl.Series([f"a fine {label}" for label in catalog.table["label"]]),
        sale=pl.Series([None if n % 3 == 0 else n % 3 == 1 for n in range(len(catalog))]),
    )
    table.write_csv(folder / "shop.csv")
    read = ReadOptions(images_root=folder / "photos", group="sku")
    build_index(LITE0, folder / "shop.csv", out=folder / "index", read=read)
    return folder


def photos(shop: Path) -> list[Path]:
    return sorted((shop / "photos").rglob("*.jpg"))


def test_a_photo_finds_its_product(shopsight: Shopsight, shop: Path, tmp_path: Path) -> None:
    photo = photos(shop)[0]
    page, out = tmp_path / "page.html", tmp_path / "found.csv"
    shown = shopsight(
        *("search", shop / "index", photo, "--top", "3", "--json", "--html", page, "--out", out)
    )
    assert shown.code == 0, shown.err
    ((answer),) = json.loads(shown.out)
    first = answer["results"][0]
    assert first["id"] == f"{photo.parent.name}/{photo.name}"
    assert first["product"] == photo.name[:-6]
    assert first["score"] == pytest.approx(1, abs=1e-3)
    assert first["columns"]["label"] == photo.parent.name
    assert len({one["product"] for one in answer["results"]}) == 3  # Each product once.
    assert page.read_text(encoding="utf-8").count("data:image/webp") == 4
    assert pl.read_csv(out)["rank"].to_list() == [1, 2, 3]


def test_an_id_finds_others_and_a_filter_holds(shopsight: Shopsight, shop: Path) -> None:
    shown = shopsight(
        *("search", shop / "index", "--id", "bag-0000", "--by", "image", "--json"),
        *("--where", "price < 6 and sale != true and label in ('bag', 'dress')"),
    )
    assert shown.code == 0, shown.err
    ((answer),) = json.loads(shown.out)
    assert answer["results"]
    for one in answer["results"]:
        assert one["product"] != "bag-0000"
        assert one["columns"]["price"] < 6
        assert one["columns"]["sale"] is False
        assert one["columns"]["label"] in ("bag", "dress")


def test_terms_are_combined_with_their_weights(shopsight: Shopsight, shop: Path) -> None:
    bag, shoe = (next(p for p in photos(shop) if p.parent.name == n) for n in ("bag", "shoe"))

    def first(*weights: str) -> str:
        flags = [word for weight in weights for word in ("--weight", weight)]
        shown = shopsight("search", shop / "index", bag, shoe, "--combine", "--json", *flags)
        assert shown.code == 0, shown.err
        ((answer),) = json.loads(shown.out)
        return str(answer["results"][0]["columns"]["label"])

    assert first("1", "0.01") == "bag"
    assert first("0.01", "1") == "shoe"


def test_re_ranking_is_left_out_where_products_have_few_photos(
    shopsight: Shopsight, tmp_path: Path, shop: Path
) -> None:
    from shopsight.commands.index import build_index
    from shopsight.commands.search import search

    photo = photos(shop)[0]
    plain = search(shop / "index", [photo])
    asked = search(shop / "index", [photo], rerank=True)
    assert asked.answers == plain.answers
    (note,) = asked.notes
    assert note.startswith("not re-ranked: that helps from 3 photos of a product")
    # The labels as products: they have four photos each.
    catalog = draw_catalog(tmp_path / "photos", products_per_class=2)
    as_products = catalog.with_table(catalog.table.with_columns(group=pl.col("label")))
    build_index(LITE0, as_products, out=tmp_path / "index")
    plain = search(tmp_path / "index", [photo], by="image")
    asked = search(tmp_path / "index", [photo], by="image", rerank=True)
    assert not asked.notes
    assert asked.answers != plain.answers


def test_words_look_at_texts_and_images(shopsight: Shopsight, shop: Path) -> None:
    pytest.importorskip("wordllama")
    pytest.importorskip("tokenizers")
    shown = shopsight(
        *("search", shop / "index", "--text", "a fine dress", "--in", "text", "--top", "4"),
        *("--by", "image", "--json"),
    )
    assert shown.code == 0, shown.err
    ((answer),) = json.loads(shown.out)
    assert {one["columns"]["label"] for one in answer["results"]} == {"dress"}
    both = shopsight("search", shop / "index", "--text", "dress", "--json")
    assert both.code == 0, both.err
    assert "by words, without a text tower" in both.err
    refused = shopsight("search", shop / "index", "--text", "dress", "--min-score", "0.5")
    assert refused.code == 2
    assert "--in image" in refused.err


def test_every_product_has_its_nearest_others(
    shopsight: Shopsight, shop: Path, tmp_path: Path
) -> None:
    out = tmp_path / "related.parquet"
    shown = shopsight("search", shop / "index", "--all", "--top", "2", "--out", out)
    assert shown.code == 0, shown.err
    table = pl.read_parquet(out)
    assert table["query"].n_unique() == 16
    assert table.height == 32
    assert (table["query"] != table["product"]).all()
    refused = shopsight("search", shop / "index", photos(shop)[0], "--all", "--id", "P-1")
    assert refused.code != 0
    assert "not for IMAGE, --id" in refused.err


def test_a_box_is_cut_from_the_upright_image(
    shopsight: Shopsight, shop: Path, tmp_path: Path
) -> None:
    photo = Image.open(photos(shop)[0])
    wide = Image.new("RGB", (photo.width * 2, photo.height), "white")
    wide.paste(photo, (photo.width, 0))
    turned = wide.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # Shown turned by 90 degrees to the right: upright again.
    turned.save(tmp_path / "wide.jpg", quality=97, exif=exif)
    box = f"{photo.width},0,{photo.width},{photo.height}"
    shown = shopsight("search", shop / "index", tmp_path / "wide.jpg", "--box", box, "--json")
    assert shown.code == 0, shown.err
    ((answer),) = json.loads(shown.out)
    assert answer["results"][0]["score"] > 0.95
    outside = shopsight("search", shop / "index", photos(shop)[0], "--box", "9000,0,5,5")
    assert outside.code == 1
    assert "lies outside" in outside.err


def test_crops_of_one_image_that_are_combined_are_averaged(shop: Path) -> None:
    photo, boxes = str(photos(shop)[0]), [Box(0, 0, 40, 60), Box(20, 30, 40, 40)]
    crops = [NamedImage(photo, photo, box=box) for box in boxes]
    with open_index(shop / "index") as index:
        queries = build_queries([NamedImage(photo, photo)] * 2, combine=True, boxes=boxes)
        (aim,) = aims_of(queries, index, words=WordRoute(index), in_images=True, in_texts=False)
        vectors = [one.vector for one in index.embedder().embed(crops) if one.vector is not None]
    assert aim.image is not None
    assert vectors[0] @ vectors[1] < 0.999
    np.testing.assert_allclose(aim.image, unit_mean(np.stack(vectors)), atol=1e-5)


def test_what_cannot_be_answered_is_said(shopsight: Shopsight, shop: Path, tmp_path: Path) -> None:
    index = shop / "index"
    unread = tmp_path / "bad.jpg"
    unread.write_bytes(b"no image")
    shown = shopsight("search", index, unread, photos(shop)[0], "--top", "1")
    assert shown.code == 1
    assert "bad.jpg" in shown.err
    assert "1.000" in shown.out  # The other one is answered.
    stranger = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(stranger)
    none = shopsight("search", index, stranger, "--min-score", "0.99")
    assert none.code == 0
    assert "not in the catalog (the nearest item has a score of" in none.out
    for words, said in (
        (["--id", "bag-9999"], "neither an item nor a product"),
        (["--where", "prize < 5", "--id", "bag-0000"], "keeps no column 'prize'"),
        (["--where", "price < 'x'", "--id", "bag-0000"], "price is compared with a number"),
        ([], "nothing to look for"),
        (["--text", "a", "--weight", "1"], "--combine"),
        (["--id", "bag-0000", "--out", "found.txt"], "ends in .csv"),
    ):
        wrong = shopsight("search", index, *words)
        assert wrong.code == 2, words
        assert said in wrong.err
    gone = shopsight("search", tmp_path / "nowhere", "--text", "x")
    assert gone.code == 2
    assert "no such index" in gone.err


def test_an_index_follows_its_table(shopsight: Shopsight, shop: Path, tmp_path: Path) -> None:
    copy = tmp_path / "shop"
    shutil.copytree(shop, copy, ignore=shutil.ignore_patterns("index"))
    flags = ("--images-root", copy / "photos", "--group", "sku")
    built = shopsight("index", "build", LITE0, copy / "shop.csv", "--out", copy / "index", *flags)
    assert built.code == 0, built.err
    assert "32 items of 16 products" in built.out
    table = pl.read_csv(copy / "shop.csv")
    few = table.with_columns(price=pl.col("price") + 1).head(30)
    few.write_csv(copy / "shop.csv")
    planned = shopsight("index", "update", copy / "index", copy / "shop.csv", *flags, "--dry-run")
    assert "would be: 30 cells written anew, 2 removed" in planned.out
    done = shopsight("index", "update", copy / "index", copy / "shop.csv", *flags)
    assert "30 cells written anew, 2 removed" in done.out, done.err
    table.head(10).write_csv(copy / "shop.csv")
    refused = shopsight("index", "update", copy / "index", copy / "shop.csv", *flags)
    assert refused.code == 2
    assert "--allow-delete" in refused.err
    checked = shopsight("index", "verify", copy / "index")
    assert checked.code == 0, checked.out
    removed = shopsight("index", "remove", copy / "index", *table["sku"].head(30).unique())
    assert removed.code == 0, removed.err
    empty = shopsight("search", copy / "index", "--text", "x")
    assert empty.code == 2
    assert "the index is empty" in empty.err
