from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from tests.datasets.test_registry import mapping_tables
from tests.helpers import SMALL, ProductPhotos, Shopsight, make_products, set_home


def _spoil(folder: Path) -> None:
    """A broken file, and the same image under two labels."""
    (folder / "hat" / "broken.jpg").write_bytes(b"not an image")
    shutil.copy(folder / "hat" / "hat-000-0.jpg", folder / "shoe" / "same.jpg")


def test_audit_of_clean_images(shopsight: Shopsight, product_photos: ProductPhotos) -> None:
    shown = shopsight("audit", product_photos.folder)
    assert shown.code == 0
    assert "60 rows: 60 ok" in shown.out


def test_audit_that_finds_faults(shopsight: Shopsight, tmp_path: Path) -> None:
    folder = make_products(tmp_path / "photos", per_class=4).folder
    _spoil(folder)
    shown = shopsight("audit", folder, "--out", tmp_path / "audit")
    assert shown.code == 1
    assert "label-conflict" in shown.out
    findings = pl.read_csv(tmp_path / "audit" / "findings.csv")
    assert {"unreadable", "label-conflict"} <= set(findings["kind"])
    assert (tmp_path / "audit" / "audit.html").stat().st_size > 1000
    found = shopsight("audit", folder, "--json").json
    assert found["counts"]["unreadable"] == 1
    assert found["blocking"] >= 1


def test_images_in_another_folder(shopsight: Shopsight, tmp_path: Path) -> None:
    mapping_tables(tmp_path / "tables")
    for part in ("train", "test"):
        (tmp_path / "empty" / part).mkdir(parents=True)
    data = ("product-650", "--root", tmp_path / "tables", "--images-root", tmp_path / "empty")
    shown = shopsight("audit", *data)
    assert shown.code == 1
    assert "most-missing" in shown.out
    assert f"5 of 5 rows without a file; looked in {tmp_path / 'empty'}" in shown.out
    refused = shopsight("train", *data, "--out", tmp_path / "run", *SMALL)
    assert refused.code == 2
    assert f"looked in {tmp_path / 'empty'}" in refused.err
    assert "fix: --images-root" in refused.err


