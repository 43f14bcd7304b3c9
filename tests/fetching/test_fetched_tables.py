"""What a fetch takes and leaves: spellings of addresses, suffixes, columns, rows that add up."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.catalog.catalog import Catalog
from shopsight.commands.audit import audit
from shopsight.commands.fetch import fetch
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError, WriteError
from shopsight.fetching.image_addresses import at_width, image_address, newest
from shopsight.io.access import Access
from shopsight.progress import use_listener
from tests.fetching.conftest import PRIVATE, fetched, photo, table
from tests.helpers import Recorder
from tests.web_server import WebServer, reply

pytestmark = pytest.mark.enable_socket

# The head of a HEIC photo: what tells it from a video.
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(2000)


@pytest.mark.parametrize(
    "spelling",
    [
        "https://cdn.shop.example/a%20b/gr%C3%BCn.jpg",
        "HTTPS://CDN.Shop.Example/a b/grün.jpg",
        "https://cdn.shop.example:443/a%20b/grün.jpg?v=3",
        "https://cdn.shop.example/x/../a b/grün.jpg#zoom",
        " https://cdn.shop.example./a b/grün.jpg?v=1700000000 ",
    ],
)
def test_spellings_of_one_address(spelling: str) -> None:
    assert image_address(spelling).canonical == "https://cdn.shop.example/a%20b/gr%C3%BCn.jpg"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://shop.example/a.jpg", "http://shop.example/a.jpg"),
        ("https://shop.example/a.jpg", "https://shop.example:8443/a.jpg"),
        ("https://shop.example/a.jpg", "https://shop.example/A.jpg"),
        ("https://shop.example/a.jpg?size=1", "https://shop.example/a.jpg?size=2"),
        # No version, but perhaps the image itself.
        ("https://shop.example/photo?v=1", "https://shop.example/photo?v=2"),
        ("https://shop.example/photo.php?v=1", "https://shop.example/photo.php?v=2"),
    ],
)
def test_addresses_of_several_images(one: str, other: str) -> None:
    assert image_address(one).canonical != image_address(other).canonical


def test_the_newest_version() -> None:
    versions = ["", "v=9", "v=10", "v=abc", "v=²"]
    addresses = [image_address(f"https://shop.example/a.jpg?{one}") for one in versions]
    assert newest(addresses).version == "10"
    assert newest(addresses[3:]).version == "abc"


@pytest.mark.parametrize(
    ("asked", "sized"),
    [
        ("https://cdn.shopify.com/s/a.jpg", "https://cdn.shopify.com/s/a.jpg?width=800"),
        ("https://cdn.shopify.com/s/a.jpg?v=1", "https://cdn.shopify.com/s/a.jpg?v=1&width=800"),
        ("https://cdn.shopify.com/a.jpg?width=5", "https://cdn.shopify.com/a.jpg?width=800"),
        ("https://cdn.shopify.com.evil.example/s/a.jpg", None),
        ("https://shop.example/cdn.shopify.com/a.jpg", None),
    ],
)
def test_only_servers_that_make_images_smaller_are_asked_to(asked: str, sized: str | None) -> None:
    assert at_width(asked, 800) == sized


def test_a_width_is_asked_for_and_recorded(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.url.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    cdn = f"http://cdn.shopify.com:{port}"
    server.routes |= {"/a.jpg?v=1&width=800": reply(photo(1)), "/b.jpg": reply(photo(2))}
    server.routes |= {"/a.jpg?v=1": reply(photo(3))}
    data, shown = table(tmp_path, f"{cdn}/a.jpg?v=1", f"{server.url}/b.jpg"), Recorder()
    with use_listener(shown):
        fetched(data, tmp_path / "out", width=800)
    assert "asked for at 800 px of width: 1 of 2 images; the others come as they are" in shown.lines
    rows = pl.read_parquet(tmp_path / "out" / "fetch.parquet").sort("bytes", "url")
    assert dict(rows.select("url", "asked_width").iter_rows()) == {
        f"{cdn}/a.jpg?v=1": 800,
        f"{server.url}/b.jpg": None,
    }
    # The original is another file.
    done = fetched(data, tmp_path / "out")
    assert (done.counts.fates["changed"], done.counts.fates["unchanged"]) == (1, 1)
    first = Path(open_catalog(tmp_path / "out" / "catalog.parquet").refs()[0])
    assert first.read_bytes() == photo(3)


def test_a_width_would_move_boxes(server: WebServer, tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        f"image,box_x,box_y,box_w,box_h\n{server.url}/a.jpg,1,1,9,9\n", encoding="utf-8"
    )
    with pytest.raises(CatalogError, match="boxes are in pixels of the original"):
        fetch(path, out=tmp_path / "out", width=800, read=PRIVATE.without(["group"]))


def test_content_decides_the_suffix(server: WebServer, tmp_path: Path) -> None:
    kinds = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tiff": "TIFF"}
    server.routes |= {f"/{n}.jpg": reply(photo(n, k)) for n, k in enumerate(kinds.values())}
    server.routes |= {"/noname": reply(photo(9)), "/heic.jpg": reply(HEIC)}
    cells = [f"{server.url}/{n}.jpg" for n in [*range(len(kinds)), "heic"]]
    shown = Recorder()
    with use_listener(shown):
        done = fetched(table(tmp_path, *cells, f"{server.url}/noname"), tmp_path / "out")
    assert not done.failed
    catalog = open_catalog(tmp_path / "out" / "catalog.parquet")
    suffixes = [Path(name).suffix for name in catalog.table["image"]]
    assert suffixes == [".jpg", ".png", ".webp", ".gif", ".tif", ".heic", ".jpg"]
    (line,) = [one for one in shown.lines if one.startswith("kept under the suffix")]
    assert ".jpg as .heic (1)" in line
    records = pl.read_parquet(tmp_path / "out" / "fetch.parquet")
    heic = records.filter(pl.col("format") == "heic")
    assert heic["width"].to_list() == [None]
    assert any("a HEIC photo: pip install" in one for one in shown.lines)


def test_blanks_and_letters_are_escaped(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {"/a%20b/gr%C3%BCn%2C1.jpg?q=%C3%A9": reply(photo(1))}
    done = fetched(table(tmp_path, f"{server.url}/a b/grün%2C1.jpg?q=é"), tmp_path / "out")
    assert done.counts.fates["fetched"] == 1


def test_an_address_that_is_none_is_a_row_of_the_list(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = reply(photo(1))
    cells = [f"{server.url}/a.jpg", "http:///a.jpg", "http://[::1/a.jpg", "http:///a.jpg"]
    done = fetched(table(tmp_path, *cells), tmp_path / "out")
    counts = done.counts
    assert dict(counts.reasons) == {"bad address": 2}
    assert (counts.fates["fetched"], counts.fates["failed"], counts.num_shared) == (1, 2, 1)
    assert counts.num_failed_rows == 3
    assert pl.read_csv(tmp_path / "out" / "failed.csv")["url"].to_list() == cells[1:]


def test_everything_adds_up(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": reply(photo(n)) for n in range(4)}
    local = tmp_path / "local.png"
    local.write_bytes(photo(5, "PNG"))
    cells = [f"{server.url}/{n}.jpg" for n in (0, 1, 2, 2, 3, 8, 8, 9)]
    done = fetched(table(tmp_path, *cells, str(local), "http:///x.jpg"), tmp_path / "out")
    counts = done.counts
    assert counts.num_rows == 10
    assert counts.num_rows == sum(counts.fates.values()) + counts.num_shared + counts.num_local
    assert (counts.fates["fetched"], counts.fates["failed"]) == (4, 3)
    assert (counts.num_shared, counts.num_local) == (2, 1)
    assert counts.num_rows == done.num_table_rows + counts.num_failed_rows
    catalog = open_catalog(tmp_path / "out" / "catalog.parquet")
    assert catalog.refs()[-1] == local.as_posix()
    assert catalog.table["url"].to_list() == [*cells[:5], None]
    assert audit(tmp_path / "out" / "catalog.parquet").statistics.num_ok == 6


def test_a_column_url_of_the_table_stays(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = reply(photo(1))
    page = "https://shop.example/products/hat"
    frame = {"image": [f"{server.url}/a.jpg", f"{server.url}/b.jpg"], "url": [page] * 2}
    catalog = Catalog(
        pl.DataFrame(frame | {"status": ["active"] * 2}), "shop", access=Access(private=True)
    )
    fetch(catalog, out=tmp_path / "out")
    rows = open_catalog(tmp_path / "out" / "catalog.parquet").table
    assert rows["url_1"].to_list() == [page]
    assert rows["url"].to_list() == [f"{server.url}/a.jpg"]
    failed = pl.read_csv(tmp_path / "out" / "failed.csv")
    assert failed.columns == ["url", "reason", "error", "status", "url_1", "status_1"]


def test_a_fetched_folder_can_be_moved_and_fetched_again(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = reply(photo(1))
    fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "catalog.parquet"
    assert Path(open_catalog(moved).refs()[0]).read_bytes() == photo(1)
    with pytest.raises(CatalogError, match="none of its images is at an address"):
        fetch(moved, out=tmp_path / "again")
    with pytest.raises(WriteError, match="this is the file that is read"):
        fetch(moved, out=tmp_path / "moved")


def test_a_folder_of_photos_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(CatalogError, match="none of its images is at an address"):
        fetch(tmp_path, out=tmp_path / "out")
    for numbers in ({"width": 0}, {"width": 9999}, {"per_host": 0}, {"per_host": 99}):
        with pytest.raises(ConfigError):
            fetch(tmp_path, out=tmp_path / "out", **numbers)  # type: ignore[arg-type]


def test_an_original_is_kept_byte_for_byte(server: WebServer, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", quality=31)
    server.routes["/a.jpg"] = reply(file.getvalue() + b"behind the end")
    fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out")
    (kept,) = (tmp_path / "out" / "images").rglob("*.jpg")
    assert kept.read_bytes() == file.getvalue() + b"behind the end"
