"""The page "Add an audit check" does what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.audit.findings import KINDS
from tests.helpers import ProductPhotos

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-check.md"


def test_the_check_of_the_page_finds_the_dark_image(
    product_photos: ProductPhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(product_photos.folder, tmp_path / "photos")
    with Image.open(sorted((tmp_path / "photos" / "hat").iterdir())[0]) as image:
        image.point(lambda level: level // 20).save(tmp_path / "photos" / "hat" / "night.jpg")
    Image.new("RGB", (20, 20)).save(tmp_path / "photos" / "hat" / "icon.png")
    (tmp_path / "photos" / "hat" / "broken.jpg").write_bytes(b"404")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 2
    try:
        exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    finally:
        del KINDS["dark"]
    found, total = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"hat/night\.jpg mean \d+ of 255", found)
    assert total == "note: dark image: 1"
    table = pl.read_csv(tmp_path / "audit" / "findings.csv")
    assert table.filter(kind="dark")["image"].to_list() == ["hat/night.jpg"]
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "Dark image" in page
    assert "The photo is underexposed." in page
