"""Trainings on a long tail: what is kept, dropped and merged, and how it is scored."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import SplitError
from shopsight.io.json_files import read_json
from shopsight.runs.run_folder import RunFolder
from tests.helpers import make_products, run_command, train_small


@pytest.fixture(scope="module")
def long_tail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 dresses and hats, 4 shoes, and two classes of 2 images."""
    folder = tmp_path_factory.mktemp("tail") / "photos"
    make_products(folder, per_class=20, classes=("dress", "hat"))
    make_products(folder, per_class=4, classes=("shoe",))
    make_products(folder, per_class=2, classes=("bag", "skirt"))
    return folder


def parts_of(run: Path) -> dict[str, set[str]]:
    table = RunFolder(run).catalog().table
    return {
        label: set(rows["split"])
        for (label,), rows in table.group_by("label")
        if isinstance(label, str)
    }


def test_rare_classes_train_and_are_not_measured(
    long_tail: Path, tmp_path: Path, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_small(long_tail, tmp_path / "run", "data.test=0.2")
    assert parts_of(run)["skirt"] == {"train"}
    assert parts_of(run)["hat"] == {"train", "val", "test"}
    assert any(
        line.startswith("rare: 2 of 5 classes in training only, not measured, e.g. bag (2 images);")
        for line in said
    )
    assert read_json(RunFolder(run).split_file)["train_only"] == {"bag": 2, "skirt": 2}
    scores = read_json(RunFolder(run).scores_file)["test"]
    assert scores["not_measured"] == ["bag", "skirt"]
    rows = {row["label"]: row for row in scores["per_class"]}
    assert (rows["skirt"]["images"], rows["skirt"]["recall"], rows["skirt"]["f1"]) == (
        0,
        None,
        None,
    )
    measured = [row["recall"] for row in scores["per_class"] if row["images"]]
    assert scores["metrics"]["macro_recall"]["value"] == pytest.approx(sum(measured) / 3)
    found = run_command(capsys, ("evaluate", run))
    assert "test: 2 of 5 classes not measured: no image here, so in no macro average" in found.out
    assert "2 of 5 classes not measured" in (run / "report.html").read_text(encoding="utf-8")


def test_dropped_classes_are_listed_and_left_out_of_other_data(
    long_tail: Path, tmp_path: Path, said: list[str]
) -> None:
    run = train_small(long_tail, tmp_path / "run", "data.on_rare=drop", "data.rare_below=5")
    assert set(parts_of(run)) == {"dress", "hat"}
    assert "rare: left out 3 of 5 classes, 8 images, e.g. bag (2 images)" in said
    table = pl.read_csv(RunFolder(run).left_out_file)
    assert table.filter(pl.col("reason") == "rare class")["image"].len() == 8
    assert RunFolder(run).recipe().data.on_rare == "drop"
    other = api.evaluate(run, long_tail)
    assert "as in training, left out 8 images of 3 rare classes: bag, shoe, skirt" in said
    assert other.seen is not None
    assert other.seen.images == 40


def test_merged_classes_are_one_in_other_data_too(
    long_tail: Path, tmp_path: Path, said: list[str]
) -> None:
    run = train_small(long_tail, tmp_path / "run", "data.on_rare=merge")
    assert parts_of(run)["(rare)"] == {"train", "val", "test"}
    other = api.evaluate(run, long_tail)
    assert "as in training, 4 images of 2 classes are labeled (rare): bag, skirt" in said
    assert other.predictions.labels == ("(rare)", "dress", "hat", "shoe")
    assert other.seen is not None
    assert other.seen.images == 48


def test_refused_before_training_with_flags_to_copy(long_tail: Path, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="2 of 5 classes cannot be in every part") as caught:
        train_small(long_tail, tmp_path / "run", "data.on_rare=error")
    assert "--drop bag --drop skirt" in str(caught.value.fix)


def test_folds_train_on_rare_classes_and_test_the_others(long_tail: Path, tmp_path: Path) -> None:
    run = RunFolder(
        train_small(long_tail, tmp_path / "run", "folds.count=3", "folds.final=ensemble")
    )
    folds = dict(run.catalog().table.group_by("label").agg(pl.col("fold").unique().sort()).rows())
    assert folds == {
        "bag": [-1],
        "skirt": [-1],
        "shoe": [0, 1, 2],
        "dress": [0, 1, 2],
        "hat": [0, 1, 2],
    }
    for fold in run.folds():
        assert parts_of(fold.path)["skirt"] == {"train"}
    scores = read_json(run.scores_file)["out-of-fold"]
    assert scores["counts"]["images"] == 44
    assert scores["not_measured"] == ["bag", "skirt"]
