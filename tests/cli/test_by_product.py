"""`--by product` on the command line: predict and evaluate, what they print and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.helpers import SMALL, ProductPhotos, Shopsight


@pytest.fixture
def data(product_photos: ProductPhotos) -> tuple[str, ...]:
    folder, table = product_photos.folder, product_photos.table
    return (str(table), "--group", "product", "--images-root", str(folder), "--label", "label")


def test_predict_prints_a_line_per_product(
    shopsight: Shopsight, tiny_run: Path, data: tuple[str, ...], tmp_path: Path
) -> None:
    done = shopsight("predict", tiny_run, *data, "--by", "product", "--top", "1")
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if not line.startswith("  disagrees: ")]
    assert len(lines) == 30
    assert lines[0].startswith("dress-0 (2 photos, decided by ")
    assert "30 products labeled by 60 photos" in done.err
    as_json = shopsight("predict", tiny_run, *data, "--by", "product", "--json")
    rows = json.loads(as_json.out)
    assert [row["photos"] for row in rows] == [2] * 30
    disagree = sum(line.startswith("  disagrees: ") for line in done.out.splitlines())
    assert sum(len(row["disagreeing"]) for row in rows) == disagree
    out = tmp_path / "products.csv"
    written = shopsight("predict", tiny_run, *data, "--by", "product", "--out", out)
    assert (written.code, written.out) == (0, "")
    assert f"written: {out}" in written.err
    assert len(out.read_text(encoding="utf-8").splitlines()) == 31


def test_a_model_without_a_temperature_of_products_says_so(
    shopsight: Shopsight, tiny_run: Path, data: tuple[str, ...]
) -> None:
    done = shopsight("predict", tiny_run, *data, "--by", "product")
    assert "not calibrated on products of several photos" in done.err


def test_photos_that_cannot_be_read_are_said_and_exit_with_1(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photo = product_photos.folder / "hat/hat-000-0.jpg"
    (tmp_path / "a.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no image")
    (tmp_path / "shop.csv").write_text("image,group\na.jpg,1\nb.jpg,1\n", encoding="utf-8")
    table = tmp_path / "shop.csv"
    done = shopsight("predict", tiny_run, table, "--group", "group", "--by", "product")
    assert done.code == 1
    assert done.out.startswith("1 (1 photo): ")
    assert "b.jpg" in done.err
    assert "1 photos not readable" not in done.err
    assert "1 photo not readable" in done.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--sort-into", "sorted"), "--sort-into would change nothing"),
        (("--confidence", "0.9"), "the deepest path is of a model whose labels are paths"),
        (("more.csv",), "--by product takes one DATA"),
    ],
)
def test_what_goes_with_images_alone_is_refused(
    shopsight: Shopsight, tiny_run: Path, data: tuple[str, ...], words: tuple[str, ...], why: str
) -> None:
    done = shopsight("predict", tiny_run, *data, *words, "--by", "product")
    assert done.code == 2
    assert why in done.err


def test_evaluate_shows_both_scores(
    shopsight: Shopsight, tiny_run: Path, data: tuple[str, ...], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    # A bundle alone does not know which images it was trained on.
    model = shutil.copytree(tiny_run / "model", tmp_path / "model")
    both = shopsight("evaluate", model, *data, "--by", "product", "--out", page)
    assert both.code == 0
    assert "all (60 images)" in both.out
    assert "all (30 products)" in both.out
    assert "photos with their product's label instead of their own" in both.out
    assert 'id="products"' in page.read_text(encoding="utf-8")
    line = shopsight("evaluate", model, *data)
    assert "all by product: accuracy " in line.out
    found = json.loads(shopsight("evaluate", model, *data, "--json").out)
    assert found["by_product"]["products"] == 30


def test_evaluate_refuses_what_has_no_products(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    done = shopsight("evaluate", tiny_run, product_photos.folder, "--by", "product")
    assert done.code == 2
    assert "no column says which photos show one product" in done.err
    assert "--group COLUMN" in done.err


def test_train_says_the_score_by_product(
    shopsight: Shopsight, data: tuple[str, ...], tmp_path: Path
) -> None:
    done = shopsight("train", *data, "--out", tmp_path / "run", *SMALL)
    assert done.code == 0
    assert "test by product: accuracy " in done.out
    assert "val by product: accuracy " in done.out
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert scores["test"]["by_product"]["products"] >= 3
    info = json.loads((tmp_path / "run" / "model" / "model.json").read_text(encoding="utf-8"))
    assert info["by_product"]["products"] >= 3
    assert (tmp_path / "run" / "predictions" / "by-product" / "test.parquet").is_file()
