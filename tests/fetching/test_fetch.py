"""A shop's images from a real server: fetched once, by content, and asked for again only if new."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from shopsight.datasets.open import open_catalog
from tests.fetching.conftest import fetched, known, photo, table
from tests.web_server import WebServer, reply

pytestmark = pytest.mark.enable_socket


def test_images_are_kept_by_content(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": reply(photo(n)) for n in range(3)}
    done = fetched(table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(3))), tmp_path / "out")
    assert done.counts.fates["fetched"] == 3
    for n in range(3):
        digest = hashlib.sha256(photo(n)).hexdigest()
        file = tmp_path / "out" / "images" / digest[:2] / f"{digest}.jpg"
        assert file.read_bytes() == photo(n)
    catalog = open_catalog(tmp_path / "out" / "catalog.parquet")
    assert catalog.table.columns == ["image", "label", "group", "price", "url"]
    assert catalog.table["group"].to_list() == ["P-0", "P-0", "P-1"]
    assert catalog.table["url"].to_list() == [f"{server.url}/{n}.jpg" for n in range(3)]
    assert [Path(ref).read_bytes() for ref in catalog.refs()] == [photo(n) for n in range(3)]
    records = pl.read_parquet(tmp_path / "out" / "fetch.parquet")
    assert records["status"].to_list() == [200] * 3
    assert records["width"].to_list() == [48] * 3
    assert not (tmp_path / "out" / "fetch.unfinished.jsonl").exists()


def test_a_second_run_asks_only_whether_something_changed(
    server: WebServer, tmp_path: Path
) -> None:
    server.routes |= {f"/{n}.jpg": known(photo(n), f'"{n}"') for n in range(3)}
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(3)))
    fetched(data, tmp_path / "out")
    server.routes["/1.jpg"] = known(photo(77), '"new"')
    done = fetched(data, tmp_path / "out")
    assert done.counts.fates["unchanged"] == 2
    assert done.counts.fates["changed"] == 1
    assert len(server.asked) == 6
    catalog = open_catalog(tmp_path / "out" / "catalog.parquet")
    assert [Path(ref).read_bytes() for ref in catalog.refs()] == [photo(0), photo(77), photo(2)]


def test_an_image_of_several_rows_is_asked_for_once(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {"/a.jpg?v=2": reply(photo(1)), "/b.jpg": reply(photo(1))}
    url = server.url
    cells = [f"{url}/a.jpg?v=1", f"{url}/a.jpg?v=2", f"{url.upper()}/a.jpg?v=2", f"{url}/b.jpg"]
    done = fetched(table(tmp_path, *cells), tmp_path / "out")
    assert sorted(server.asked) == ["/a.jpg?v=2", "/b.jpg"]
    assert (done.counts.fates["fetched"], done.counts.num_shared) == (2, 2)
    assert len(list((tmp_path / "out" / "images").rglob("*.jpg"))) == 1
    assert done.num_table_rows == 4


def test_what_failed_is_listed_with_its_row(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {"/a.jpg": reply(photo(1))}
    cells = [f"{server.url}/a.jpg", f"{server.url}/gone.jpg", f"{server.url}/gone.jpg"]
    done = fetched(table(tmp_path, *cells), tmp_path / "out")
    assert done.counts.fates["failed"] == 1
    assert (done.counts.num_failed_rows, done.num_table_rows) == (2, 1)
    assert dict(done.counts.reasons) == {"missing": 1}
    failed = pl.read_csv(tmp_path / "out" / "failed.csv")
    assert failed["group"].to_list() == ["P-0", "P-1"]
    assert failed["status"].to_list() == [404, 404]
    catalog = open_catalog(tmp_path / "out" / "catalog.parquet")
    assert "2 rows without an image: failed.csv" in catalog.notes
    server.routes["/gone.jpg"] = reply(photo(2))
    server.asked.clear()
    done = fetched(table(tmp_path, *cells), tmp_path / "out", retry_failed=True)
    assert server.asked == ["/gone.jpg"]
    assert (done.counts.fates["not asked"], done.counts.fates["fetched"]) == (1, 1)
    assert not (tmp_path / "out" / "failed.csv").exists()
    assert done.num_table_rows == 3
