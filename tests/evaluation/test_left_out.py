"""Other data is scored as the audit sees it: without damaged and unreadable files, named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shopsight import api
from shopsight.audit import file_info
from shopsight.errors import CatalogError, ConfigError, WriteError
from shopsight.read_options import ReadOptions
from tests.helpers import ProductPhotos, edit_json


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


def test_rows_whose_box_lies_beside_the_image_are_left_out_everywhere(
    model: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    head, *rows = product_photos.table.read_text(encoding="utf-8").splitlines()
    boxes = ["-5,-5,500,90", "500,500,600,600", *["0,0,90,90"] * (len(rows) - 2)]
    lines = [f"{head},x1,y1,x2,y2", *map(",".join, zip(rows, boxes, strict=True))]
    table = tmp_path / "boxes.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    read = ReadOptions(images_root=product_photos.folder)
    # Of a model of boxes, which whole images would be refused by.
    edit_json(model / "model.json", preprocess={"boxes": True})
    report = api.audit(table, read=read, boxes=True)
    problem = "the box (500, 500, 100, 100) lies outside the 128 x 128 image"
    unusable = [(one.row, one.detail) for one in report.findings if one.kind == "unreadable"]
    assert unusable == [(1, problem)]
    found = api.evaluate(model, table, read=read)
    assert found.left_out is not None
    assert found.left_out.reasons == {"unreadable": 1}
    predicted = [one.error for one in api.predict(model, table, read=read)]
    assert predicted[1] is not None
    assert predicted[1].endswith(problem)
    assert not any(predicted[:1] + predicted[2:])


def test_answers_of_a_model_are_no_labels_without_a_word(
    model: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    out = tmp_path / "found.csv"
    list(api.predict(model, product_photos.folder / "hat", out=out))
    found = api.evaluate(model, out, read=ReadOptions(images_root=product_photos.folder))
    assert found.metrics["accuracy"] == 1
    assert "the labels are answers of a model, not what somebody saw" in said


def test_the_report_of_other_data_is_a_page(
    model: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    before = product_photos.table.read_bytes()
    with pytest.raises(ConfigError, match=r"not written as '\.csv'"):
        api.evaluate(model, product_photos.folder, out=product_photos.table)
    assert product_photos.table.read_bytes() == before
    (tmp_path / "there.html").mkdir()
    with pytest.raises(WriteError, match="this is a folder"):
        api.evaluate(model, product_photos.folder, out=tmp_path / "there.html")


def test_files_are_looked_at_once(
    tiny_run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what cannot be scored, for copies, and for what the run has seen: they may be remote."""
    looked, inspect_all = [], file_info.inspect_all

    def counted(refs: Sequence[str], **options: Any) -> file_info.Inspection:
        looked.append(len(refs))
        return inspect_all(refs, **options)

    monkeypatch.setattr(file_info, "inspect_all", counted)
    found = api.evaluate(tiny_run, photos)
    assert found.seen is not None
    assert looked == [60]
