"""The epochs of a training: which one is kept, and their means over folds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from shopsight.errors import DamagedFileError
from shopsight.runs.history import (
    EpochRow,
    best_epoch,
    mean_history,
    read_history,
    selected_epoch,
    write_history,
)

NAN = float("nan")
ROW = EpochRow("finetune", 1, 28, 0.1, 1.0, 0.5, 1.0, 0.6, 2.0)
ROWS = [
    replace(ROW, epoch=1, val_accuracy=0.6),
    replace(ROW, epoch=2, val_accuracy=0.8, val_loss=0.9),
    replace(ROW, epoch=3, val_accuracy=0.8, val_loss=0.7),
    replace(ROW, epoch=4, val_accuracy=0.8, val_loss=0.7),
    replace(ROW, epoch=5, val_accuracy=0.7),
]
PROBE_ROW = replace(ROW, stage="probe", epoch=0, val_accuracy=0.95)


def test_the_best_epoch_is_the_first_of_highest_accuracy_and_lowest_loss() -> None:
    assert best_epoch(ROWS).epoch == 3


def test_without_validation_images_the_last_epoch_is_kept() -> None:
    blind = [replace(row, val_accuracy=NAN, val_loss=NAN) for row in ROWS]
    assert best_epoch(blind).epoch == 5
    assert selected_epoch(blind, "best") == blind[-1]


def test_the_probe_is_never_the_epoch_that_is_kept() -> None:
    assert selected_epoch([PROBE_ROW, *ROWS], "best") == ROWS[2]
    assert selected_epoch([PROBE_ROW, *ROWS], "last") == ROWS[-1]
    assert selected_epoch([PROBE_ROW]) is None
    assert selected_epoch([]) is None


def test_means_are_epoch_by_epoch_as_far_as_each_came() -> None:
    lifted = [replace(row, train_loss=row.train_loss + 0.5) for row in [PROBE_ROW, *ROWS[:3]]]
    means = mean_history([[PROBE_ROW, *ROWS], lifted])
    assert [(row.stage, row.epoch) for row in means] == [
        ("probe", 0),
        *(("finetune", epoch) for epoch in range(1, 6)),
    ]
    assert [row.train_loss for row in means] == pytest.approx([1.25] * 4 + [1.0] * 2)
    assert mean_history([]) == []


def test_the_file_gives_the_rows_back(tmp_path: Path) -> None:
    rows = [PROBE_ROW, replace(ROW, val_accuracy=NAN, val_loss=NAN)]
    write_history(tmp_path / "history.csv", rows)
    probe, blind = read_history(tmp_path / "history.csv")
    assert probe == PROBE_ROW
    assert math.isnan(blind.val_loss)
    assert not blind.validated
    assert set(blind.figures()) == {"train_loss", "train_accuracy", "lr"}
    assert "val" not in blind.line()
    assert read_history(tmp_path / "absent.csv") == []


def test_figures_of_one_kind_of_training_have_columns_of_their_own(tmp_path: Path) -> None:
    rows = [PROBE_ROW, replace(ROW, further={"margin": 0.3, "target_angle_deg": 71.5})]
    write_history(tmp_path / "history.csv", rows)
    assert read_history(tmp_path / "history.csv") == rows
    assert rows[1].figures()["margin"] == 0.3
    assert rows[1].line().endswith("margin 0.3, target angle deg 71.5 (2 s)")
    assert [EpochRow.from_json(vars(row)) for row in rows] == rows
    (_, mean) = mean_history([rows, [PROBE_ROW, replace(ROW, further={"margin": 0.5})]])
    assert mean.further == {"margin": 0.4}


@pytest.mark.parametrize("change", [("0.6", "=1+1"), ("0.6", ""), ("finetune,1", "finetune,x")])
def test_figures_that_are_none(change: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_history(path, [ROW])
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"metrics\.csv"):
        read_history(path)
