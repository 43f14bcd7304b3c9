from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight.datasets.synthetic import draw_catalog
from shopsight.runs.run_folder import RunFolder
from tests.helpers import SMALL, Shopsight


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    draw_catalog(root, products_per_class=3)
    (root / "images.parquet").unlink()
    shutil.copyfile(root / "bag/bag-0000-0.jpg", root / "bag/twin.jpg")
    return root


def test_duplicates_are_written_and_left_out_of_training(
    shopsight: Shopsight, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found"
    shown = shopsight("duplicates", photos, "--out", out, "--threshold", "0.999")
    assert shown.code == 0, shown.err
    assert "1 image to drop" in shown.out
    table = pl.read_csv(out / "duplicates.csv")
    assert table.columns[:5] == ["cluster", "kind", "score", "decision", "id"]
    assert table["decision"].to_list() == ["keep", "drop"]
    page = (out / "duplicates.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 2
    assert "bag/twin.jpg" in page
    run = tmp_path / "run"
    trained = shopsight(
        "train", photos, "--out", run, *SMALL, "--decisions", out / "duplicates.csv"
    )
    assert trained.code == 0, trained.err
    assert "1 decided to drop" in trained.err
    left_out = pl.read_csv(RunFolder(run).left_out_file)
    assert left_out.rows() == [("bag/twin.jpg", "decided to drop")]
    audited = shopsight("audit", photos, "--decisions", out / "duplicates.csv", "--json")
    assert "exact-duplicate" not in json.loads(audited.out)["counts"]


def test_a_list_about_other_data_is_refused_by_names(
    shopsight: Shopsight, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text("id,decision\nelsewhere.jpg,drop\n", encoding="utf-8")
    for verb in (("train", photos, "--out", tmp_path / "run"), ("audit", photos)):
        shown = shopsight(*verb, "--decisions", file)
        assert shown.code == 2
        assert "elsewhere.jpg" in shown.err
    assert not (tmp_path / "run" / "model").exists()


def test_two_catalogs_have_a_list_each(shopsight: Shopsight, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/bag"
    other.mkdir(parents=True)
    shutil.copyfile(photos / "bag/bag-0001-0.jpg", other / "new.jpg")
    shutil.copyfile(photos / "shoe/shoe-0001-0.jpg", other / "shoe.jpg")
    out = tmp_path / "found"
    shown = shopsight(
        "duplicates", photos, "--other", other.parent, "--out", out, "--threshold", "1", "--json"
    )
    assert shown.code == 0, shown.err
    found = json.loads(shown.out)
    # The twin within one catalog is no finding between two.
    assert found["clusters"]["same file"] == 2
    assert pl.read_csv(out / "duplicates.csv")["decision"].to_list() == ["keep", "keep"]
    theirs = pl.read_csv(out / "duplicates-other.csv")
    assert theirs["decision"].to_list() == ["drop", "drop"]
    assert sorted(theirs["id"]) == ["bag/new.jpg", "bag/shoe.jpg"]


@pytest.mark.parametrize("value", ["1.5", "nan"])
def test_a_threshold_that_is_no_cosine_is_refused(
    shopsight: Shopsight, photos: Path, value: str
) -> None:
    shown = shopsight("duplicates", photos, "--threshold", value)
    assert shown.code == 2
    assert "threshold" in shown.err
