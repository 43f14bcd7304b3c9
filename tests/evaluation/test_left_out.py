"""Other data is scored as the audit sees it: without damaged and unreadable files, named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopsight import api
from shopsight.errors import CatalogError, ConfigError
from tests.helpers import ProductPhotos


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    """A bundle on its own, which does not know what it was trained on."""
    return shutil.copytree(tiny_run / "model", tmp_path / "bundle")


@pytest.fixture
def photos(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """The photos, one of them cut in half, one without its end, one a web page."""
    folder = shutil.copytree(product_photos.folder, tmp_path / "photos")
    half, cut, page = sorted((folder / "hat").iterdir())[:3]
    data = half.read_bytes()
    half.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    cut.write_bytes(data[: len(data) // 2])
    page.write_bytes(b"<html>404</html>")
    return folder


def test_what_the_audit_would_leave_out_is_not_scored(
    model: Path, photos: Path, said: list[str], tmp_path: Path
) -> None:
    found = api.evaluate(model, photos, out=tmp_path / "report.html")
    assert found.left_out is not None
    assert found.left_out.reasons == {"damaged": 1, "unreadable": 2}
    assert found.counts["images"] == 57
    assert found.left_out.images == 60
    assert found.left_out.note in said
    assert found.to_json()["left_out"]["reasons"] == {"damaged": 1, "unreadable": 2}
    assert "1 damaged" in (tmp_path / "report.html").read_text(encoding="utf-8")
    audited = api.audit(photos).files["status"].value_counts()
    assert dict(audited.iter_rows()) == {"ok": 57, "damaged": 1, "unreadable": 2}
    for file in sorted((photos / "hat").iterdir())[:3]:
        file.unlink()
    assert api.evaluate(model, photos).metrics == found.metrics


def test_damaged_files_are_scored_where_that_is_accepted(model: Path, photos: Path) -> None:
    found = api.evaluate(model, photos, accept=("damaged",))
    assert found.counts["images"] == 58
    with pytest.raises(ConfigError, match="does not know changed-file"):
        api.evaluate(model, photos, accept=("changed-file",))


def test_a_class_of_which_nothing_is_left_is_named(
    model: Path, photos: Path, said: list[str]
) -> None:
    for file in (photos / "hat").iterdir():
        file.write_bytes(b"<html>404</html>")
    found = api.evaluate(model, photos)
    assert found.left_out is not None
    assert found.left_out.classes == ("hat",)
    assert any("nothing is left of hat" in line for line in said)
    for file in photos.rglob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(CatalogError, match="60 of 60 images cannot be scored"):
        api.evaluate(model, photos)


def test_a_part_that_is_none_is_refused_before_data_is_read(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nonsense' is not a part of a split"):
        api.evaluate(model, tmp_path / "nowhere", split="nonsense")