def test_split_keeps_products_together(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    out = tmp_path / "splits.csv"
    words = ("split", product_photos.table, "--group", "product", "--val", "0.2", "--test", "0.2")
    shown = shopsight(*words, "--out", out)
    assert shown.code == 0
    catalog = Catalog.read(out)
    assert len(catalog) == product_photos.count
    assert catalog.table.group_by("product").agg(pl.col("split").n_unique())["split"].max() == 1
    again = tmp_path / "again.csv"
    report = shopsight(*words, "--out", again, "--json").json
    assert report
    assert again.read_text(encoding="utf-8") == out.read_text(encoding="utf-8")


def test_folds(shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path) -> None:
    out = tmp_path / "folds.parquet"
    assert shopsight("split", product_photos.folder, "--out", out, "--folds", 4).code == 0
    assert sorted(set(Catalog.read(out).table["fold"])) == [0, 1, 2, 3]


def test_drop_means_the_same(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    words = (product_photos.folder, "--drop", "hat")
    assert "40 rows" in shopsight("audit", *words).out
    shopsight("split", *words, "--out", tmp_path / "s.csv")
    assert len(Catalog.read(tmp_path / "s.csv")) == 40
    assert shopsight("audit", product_photos.folder, "--drop", "hats").code == 2


def test_run_folder(tiny_run: Path) -> None:
    for name in ("recipe.toml", "report.html", "metrics.json", "model", "predictions/test.parquet"):
        assert (tiny_run / name).exists()


def test_train_refuses_what_would_corrupt_the_score(shopsight: Shopsight, tmp_path: Path) -> None:
    folder = make_products(tmp_path / "photos", per_class=12).folder
    _spoil(folder)
    out = tmp_path / "run"
    refused = shopsight("train", folder, "--out", out, *SMALL)
    assert refused.code == 2
    assert "--exclude label-conflict" in refused.err
    fixed = shopsight(
        "train", folder, "--out", tmp_path / "fixed", *SMALL, "--exclude", "label-conflict",
        "--json",
    )  # fmt: skip
    assert fixed.code == 0
    counts = {part: found["counts"] for part, found in fixed.json["evaluations"].items()}
    left_out = pl.read_csv(tmp_path / "fixed" / "audit" / "left_out.csv")
    train = len(Catalog.read(tmp_path / "fixed" / "catalog.parquet").rows_of("train"))
    images = train + sum(part["images"] for part in counts.values())
    assert images + left_out.height == 38


def test_train_reports_what_is_wrong_before_it_starts(
    shopsight: Shopsight, product_photos: ProductPhotos, tiny_run: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "run")
    for words, notes in (
        ((product_photos.folder,), "--out RUN or --resume RUN"),
        (("nowhere", *out), "no such folder"),
        ((product_photos.folder, *out, "--set", "training.epoch=3"), "training.epochs"),
        ((product_photos.folder, *out, "--time-limit", "soon"), "is not a time"),
        ((product_photos.folder, *out, "--fold", "3"), "--fold 3 needs --folds K"),
        ((product_photos.folder, *out, "--recipe", "fats"), "'fast'"),
        ((product_photos.folder, "--out", tiny_run), "already holds a run"),
        (out, "names no data set"),
        (("--resume", tmp_path), "is not a run folder"),
    ):
        shown = shopsight("train", *words)
        assert shown.code == 2, words
        assert notes in " ".join(shown.err.split()), words
        assert shown.out == ""
    assert not (tmp_path / "run").exists()


@pytest.fixture
def no_cache_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a new terminal: only `--cache-dir`, or else the home folder, says where to keep."""
    set_home(monkeypatch, tmp_path / "home")
    monkeypatch.delenv("SHOPSIGHT_CACHE")


@pytest.mark.usefixtures("no_cache_named")
def test_resume_uses_the_cache_of_the_run(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    words = ("train", product_photos.folder, "--out", run, *SMALL, "--cache-dir", cache)
    assert shopsight(*words).code == 0
    state = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(state | {"stage": "prepared"}), encoding="utf-8")
    # The flag is for its own command alone.
    assert "SHOPSIGHT_CACHE" not in os.environ
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.blobs")}
    assert before
    shown = shopsight("train", "--resume", run)
    assert shown.code == 0, shown.err
    assert not (tmp_path / "home" / ".cache" / "shopsight").exists()
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.blobs")} == before
    assert str(cache) not in (run / "recipe.toml").read_text(encoding="utf-8")


def test_evaluate_run(shopsight: Shopsight, own_run: Path) -> None:
    before = json.loads((own_run / "metrics.json").read_text(encoding="utf-8"))["test"]
    shutil.rmtree(own_run / "predictions")
    shown = shopsight("evaluate", own_run, "--json")
    assert shown.code == 0
    assert shown.json["metrics"] == before["metrics"]
    assert (own_run / "predictions" / "test.parquet").is_file()
    assert "accuracy" in shopsight("evaluate", own_run, "--split", "val").out


def test_evaluate_other_data(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    words = ("evaluate", tiny_run / "model", product_photos.folder)
    shown = shopsight(*words, "--out", report)
    assert shown.code == 0
    # The folder that it was trained on: only the test part is new to it.
    notes = json.loads((tiny_run / "metrics.json").read_text(encoding="utf-8"))["test"]["counts"][
        "images"
    ]
    assert f"all ({notes} of 60 images)" in shown.out
    assert f"{60 - notes} of 60 images were among those the model was trained on" in shown.err
    assert "<html" in report.read_text(encoding="utf-8")
    assert shopsight("evaluate", tiny_run / "model").code == 2
    folder = make_products(tmp_path / "other", per_class=2, classes=("bag",)).folder
    assert "bag" in shopsight("evaluate", tiny_run, folder).err


def test_predict_streams_lines(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    shown = shopsight("predict", tiny_run, product_photos.folder / "hat", "--top", "2")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert len(lines) == 20
    assert lines[0].count("%") == 2
    assert "20 images labeled" in shown.err


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_predict_into_a_table(
    shopsight: Shopsight,
    tiny_run: Path,
    product_photos: ProductPhotos,
    tmp_path: Path,
    suffix: str,
) -> None:
    out = tmp_path / f"predictions{suffix}"
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    hats = product_photos.folder / "hat"
    shown = shopsight("predict", tiny_run, hats, broken, "--out", out)
    assert shown.code == 1
    assert "1 not readable" in shown.err
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    table = read(out)
    assert table.height == 21
    assert table["image"][20] == str(broken)
    assert table["error"].null_count() == 20
    expected = shopsight("predict", tiny_run, hats, "--json").json
    assert table["label"][:20].to_list() == [row["label"] for row in expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jpg", out.name]


def test_predict_refuses_another_suffix_before_it_starts(
    shopsight: Shopsight, tiny_run: Path, tmp_path: Path
) -> None:
    shown = shopsight("predict", tiny_run, tmp_path, "--out", tmp_path / "table.xlsx")
    assert shown.code == 2
    assert ".parquet" in shown.err


def test_sort_into_copies_each_image_once(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    twice = tmp_path / "hat-000-0.jpg"
    shutil.copy(product_photos.folder / "shoe" / "shoe-000-0.jpg", twice)
    words = ("predict", tiny_run, product_photos.folder, twice)
    for _ in range(2):
        shown = shopsight(*words, "--sort-into", tmp_path / "sorted", "--json")
        assert shown.code == 0
        copied = [path for path in (tmp_path / "sorted").rglob("*") if path.is_file()]
        # Two files of one name but not one content: both are kept; a second time adds nothing.
        assert len(copied) == 61
    by_label = {row["image"]: row["label"] for row in shown.json}
    original = product_photos.folder / "hat" / "hat-003-1.jpg"
    copy = tmp_path / "sorted" / by_label[str(original)] / original.name
    assert copy.read_bytes() == original.read_bytes()


def test_python_and_command_line_say_the_same(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    import shopsight as package
    from shopsight import api

    hats = product_photos.folder / "hat"
    shown = shopsight("predict", tiny_run, hats, "--json").json
    direct = list(package.load(tiny_run).predict(hats, top=3))
    assert [row["labels"] for row in shown] == [list(one.labels) for one in direct]
    evaluation = api.evaluate(tiny_run, product_photos.folder)
    printed = shopsight("evaluate", tiny_run, product_photos.folder, "--json").json
    assert printed == json.loads(json.dumps(evaluation.to_json()))


@pytest.mark.slow
def test_folds_score_every_image_once(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    words = ("train", product_photos.table, "--group", "product", *SMALL, "--folds", 2, "--json")
    shown = shopsight(*words, "--out", tmp_path / "all")
    assert shown.code == 0
    assert shown.json["evaluations"]["out-of-fold"]["counts"]["images"] == product_photos.count
    assert shopsight("predict", tmp_path / "all", product_photos.folder / "hat").code == 0
    again = shopsight("evaluate", tmp_path / "all", "--json")
    assert again.code == 0
    assert again.json == shown.json["evaluations"]["out-of-fold"]
    one = shopsight(*words, "--fold", 1, "--out", tmp_path / "one")
    assert one.code == 0
    assert one.json["evaluations"]["test"]["counts"]["images"] == product_photos.count // 2


@pytest.mark.slow
@pytest.mark.posix("Ctrl-C of one process alone is not to be had on Windows")
def test_interrupted_training_prints_how_to_resume(
    product_photos: ProductPhotos, tmp_path: Path, shopsight: Shopsight
) -> None:
    words = ["train", product_photos.folder, "--out", tmp_path / "run", *SMALL, "--epochs", "500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shopsight.cli.app", *(str(word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        encoding="utf-8",
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "last.json").is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert f"shopsight train --resume {tmp_path / 'run'}" in err
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(
        recipe.read_text(encoding="utf-8").replace("epochs = 500", "epochs = 30", 1),
        encoding="utf-8",
    )
    resumed = shopsight("train", "--resume", tmp_path / "run", "--json")
    assert resumed.code == 0
    assert (tmp_path / "run" / "report.html").is_file()
