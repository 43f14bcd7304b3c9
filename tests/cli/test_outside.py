"""DATA from strangers names files of this machine: none outside of the data is read, or shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import AuditError, CatalogError, SourceError
from shopsight.read_options import ReadOptions
from tests.helpers import ProductPhotos, Shopsight, train_small
from tests.web_server import reply, serving

SECRET = "ssh-rsa-AAAAB3"


@pytest.fixture
def shop(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """A folder `shop` with photos and a table, beside one of `private` files."""
    shutil.copytree(product_photos.folder, tmp_path / "shop" / product_photos.folder.name)
    shutil.copy(product_photos.table, tmp_path / "shop" / "table.csv")
    private = tmp_path / "private"
    private.mkdir()
    (private / "key").write_text(SECRET, encoding="utf-8")
    (private / "key.jpg").write_text(SECRET, encoding="utf-8")
    photo = next(product_photos.folder.rglob("*.jpg"))
    shutil.copy(photo, private / "me.jpg")
    return tmp_path / "shop"


def with_rows(shop: Path, *cells: str) -> Path:
    """The table with more rows, of which the images lie elsewhere."""
    table = shop / "table.csv"
    text = table.read_text(encoding="utf-8")
    label = text.splitlines()[1].split(",")[1]
    rest = text.splitlines()[0].count(",") - 1
    rows = [f"{cell},{label}{',' * rest}\n" for cell in cells]
    table.write_text(text + "".join(rows), encoding="utf-8")
    return table


def test_cells_that_name_files_outside(shop: Path, shopsight: Shopsight, tmp_path: Path) -> None:
    private = shop.parent / "private"
    table = with_rows(
        shop,
        f"{private}/key",
        f"{private}/me.jpg",
        "../../private/key.jpg",
        f"file://{private}/key",
    )
    out = tmp_path / "audit"
    done = shopsight("audit", table, "--out", out)
    assert f"outside the data, not read: 4 images of 64, below {private}" in done.err
    assert "--allow-outside" in done.err
    findings = pl.read_csv(out / "findings.csv")
    unreadable = findings.filter(pl.col("kind") == "unreadable")["detail"]
    assert unreadable.str.contains("outside the data").to_list() == [True] * 4
    for file in out.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes()
    report = api.audit(table, read=ReadOptions(allow_outside=True))
    assert report.counts["unreadable"] == 3
    with pytest.raises(AuditError, match="4 images"):
        train_small(api.open_catalog(table), tmp_path / "run")


def test_a_table_of_nothing_but_files_outside(shop: Path, shopsight: Shopsight) -> None:
    photos = next(path for path in shop.iterdir() if path.is_dir())
    table = shop.parent / "private" / "table.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.jpg"))]
    table.write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    done = shopsight("audit", table)
    assert done.code == 2
    assert f"all {len(rows)} images lie outside the data, below {photos}" in done.err
    assert f"--images-root {photos}" in done.err
    assert "--allow-outside" in done.err
    for flags in (("--images-root", photos), ("--allow-outside",)):
        assert shopsight("audit", table, *flags).code == 0
    # From below the table's folder, full paths are as good as any.
    shutil.move(table, shop / "full.csv")
    assert shopsight("audit", shop / "full.csv").code == 0


def test_a_neighbor_without_a_way_up(shop: Path) -> None:
    """`private/me.jpg` is no file below the table, and the folder around it is not searched."""
    table = with_rows(shop, "private/me.jpg", "shop/../private/me.jpg")
    report = api.audit(table)
    assert report.statistics.num_ok == 60
    assert {finding.kind for finding in report.findings} >= {"missing-file"}


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_links_in_a_folder(shop: Path, shopsight: Shopsight) -> None:
    photos = next(path for path in shop.iterdir() if path.is_dir())
    label = next(path for path in photos.iterdir() if path.is_dir())
    private = shop.parent / "private"
    (label / "me.jpg").symlink_to(private / "me.jpg")
    (label / "id").symlink_to(private / "key")
    (photos / "all").symlink_to(private)
    report = api.audit(photos)
    assert report.statistics.num_ok == 60
    refused = [
        finding.detail for finding in report.findings if "outside the data" in finding.detail
    ]
    assert len(refused) >= 2
    done = shopsight("audit", photos)
    assert "links that lead outside: 1 folder, e.g. all (--allow-outside)" in done.err
    catalog = api.open_catalog(photos, ReadOptions(allow_outside=True))
    assert len(catalog) == 60 + 1 + 2


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_a_folder_of_nothing_but_links(shop: Path, tmp_path: Path) -> None:
    photos = next(path for path in shop.iterdir() if path.is_dir())
    links = tmp_path / "links"
    for path in photos.rglob("*.jpg"):
        (links / path.parent.name).mkdir(parents=True, exist_ok=True)
        (links / path.parent.name / path.name).symlink_to(path)
    with pytest.raises(CatalogError, match="all 60 images lie outside the data") as caught:
        api.open_catalog(links)
    assert str(caught.value.fix).startswith("--allow-outside")
    assert api.audit(links, read=ReadOptions(allow_outside=True)).statistics.num_ok == 60


def test_a_table_of_ones_own_says_where_its_images_are(
    shop: Path, shopsight: Shopsight, tmp_path: Path
) -> None:
    photos = next(path for path in shop.iterdir() if path.is_dir())
    for name in ("own/split.csv", "own/split.parquet"):
        out = tmp_path / name
        assert shopsight("split", photos, "--out", out).code == 0
        assert shopsight("audit", out).code == 0


def test_a_table_of_a_stranger_says_so_in_vain(
    shop: Path, shopsight: Shopsight, tmp_path: Path
) -> None:
    photos = next(path for path in shop.iterdir() if path.is_dir())
    out = tmp_path / "own" / "split.csv"
    shopsight("split", photos, "--out", out)
    beside = out.with_name("split.about.json")
    about = json.loads(beside.read_text(encoding="utf-8"))
    for change in (
        {"root": f"{photos}/."},
        {"root_from_here": "../shop"},
        {"access": {"private": True, "hosts": [], "roots": None}},
        {"seal": None},
        {"seal": "0" * 64},
    ):
        beside.write_text(json.dumps(about | change), encoding="utf-8")
        with pytest.raises(CatalogError, match="outside the data"):
            api.open_catalog(out)
    assert shopsight("audit", out, "--images-root", photos).code == 0
    # One whose images lie below it needs no word of anybody.
    shopsight("split", photos, "--out", shop / "split.csv")
    beside = shop / "split.about.json"
    about = json.loads(beside.read_text(encoding="utf-8"))
    about.pop("seal")
    beside.write_text(json.dumps(about), encoding="utf-8")
    assert shopsight("audit", shop / "split.csv").code == 0


@pytest.mark.enable_socket
def test_a_table_at_an_address_names_no_local_files(shop: Path) -> None:
    photo = next(shop.rglob("*.jpg"))
    with serving() as server:
        rows = [f"{path},{path.parent.name}" for path in sorted(shop.rglob("*.jpg"))]
        server.routes["/t.csv"] = reply("\n".join(["image,label", *rows]).encode())
        server.routes["/f.csv"] = reply(f"image,label\nfile://{photo},a\nx.jpg,b\n".encode())
        with pytest.raises((CatalogError, SourceError), match="outside the data"):
            api.open_catalog(f"{server.url}/t.csv")
        report = api.audit(f"{server.url}/f.csv")
        assert report.statistics.num_ok == 0
        read = ReadOptions(images_root=shop)
        assert api.audit(f"{server.url}/t.csv", read=read).statistics.num_ok == 60
