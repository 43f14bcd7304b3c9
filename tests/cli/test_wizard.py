from __future__ import annotations

import io
import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight.cli.wizard import known_models
from tests.cli.conftest import Outcome, Shopsight
from tests.conftest import DrawnProducts, draw_products


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _answered(shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, *answers: object) -> Outcome:
    typed = "".join(f"{answer}\n" for answer in answers)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    return shopsight("wizard")


def _commands(shown: Outcome) -> list[list[str]]:
    return [line.split()[1:] for line in shown.out.splitlines() if line.startswith("$ ")]


def test_models_are_found_latest_first(here: Path, finished_run: Path) -> None:
    assert known_models(here) == []
    shutil.copytree(finished_run / "model", here / "bundle")
    shutil.copytree(finished_run, here / "runs" / "second")
    found = known_models(here)
    assert set(found) == {Path("bundle"), Path("runs/second")}


def test_labels_a_folder_with_a_model_that_is_here(
    shopsight: Shopsight,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
    finished_run: Path,
    drawn_products: DrawnProducts,
) -> None:
    shutil.copytree(finished_run, here / "run")
    photos = drawn_products.folder
    shown = _answered(shopsight, monkeypatch, "", photos, "out.csv", "y", "n")
    assert shown.code == 0
    assert _commands(shown) == [
        ["shopsight", "predict", "run", str(photos), "--out", "out.csv"],
        ["shopsight", "evaluate", "run", str(photos)],
    ]
    assert pl.read_csv(here / "out.csv").height == drawn_products.count
    assert "least sure of" in shown.out
    assert "macro f1" in shown.out


def test_trains_after_mending_what_the_audit_found(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    photos = draw_products(here / "photos", per_class=12).folder
    shutil.copy(photos / "hat" / "hat-000-0.jpg", photos / "shoe" / "same.jpg")
    hats = photos / "hat"
    shown = _answered(
        shopsight, monkeypatch,
        "t", "nowhere", "x", photos, "run", "y", "fashion-mnist-cnn", "5s", hats, "", "n",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert "nowhere: no such folder" in shown.err
    train = _commands(shown)[2]
    assert train[:3] == ["shopsight", "train", str(photos)]
    assert train[-2:] == ["--leave-out", "label-conflict"]
    assert (here / "run" / "report.html").is_file()
    assert (here / "hat-predictions.csv").is_file()


def test_wrong_answers_are_asked_again_and_the_end_is_quiet(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path, finished_run: Path
) -> None:
    shown = _answered(shopsight, monkeypatch, "7", finished_run, "nothing-here", "y")
    assert shown.code == 130
    assert "no model at 7" in shown.err
    assert "nothing at nothing-here" in shown.err
    assert "Traceback" not in shown.err
