from __future__ import annotations

import io
import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight.cli.wizard import run_name, show_predictions
from shopsight.commands.wizard import models_below
from tests.helpers import Outcome, ProductPhotos, Shopsight, make_products


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


def test_models_are_found_latest_first(here: Path, tiny_run: Path) -> None:
    assert models_below(here) == []
    shutil.copytree(tiny_run / "model", here / "bundle")
    shutil.copytree(tiny_run, here / "runs" / "second")
    found = models_below(here)
    assert set(found) == {Path("bundle"), Path("runs/second")}


def test_labels_a_folder_with_a_model_that_is_here(
    shopsight: Shopsight,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
    tiny_run: Path,
) -> None:
    shutil.copytree(tiny_run, here / "run")
    photos = make_products(here / "photos", per_class=4, seed=1).folder
    shown = _answered(shopsight, monkeypatch, "", photos, "out.csv", "y", "n")
    assert shown.code == 0
    assert _commands(shown) == [
        ["shopsight", "predict", "run", str(photos), "--out", "out.csv"],
        ["shopsight", "evaluate", "run", str(photos)],
    ]
    assert pl.read_csv(here / "out.csv").height == 12
    assert "macro f1" in shown.out
    table = shown.out.partition("least sure of")[2].partition("$ ")[0]
    assert table.count(" %") == 5


def test_no_score_on_the_images_that_the_model_learned(
    shopsight: Shopsight,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
    tiny_run: Path,
    product_photos: ProductPhotos,
) -> None:
    shutil.copytree(tiny_run, here / "run")
    shown = _answered(shopsight, monkeypatch, "", product_photos.folder, "out.csv", "n")
    assert shown.code == 0
    assert [words[1] for words in _commands(shown)] == ["predict"]
    assert "learned from these very images" in shown.err
    assert "shopsight evaluate run" in shown.err


def test_only_doubtful_images_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.DataFrame({"image": ["a.jpg", "b.jpg"], "label": "hat", "probability": [1.0, 0.996]})
    table.write_csv(tmp_path / "sure.csv")
    show_predictions(tmp_path / "sure.csv")
    assert "sure of all of them: 99.5 % or more" in capsys.readouterr().out
    table.with_columns(probability=pl.Series([1.0, 0.6])).write_csv(tmp_path / "doubtful.csv")
    show_predictions(tmp_path / "doubtful.csv")
    shown = capsys.readouterr().out
    assert "b.jpg" in shown
    assert "a.jpg" not in shown


def test_the_wizard_asks_for_the_folder_of_a_missing_data_set(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path, product_photos: ProductPhotos
) -> None:
    home = here / "copy"
    (home / "images").mkdir(parents=True)
    rows = ["image,sender_id,label"]
    for photo in sorted(product_photos.folder.rglob("*.jpg")):
        shutil.copy(photo, home / "images")
        rows.append(f"{photo.stem},1,{photo.parent.name}")
    (home / "images.csv").write_text("\n".join(rows), encoding="utf-8")
    shown = _answered(
        shopsight, monkeypatch,
        "t", "clothing", "run", "none", "clothing", "run", home, "fashion-mnist-cnn", "5s",
        product_photos.folder / "hat", "", "n",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    train = next(words for words in _commands(shown) if words[1] == "train")
    assert train[:5] == ["shopsight", "train", "clothing", "--root", str(home)]
    assert (here / "run" / "report.html").is_file()


def test_trains_after_excluding_what_the_audit_found(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    photos = make_products(here / "photos", per_class=12).folder
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
    assert train[-2:] == ["--exclude", "label-conflict"]
    assert (here / "run" / "report.html").is_file()
    assert (here / "hat-predictions.csv").is_file()


def test_trains_on_what_is_left_of_a_class(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    photos = make_products(here / "photos", per_class=12).folder
    for image in sorted((photos / "hat").iterdir())[:3]:
        image.write_bytes(b"404")
    one = make_products(here / "alone", per_class=4, classes=("shoe",)).folder
    shown = _answered(
        shopsight, monkeypatch,
        "t", one, "x", photos, "run", "y", "fashion-mnist-cnn", "5s", photos / "shoe", "", "n",
    )  # fmt: skip
    assert shown.code == 0, shown.err
    assert "there is only one class: name a folder with at least two" in shown.err
    assert _commands(shown)[2][-2:] == ["--accept", "lost-class"]
    assert (here / "run" / "report.html").is_file()


def test_wrong_answers_are_asked_again_and_the_end_is_quiet(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path, tiny_run: Path
) -> None:
    shown = _answered(shopsight, monkeypatch, "7", tiny_run, "nothing-here", "y")
    assert shown.code == 130
    assert "no model at 7" in shown.err
    assert "nothing at nothing-here" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("photos/", "photos"),
        ("data/shoes.csv", "shoes"),
        ("D:\\photos\\shoes.csv", "shoes"),
        ("E:\\", "E"),
        ("hf:owner/name:large", "name-large"),
        ("s3://bucket/aux", "%61ux"),
        ("/", "run"),
    ],
)
def test_a_run_is_named_after_its_data(data: str, name: str) -> None:
    assert run_name(data) == name


def test_a_path_may_be_in_quotes(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch, here: Path, tiny_run: Path
) -> None:
    shutil.copytree(tiny_run, here / "run")
    photos = make_products(here / "my photos", per_class=2, seed=1).folder
    shown = _answered(shopsight, monkeypatch, "", f'"{photos}"', "out.csv", "n", "n")
    assert shown.code == 0
    assert pl.read_csv(here / "out.csv").height == 6
