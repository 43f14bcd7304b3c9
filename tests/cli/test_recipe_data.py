"""`shopsight train` without DATA: the recipe's data set, read as the flags say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets import fashion_mnist
from shopsight.files import sha256_bytes
from tests.catalog.test_idx_pairs import write_pair
from tests.helpers import SMALL, ProductPhotos, Shopsight


@pytest.fixture
def clothing(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """The drawn images in the layout of the clothing data set, with labels to be dropped."""
    home = tmp_path / "local" / "clothing"
    (home / "images").mkdir(parents=True)
    rows = ["image,sender_id,label,kids"]
    for number, photo in enumerate(sorted(product_photos.folder.rglob("*.jpg"))):
        shutil.copy(photo, home / "images" / f"id{number}.jpg")
        label = "Skip" if photo.name.startswith("hat-009") else photo.parent.name
        rows.append(f"id{number},{number % 7},{label},False")
    (home / "images.csv").write_text("\n".join(rows))
    return home


def _recipe(folder: Path, data: str) -> Path:
    """A small recipe of this data set, which drops a label of its own."""
    file = folder / "mine.toml"
    file.write_text(
        f'[about]\ndata = "{data}"\n[data]\ndrop = ["Skip"]\n[model]\n'
        'backbone = "shopsight:fashion_cnn"\n[training]\nmode = "scratch"\nepochs = 1\n'
    )
    return file


def _trained(run: Path) -> Catalog:
    return Catalog.read(run / "catalog.parquet")


def test_flags_say_how_the_data_set_of_the_recipe_is_read(
    shopsight: Shopsight, clothing: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("label,to\ndress,garment\nhat,garment\n")
    run = tmp_path / "run"
    shown = shopsight(
        "train", "--recipe", _recipe(tmp_path, "clothing"), "--root", clothing,
        "--label-map", labels, "--group", "sender_id", "--out", run,
    )  # fmt: skip
    assert shown.code == 0, shown.err
    catalog = _trained(run)
    assert catalog.name == "clothing"
    # The recipe's own label to drop is dropped as well.
    assert catalog.labels == ("garment", "shoe")
    assert len(catalog) == 58
    assert catalog.table["group"].n_unique() == 7


def test_flags_beat_the_recipe(shopsight: Shopsight, clothing: Path, tmp_path: Path) -> None:
    words = ("train", "--recipe", _recipe(tmp_path, "clothing"), "--root", clothing)
    own = ("--set", "data.group=sender_id", "--group", "image")
    shown = shopsight(*words, *own, "--out", tmp_path / "run")
    assert shown.code == 0, shown.err
    assert _trained(tmp_path / "run").table["group"].n_unique() == 58


def test_drop_is_heard_without_data(shopsight: Shopsight, clothing: Path, tmp_path: Path) -> None:
    words = ("train", "--recipe", _recipe(tmp_path, "clothing"), "--root", clothing)
    shown = shopsight(*words, "--drop", "hat", "--out", tmp_path / "run")
    assert shown.code == 0, shown.err
    assert _trained(tmp_path / "run").labels == ("dress", "shoe")
    unknown = shopsight(*words, "--drop", "hats", "--out", tmp_path / "other")
    assert unknown.code == 2
    assert "did you mean 'hat'" in unknown.err


def test_fashion_mnist_files_of_another_folder(
    shopsight: Shopsight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write_pair(files, "train-", 60, suffix="")
    write_pair(files, "t10k-", 30, suffix="")
    sums = {path.name: sha256_bytes(path.read_bytes()) for path in files.iterdir()}
    monkeypatch.setattr(fashion_mnist, "SHA256", sums)
    run = tmp_path / "run"
    words = ("train", *SMALL, "--root", files, "--drop", "Trouser", "--out", run)
    shown = shopsight(*words)
    assert shown.code == 0, shown.err
    assert _trained(run).labels == ("Pullover", "T-shirt/top")
    assert _trained(run).root == str(files)


def test_flags_about_data_that_is_not_read_are_refused(
    shopsight: Shopsight, finished_run: Path
) -> None:
    for words in (
        ("train", "--resume", finished_run),
        ("evaluate", finished_run),
        ("compare", finished_run, finished_run),
    ):
        shown = shopsight(*words, "--drop", "hat")
        assert shown.code == 2, words
        assert "--drop:" in shown.err
        assert shown.out == ""
