from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

import shopsight
from shopsight import api, held_files
from shopsight.errors import ShopsightError, WriteError
from tests.helpers import ProductPhotos


def test_predictions_are_written_while_they_are_taken(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    out = tmp_path / "table.csv"
    hats = product_photos.folder / "hat"
    model = shopsight.load(tiny_run)
    predictions = api.predict(model, hats, top=9, out=out, sort_into=tmp_path / "sorted")
    first = next(predictions)
    # As many labels as the model has.
    assert len(first.labels) == 3
    assert not out.exists()
    rest = list(predictions)
    assert pl.read_csv(out).height == 1 + len(rest) == 20
    assert len(list((tmp_path / "sorted").rglob("*.jpg"))) == 20


def test_an_image_that_cannot_be_copied_costs_no_predictions(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = sorted((product_photos.folder / "hat").iterdir())[3].name
    real = os.replace

    def refuse(source: Path, target: Path) -> None:
        if target.name == held:
            error = PermissionError(13, "used by another process")
            error.winerror = 32  # type: ignore[attr-defined]
            raise error
        real(source, target)

    monkeypatch.setattr(held_files, "PATIENCE_S", 0.0)
    monkeypatch.setattr(os, "replace", refuse)
    out, copies = tmp_path / "table.csv", tmp_path / "sorted"
    with pytest.raises(WriteError, match="1 image could not be copied") as raised:
        list(api.predict(tiny_run, product_photos.folder / "hat", out=out, sort_into=copies))
    (detail,) = raised.value.details
    assert detail.endswith(f"{held}: it could not be replaced: another program has it open")
    assert pl.read_csv(out).height == 20
    names = [path.name for path in copies.rglob("*") if path.is_file()]
    assert len(names) == 19
    assert held not in names


def test_paths_too_long_for_windows_are_refused_before_the_model_is_opened(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopsight.output_paths.longest_path", lambda: 259)
    deep = tmp_path / ("d" * 240)
    with pytest.raises(WriteError, match="Windows opens 259"):
        api.predict("no-such-model", "x.jpg", out=deep / "table.csv")
    with pytest.raises(WriteError, match="files in it would have paths of"):
        api.predict(tiny_run, "x.jpg", sort_into=deep)


def test_another_suffix_is_refused_before_the_model_is_opened(
    tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ShopsightError, match=r"\.parquet"):
        api.predict(tmp_path / "model", "x.jpg", out=tmp_path / "table.xlsx")


def test_the_table_that_is_read_is_not_replaced(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shutil.copy(product_photos.table, tmp_path / "table.csv")
    before = table.read_bytes()
    monkeypatch.chdir(tmp_path)
    for images in (table, "table.csv", [str(table)]):
        with pytest.raises(WriteError, match="the file that is read"):
            api.predict(tiny_run, images, out=tmp_path / "table.csv")
    with pytest.raises(WriteError, match="the file that is read"):
        api.split(table, out="table.csv")
    assert table.read_bytes() == before


def test_copies_within_data_are_not_labeled_again(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    photos = shutil.copytree(product_photos.folder / "hat", tmp_path / "photos")
    for _ in range(2):
        found = list(api.predict(tiny_run, photos, sort_into=photos / "sorted"))
        assert len(found) == 20
        assert len(list((photos / "sorted").rglob("*.jpg"))) == 20
    assert any(line.startswith("left out, copied there before: 20 images") for line in said)
    # Unless they are asked for.
    copies = photos / "sorted"
    assert len(list(api.predict(tiny_run, [photos, copies], sort_into=copies))) == 60


def test_an_empty_name_is_shown(tiny_run: Path) -> None:
    (found,) = api.predict(tiny_run, "")
    assert found.error == "'': no such file"
