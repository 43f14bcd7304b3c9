"""Every verb takes an export as DATA."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from tests.helpers import ProductPhotos, train_small
from tests.web_server import reply, serving


@pytest.fixture(scope="module")
def shop(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Shopify export beside its photos; the last product has a photo of another one."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(product_photos.folder, folder / "photos")
    with product_photos.table.open(encoding="utf-8", newline="") as table:
        photos = list(csv.DictReader(table))
    names = ("Handle", "Title", "Product Category", "Image Src", "Status")
    with (folder / "products_export.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(names)
        begun: set[str] = set()
        for photo in photos:
            handle, image = photo["product"], f"photos/{photo['image']}"
            first = handle not in begun
            begun.add(handle)
            own = (handle.title(), f"Wear > {photo['label']}", image, "active")
            writer.writerow([handle, *(own if first else ("", "", image, ""))])
        writer.writerow(["last", "Last", "", f"photos/{photos[0]['image']}", "draft"])
    return folder / "products_export.csv"


@pytest.fixture(scope="module")
def run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_small(shop, tmp_path_factory.mktemp("trained") / "run")


def test_audit_and_split(shop: Path, tmp_path: Path) -> None:
    report = api.audit(shop)
    assert report.statistics.num_rows == 61
    assert report.statistics.num_unlabeled == 1
    done = api.split(shop, out=tmp_path / "splits.parquet", val=0.2, test=0.2)
    assert done.report.ok
    table = pl.read_parquet(tmp_path / "splits.parquet")
    assert {"group", "position", "status", "source_file", "source_row"} <= set(table.columns)


def test_training_learns_its_categories(run: Path) -> None:
    assert api.load(run).labels == ("Wear > dress", "Wear > hat", "Wear > shoe")


def test_prediction_and_search(shop: Path, run: Path, tmp_path: Path) -> None:
    answers = list(api.load(run).predict(str(shop)))
    assert len(answers) == 61
    api.embed(run, shop, out=tmp_path / "embeddings")
    assert api.build_index(run, shop, out=tmp_path / "index").to_json()["items"] == 61


@pytest.mark.enable_socket
def test_an_export_at_an_address(shop: Path) -> None:
    photo = next((shop.parent / "photos").rglob("*.jpg")).read_bytes()
    with serving() as server:
        feed = f"""<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><item>
        <g:id>1</g:id><title>Cup</title><link>x</link><g:product_type>Cups</g:product_type>
        <g:image_link>{server.url}/photo.jpg</g:image_link></item></channel></rss>"""
        for path in ("/feed.xml", "/feed?all=1"):
            server.routes[path] = reply(feed.encode())
        server.routes["/photo.jpg"] = reply(photo)
        assert api.open_catalog(f"{server.url}/feed.xml").labels == ("Cups",)
        named = ReadOptions(platform="google")
        assert api.open_catalog(f"{server.url}/feed?all=1", named).labels == ("Cups",)
        report = api.audit(f"{server.url}/feed.xml", read=ReadOptions(allow_private=True))
        assert report.statistics.num_ok == 1
        with pytest.raises(CatalogError, match="is an export only if you say of what"):
            api.import_export([f"{server.url}/feed?all=1"])
