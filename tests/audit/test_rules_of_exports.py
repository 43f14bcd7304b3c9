"""Rules on a shop's export, whose images lie on a server: audited there, and after a fetch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.audit.audit import AuditReport
from shopsight.commands.audit import audit
from shopsight.commands.fetch import fetch
from shopsight.read_options import ReadOptions
from tests.web_server import WebServer, files_below, serving

pytestmark = pytest.mark.enable_socket

PRIVATE = ReadOptions(allow_private=True)
HEADER = "Handle,Title,Type,Image Src,Image Position,Variant Price\n"


def shirt(side: int, kind: str, fill: float = 0.9) -> bytes:
    pixels = np.full((side, side, 3), 255, np.uint8)
    edge = round(side * (1 - fill) / 2)
    pixels[edge : side - edge, edge : side - edge] = (40, side % 200, 160)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(shirt(600, "JPEG"))
    (photos / "a2.jpg").write_bytes(shirt(300, "JPEG", fill=0.5))
    (photos / "b_200x.jpg").write_bytes(shirt(200, "PNG"))
    with serving() as started:
        started.routes.update(files_below(photos))
        started.routes["/b_200x.jpg?v=17"] = started.routes["/b_200x.jpg"]
        started.routes["/a.jpg?v=18"] = started.routes["/a.jpg"]
        yield started


@pytest.fixture
def export(server: WebServer, tmp_path: Path) -> Path:
    path = tmp_path / "products_export.csv"
    rows = [
        f"a,Shirt,Shirts,{server.url}/a2.jpg,2,9.5",
        f"a,,,{server.url}/a.jpg,1,",
        f"b,Hat,Hats,{server.url}/b_200x.jpg?v=17,1,4",
        f"c,Scarf,Hats,{server.url}/a.jpg?v=18,1,7",
    ]
    path.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def broken(report: AuditReport, rule: str) -> dict[str, str]:
    """Addresses of the images that break a rule, without their host, with what was measured."""
    assert report.rules is not None
    number = [one.name for one in report.rules.rules].index(rule)
    addresses = report.rules.facts["address"]
    rows = report.rules.broken.filter(rule=number).select("row", "measured").iter_rows()
    return {addresses[row].rpartition("/")[2]: measured for row, measured in rows}


def check(report: AuditReport) -> None:
    assert broken(report, "google/size") == {
        "a2.jpg": "300 x 300 px",
        "b_200x.jpg?v=17": "200 x 200 px",
    }
    assert broken(report, "google/suffix") == {"b_200x.jpg?v=17": ".jpg holds png"}
    assert broken(report, "google/smaller-copy") == {"b_200x.jpg?v=17": "_200x"}
    # Not the main image of its product.
    assert broken(report, "amazon/fill") == {}
    assert report.headlines()[0].startswith("2 products fall under Google's limit")


def test_images_at_addresses(export: Path) -> None:
    report = audit(export, read=PRIVATE, rules="google+amazon", rules_date="2027-01-31")
    check(report)
    assert report.rules is not None
    assert report.rules.rejected()["product"].unique().sort().to_list() == ["a", "b"]


def test_images_that_were_fetched(export: Path, tmp_path: Path) -> None:
    """The files are named by their content, and judged by the names that the feed has."""
    found = fetch(export, out=tmp_path / "out", read=PRIVATE)
    assert found.table is not None
    report = audit(
        found.table, rules="google+amazon", rules_date="2027-01-31", out=tmp_path / "audit"
    )
    check(report)
    rejected = pl.read_csv(tmp_path / "audit" / "rejected.csv").filter(rule="google/suffix")
    assert rejected["url"][0].endswith("/b_200x.jpg?v=17")
