"""`shopsight train` without DATA: the recipe's data set, read as the flags say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.datasets import fashion_mnist
from shopsight.files import sha256_bytes
from shopsight.runs.run_folder import RunFolder
from tests.catalog.test_idx_pairs import write_pair
from tests.helpers import SMALL, ProductPhotos, Shopsight


@pytest.fixture
def clothing(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """The rendered images in the layout of the clothing data set, with labels to be dropped."""
    home = tmp_path / "local" / "clothing"
    (home / "images").mkdir(parents=True)
    rows = ["image,sender_id,label,kids"]
    for number, photo in enumerate(sorted(product_photos.folder.rglob("*.jpg"))):
        shutil.copy(photo, home / "images" / f"id{number}.jpg")
        label = "Skip" if photo.name.startswith("hat-009") else photo.parent.name
        rows.append(f"id{number},{number % 7},{label},False")
    (home / "images.csv").write_text("\n".join(rows), encoding="utf-8")
    return home


def _recipe(folder: Path, data: str) -> Path:
    """A small recipe of this data set, which drops a label of its own."""
    file = folder / "mine.toml"
    file.write_text(
        f'[about]\ndata = "{data}"\n[data]\ndrop = ["Skip"]\n[model]\n'
        'backbone = "shopsight:fashion_cnn"\n[training]\nmode = "scratch"\nepochs = 1\n',
        encoding="utf-8",
    )
    return file


def _trained(run: Path) -> Catalog:
    return Catalog.read(run / "catalog.parquet")


def test_flags_say_how_the_data_set_of_the_recipe_is_read(
    shopsight: Shopsight, clothing: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("label,to\ndress,garment\nhat,garment\n", encoding="utf-8")
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


def test_drop_applies_without_data(shopsight: Shopsight, clothing: Path, tmp_path: Path) -> None:
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
    shopsight: Shopsight, tiny_run: Path
) -> None:
    for words in (
        ("train", "--resume", tiny_run),
        ("evaluate", tiny_run),
        ("compare", tiny_run, tiny_run),
    ):
        shown = shopsight(*words, "--drop", "hat")
        assert shown.code == 2, words
        assert "error: --drop would change nothing: " in shown.err
        assert shown.out == ""


def test_resume_refuses_what_it_would_ignore_by_name(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    state = (tiny_run / "run.json").read_text(encoding="utf-8")
    shown = shopsight(
        "train", product_photos.folder, "--resume", tiny_run, "--epochs", "9", "--no-cache",
        "--set", "seed=3", "--exclude", "damaged", "--encoding", "cp1252",
    )  # fmt: skip
    assert shown.code == 2
    for word in ("DATA", "--epochs", "--no-cache", "--set", "--exclude", "--encoding"):
        assert word in shown.err.partition(" would change nothing")[0]
    assert "--recipe" not in shown.err
    assert f"fix: shopsight train --resume {tiny_run}" in shown.err
    assert (tiny_run / "run.json").read_text(encoding="utf-8") == state
    # Flags about this terminal, not about the run, may be given anew.
    assert shopsight("train", "--resume", tiny_run, "--json").code == 0


@pytest.fixture
def titled(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """The product photos in a Windows-1252 table with two columns that could be the text."""
    photos = shutil.copytree(product_photos.folder, tmp_path / "photos")
    lines = ["image;label;title;Angebot"]
    for number, photo in enumerate(sorted(photos.rglob("*.jpg"))):
        label = "Stra\u00dfenschuh" if photo.parent.name == "shoe" else photo.parent.name
        lines.append(f"{photo};{label};title {number};ab 5 \u20ac, Nr. {number}")
    table = tmp_path / "shop.csv"
    table.write_bytes("\n".join(lines).encode("cp1252"))
    return table


def test_text_and_encoding_of_the_command_line(
    shopsight: Shopsight, titled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "splits.parquet"
    assert shopsight("split", titled, "--out", out).code == 0
    assert Catalog.read(out).table["text"][0] == "title 0"
    words = ("split", titled, "--text", "Angebot", "--encoding", "cp1252", "--out", out)
    assert shopsight(*words).code == 0
    catalog = Catalog.read(out)
    assert catalog.table["text"][0] == "ab 5 \u20ac, Nr. 0"
    assert "Stra\u00dfenschuh" in catalog.labels
    assert shopsight("split", titled, "--text", "none", "--out", out).code == 0
    assert "text" not in Catalog.read(out).table.columns
    unknown = shopsight("audit", titled, "--encoding", "cp125")
    assert unknown.code == 2
    assert "'cp125' is not a known encoding; did you mean 'cp125" in unknown.err
    assert "tried without --encoding: UTF-8, UTF-16" in unknown.err
    misfit = shopsight("audit", titled, "--encoding", "ascii")
    assert "the table is not ascii text" in misfit.err
    assert shopsight("audit", titled, "--text", "titel").err.count("did you mean 'title'") == 1


def test_text_and_encoding_of_the_python_api(titled: Path) -> None:
    read = api.ReadOptions(text="Angebot", encoding="cp1252")
    catalog = api.split(titled, read=read).catalog
    assert catalog.table["text"].str.starts_with("ab 5 \u20ac").all()
    assert (
        api.open_catalog(titled, read).fingerprint()
        == api.audit(titled, read=read).catalog.fingerprint()
    )


def test_text_and_encoding_of_a_recipe_are_kept_in_the_run(
    shopsight: Shopsight, titled: Path, tmp_path: Path
) -> None:
    recipe = _recipe(tmp_path, "any")
    text = recipe.read_text(encoding="utf-8").replace(
        "[data]\n", '[data]\ntext = "Angebot"\nencoding = "cp1252"\n'
    )
    recipe.write_text(text, encoding="utf-8")
    words = ("train", titled, "--recipe", recipe, "--drop", "hat", "--out")
    shown = shopsight(*words, tmp_path / "run")
    assert shown.code == 0, shown.err
    run = RunFolder(tmp_path / "run")
    assert run.catalog().table["text"].str.starts_with("ab 5 \u20ac").all()
    assert run.catalog().labels == ("Stra\u00dfenschuh", "dress")
    # The recipe's own label to drop is not one of this shop's.
    kept = run.recipe().data
    assert (kept.text, kept.encoding, kept.drop) == ("Angebot", "cp1252", ("hat",))
    # A flag goes before the recipe.
    assert shopsight(*words, tmp_path / "other", "--text", "title").code == 0
    other = RunFolder(tmp_path / "other")
    assert other.catalog().table["text"].str.starts_with("title ").all()
    assert other.recipe().data.text == "title"
    wrong = shopsight("train", titled, "--recipe", recipe, "--set", "data.txt=title", "--out", "x")
    assert "data.text" in wrong.err
