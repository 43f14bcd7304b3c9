from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.datasets.synthetic import draw_catalog
from shopsight.runs.run_folder import RunFolder
from tests.helpers import Shopsight


def test_held_out_classes_are_in_no_training(shopsight: Shopsight, tmp_path: Path) -> None:
    draw_catalog(tmp_path / "photos", products_per_class=10)
    shown = shopsight(
        *("split", tmp_path / "photos", "--by", "label", "--test", "0.3"),
        *("--out", tmp_path / "split.csv"),
    )
    assert shown.code == 0, shown.err
    assert "held out: 2 of 8 classes" in shown.err
    table = pl.read_csv(tmp_path / "split.csv")
    held = set(table.filter(pl.col("held_out"))["label"])
    assert len(held) == 2
    assert set(table.filter(pl.col("split") == "test")["label"]) == held
    assert not set(table.filter(pl.col("split") != "test")["label"]) & held
    audited = shopsight("audit", tmp_path / "split.csv", "--out", tmp_path / "audit")
    assert audited.code == 0, audited.out
    run = tmp_path / "run"
    trained = shopsight(
        *("train", tmp_path / "split.csv", "--recipe", "fashion-mnist-cnn", "--epochs", "1"),
        *("--set", "training.batch_size=8", "--out", run),
    )
    assert trained.code == 0, trained.err
    assert "held out by the split, not trained on: 2 classes" in trained.err
    left_out = pl.read_csv(RunFolder(run).left_out_file)
    assert left_out["reason"].to_list().count("held-out class") == 40
    known = set(pl.read_parquet(run / "catalog.parquet")["label"])
    assert known == set(table["label"]) - held
