"""What fails an audit or stops a training: kinds that the user names, and classes that are lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from tests.helpers import SMALL, ProductPhotos, Shopsight, make_products


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """Twelve images of each class, and one more of each that cannot be read."""
    photos = make_products(tmp_path / "photos", per_class=12)
    for label in photos.labels:
        (photos.folder / label / "broken.jpg").write_bytes(b"404")
    return photos.folder


@pytest.fixture
def hatless(tmp_path: Path) -> Path:
    """A table of three classes, all files of one of which are of a kind that is not read."""
    photos = make_products(tmp_path / "photos", per_class=12)
    for image in sorted((photos.folder / "hat").iterdir()):
        image.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200)
    return photos.table


def last_line(out: str) -> str:
    return out.rstrip("\n").splitlines()[-1]


def test_an_audit_fails_on_the_kinds_that_are_named(shopsight: Shopsight, spoiled: Path) -> None:
    shown = shopsight("audit", spoiled)
    assert shown.code == 0
    assert last_line(shown.out).startswith("passes; would fail with --fail-on unreadable (3), ")
    for words in (("unreadable",), ("warning",), ("note",), ("tiny", "--fail-on", "unreadable")):
        failed = shopsight("audit", spoiled, "--fail-on", *words)
        assert failed.code == 1, words
        assert last_line(failed.out).startswith("fails: 3 x unreadable"), words
    assert shopsight("audit", spoiled, "--fail-on", "damaged").code == 0
    found = shopsight("audit", spoiled, "--fail-on", "unreadable", "--json")
    assert found.code == 1
    assert found.json["verdict"]["failed_by"] == {"unreadable": 3}
    assert not found.json["verdict"]["passed"]


def test_an_accepted_finding_is_listed_and_fails_nothing(
    shopsight: Shopsight, spoiled: Path, tmp_path: Path
) -> None:
    shutil.copy(spoiled / "hat" / "hat-000-0.jpg", spoiled / "shoe" / "same.jpg")
    assert last_line(shopsight("audit", spoiled).out) == "fails: 1 x label-conflict"
    out = tmp_path / "audit"
    shown = shopsight("audit", spoiled, "--accept", "label-conflict", "--out", out)
    assert shown.code == 0
    assert "error      label-conflict" in shown.out
    assert "passes (accepted: 1 x label-conflict); would fail with" in last_line(shown.out)
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "1 finding that would fail the audit, accepted: label-conflict." in page
    # A mistyped kind is refused before any image is read.
    mistyped = shopsight("audit", spoiled, "--accept", "label-conflicts")
    assert mistyped.code == 2
    assert "did you mean label-conflict?" in mistyped.err
    assert "did you mean unreadable?" in shopsight("audit", spoiled, "--fail-on", "unreadble").err


def test_a_training_fails_on_the_kinds_that_are_named(
    shopsight: Shopsight, spoiled: Path, tmp_path: Path
) -> None:
    refused = shopsight(
        "train", spoiled, "--out", tmp_path / "run", *SMALL, "--fail-on", "unreadable"
    )
    assert refused.code == 2
    assert "the audit found what --fail-on refuses: 3 x unreadable" in refused.err
    assert "--accept unreadable" in refused.err


def test_a_lost_class_is_said_everywhere(
    shopsight: Shopsight, hatless: Path, tmp_path: Path
) -> None:
    detail = "'hat' loses 12 of 12 images: 12 unreadable; such as "
    shown = shopsight("audit", hatless)
    assert shown.code == 1
    assert f"lost-class: {detail}" in shown.out
    assert last_line(shown.out) == "fails: 1 x lost-class"
    run = tmp_path / "run"
    refused = shopsight("train", hatless, "--out", run, *SMALL)
    assert refused.code == 2
    assert detail in refused.err
    assert not (run / "model").exists()
    shutil.rmtree(run)
    trained = shopsight("train", hatless, "--out", run, *SMALL, "--accept", "lost-class")
    assert trained.code == 0, trained.err
    assert "left out 12 of 36 images: 12 unreadable; by name in" in trained.err
    assert f"lost-class: {detail}" in trained.err
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Class lost with its files: &#39;hat&#39; loses 12 of 12 images" in report
    assert "Accepted by the user: lost-class." in report
    assert Catalog.read(run / "catalog.parquet").labels == ("dress", "shoe")


def test_a_split_does_not_lose_a_class_unseen(
    shopsight: Shopsight, hatless: Path, tmp_path: Path
) -> None:
    table = tmp_path / "splits.csv"
    refused = shopsight("split", hatless, "--out", table)
    assert refused.code == 2
    assert "'hat' loses 12 of 12 images" in refused.err
    assert not table.exists()
    done = shopsight("split", hatless, "--out", table, "--accept", "lost-class")
    assert done.code == 0, done.err
    assert "left out 12 of 36 images: 12 unreadable" in done.err
    assert done.err.count("lost-class: 'hat' loses 12 of 12 images") == 1
    assert Catalog.read(table).labels == ("dress", "shoe")


@pytest.mark.parametrize("verb", ["train", "folds", "compare", "recommend"])
def test_one_class_is_refused_before_work(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path, verb: str
) -> None:
    out, dropped = tmp_path / "out", ("--drop", "dress", "--drop", "hat")
    # A backbone that does not exist would be refused too, later.
    command = {
        "train": ("train", product_photos.folder, *dropped, "--out", out),
        "folds": ("train", product_photos.folder, *dropped, "--folds", 3, "--out", out),
        "compare": (
            *("compare", product_photos.folder, *dropped, "--out", out),
            *("--backbones", "timm:no_such,timm:nor_this"),
        ),
        "recommend": ("recommend", product_photos.folder, *dropped, "--latency-ms", 50),
    }[verb]
    refused = shopsight(*command)
    assert refused.code == 2
    assert "there is only one class to learn: all 20 images are 'shoe'" in refused.err
    assert not out.exists()


def test_a_constant_column_is_one_class(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    table = tmp_path / "constant.csv"
    pl.read_csv(product_photos.table).with_columns(label=pl.lit("shoe")).write_csv(table)
    shown = shopsight("audit", table, "--images-root", product_photos.folder)
    assert shown.code == 1
    assert "one-class: all 60 images are 'shoe'" in shown.out


def test_a_class_without_training_images(shopsight: Shopsight, tmp_path: Path) -> None:
    data = tmp_path / "data"
    make_products(data / "train", per_class=12, classes=("dress", "shoe"))
    make_products(data / "test", per_class=4, classes=("dress", "hat"), seed=1)
    shown = shopsight("audit", data)
    assert shown.code == 1
    assert "untrained-class: 'hat' has 4 images in test, none in train" in shown.out
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["class", "rows", "used", "train", "test"] in rows
    assert ["hat", "4", "4", "0", "4"] in rows
    run = tmp_path / "run"
    refused = shopsight("train", data, "--out", run, *SMALL)
    assert refused.code == 2
    assert "exclude the files with --exclude untrained-class" in refused.err
    hopeless = shopsight("train", data, "--out", run, *SMALL, "--accept", "untrained-class")
    assert "untrained-class: there is no model of such data" in hopeless.err
    shutil.rmtree(run)
    trained = shopsight("train", data, "--out", run, *SMALL, "--exclude", "untrained-class")
    assert trained.code == 0, trained.err
    assert "left out 4 of 32 images: 4 untrained-class" in trained.err


def test_folds_do_not_use_the_given_split(shopsight: Shopsight, tmp_path: Path) -> None:
    """What the audit would find in a split that is not used stops nothing."""
    data = tmp_path / "data"
    make_products(data / "train", per_class=12, classes=("dress", "shoe"))
    make_products(data / "test", per_class=12, classes=("hat",), seed=1)
    trained = shopsight("train", data, "--out", tmp_path / "run", *SMALL, "--folds", 2)
    assert trained.code == 0, trained.err
    assert "the given split is not used: the folds cover all images" in trained.err
    assert "classes: all 3 in every part" in trained.err
