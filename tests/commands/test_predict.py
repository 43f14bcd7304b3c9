from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

import shopsight
from shopsight import api
from shopsight.errors import ShopsightError
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


def test_another_suffix_is_refused_before_the_model_is_opened(
    tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(ShopsightError, match=r"\.parquet"):
        api.predict(tmp_path / "model", "x.jpg", out=tmp_path / "table.xlsx")
