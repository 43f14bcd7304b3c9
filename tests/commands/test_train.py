"""What `train` decides before it trains: the data it reads, and the recipe it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight import api
from shopsight.commands.recipes import recipe_with
from shopsight.commands.train import _cache_of, training_data
from shopsight.errors import CatalogError, ConfigError
from shopsight.memory import memory_budget_bytes, use_memory_budget
from shopsight.read_options import ReadOptions
from shopsight.runs.history import RETRIEVAL, read_history
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos


def test_the_recipe_says_how_data_is_read_and_options_override_it(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("label,to\ndress,garment\nhat,garment\n", encoding="utf-8")
    recipe = recipe_with("fast", ["data.group=product", f"data.label_map={labels}"])
    catalog, resolved = training_data(product_photos.table, recipe, None)
    assert catalog.labels == ("garment", "shoe")
    assert catalog.table["group"].n_unique() == product_photos.count // 2
    assert resolved == recipe
    read = ReadOptions(group="none", drop=("shoe",))
    catalog, resolved = training_data(product_photos.table, recipe, read)
    assert catalog.labels == ("garment",)
    assert "group" not in catalog.table.columns
    assert (resolved.data.group, resolved.data.drop) == ("none", ("shoe",))
    assert resolved.data.label_map == str(labels)


def test_labels_to_drop_are_those_of_this_data(product_photos: ProductPhotos) -> None:
    recipe = recipe_with("fast", ["data.drop=['hat', 'Skip']"])
    catalog, resolved = training_data(product_photos.folder, recipe, None)
    assert catalog.labels == ("dress", "shoe")
    assert resolved.data.drop == ("hat",)
    with pytest.raises(CatalogError, match="no such label to drop"):
        training_data(product_photos.folder, recipe, ReadOptions(drop=("Skip",)))


def test_what_is_kept_reads_the_same_again(product_photos: ProductPhotos) -> None:
    read = ReadOptions(label="product", drop=("hat-1",))
    catalog, resolved = training_data(product_photos.table, recipe_with("fast"), read)
    again, same = training_data(product_photos.table, resolved, None)
    assert again.fingerprint() == catalog.fingerprint()
    assert same == resolved


def test_a_kept_recipe_trains_on_other_data(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    """Where the first images lay is not where the second ones lie."""
    folder, table = str(product_photos.folder), str(product_photos.table)
    kept = recipe_with("fast", [f"data.root={tmp_path}", f"data.images_root={folder}"])
    catalog, resolved = training_data(folder, kept, None)
    assert len(catalog) == product_photos.count
    assert (resolved.data.root, resolved.data.images_root) == (None, None)
    assert sum("of the recipe is not used" in line for line in said) == 2
    # A table has its images somewhere: there the recipe may say where.
    assert training_data(table, kept, None)[1].data.images_root == folder
    with pytest.raises(CatalogError, match="--root goes with a named data set"):
        training_data(folder, kept, ReadOptions(root=tmp_path))


def test_without_data_the_recipe_must_name_some() -> None:
    with pytest.raises(ConfigError, match="names no data set"):
        training_data(None, recipe_with("fast"), None)


def test_a_fold_needs_folds(product_photos: ProductPhotos, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--fold 3 needs --folds K") as caught:
        api.train(product_photos.folder, out=tmp_path / "run", recipe="fashion-mnist-cnn", fold=3)
    assert caught.value.fix == "--folds 5 --fold 3"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flag", "expected"), [(None, 3), (2.0, 2)])
def test_the_recipe_says_how_much_memory_unless_a_flag_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: float | None, expected: int
) -> None:
    budgets = list[int]()

    def read(*_arguments: object) -> None:
        budgets.append(memory_budget_bytes())
        raise CatalogError("seen")

    monkeypatch.setattr("shopsight.commands.train.training_data", read)
    with use_memory_budget(flag), pytest.raises(CatalogError, match="seen"):
        api.train("photos", out=tmp_path / "run", settings=["hardware.memory_gb=3"])
    assert budgets == [expected * 10**9]


def test_the_cache_folder_of_a_run_is_taken_from_this_users_word_alone(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody to whom a run was lent could name a folder of images that they prepared."""
    run = RunFolder(own_run)
    kept = Path(run.state()["cache"])
    monkeypatch.delenv("SHOPSIGHT_CACHE", raising=False)
    assert _cache_of(run) == kept
    (tmp_path / "other").mkdir()
    run.update_state(cache=str(tmp_path / "other"))
    assert run.is_own()
    assert _cache_of(run) is None
    run.update_state(cache=str(kept), cache_seal=None)
    assert _cache_of(run) is None


def test_a_run_without_images_to_score_has_a_model_and_no_report(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    settings = ["training.epochs=2", "data.val=0", "data.test=0", "data.val_classes=0.4"]
    products = api.open_catalog(product_photos.table, ReadOptions(label="product", group="product"))
    found = api.train(products, out=tmp_path / "run", recipe="fashion-mnist-cnn", settings=settings)
    assert (found.report, found.evaluations) == (None, {})
    assert found.to_json()["report"] is None
    assert "not scored: no image validates or tests" in said
    assert api.load(tmp_path / "run", device="cpu").verify().ok
    # The search of each epoch was scored, among products that no training saw.
    rows = read_history(RunFolder(tmp_path / "run").metrics_file)
    assert [0.0 < row.further[RETRIEVAL] <= 1.0 for row in rows] == [True, True]
    assert not any(row.validated for row in rows)
    # No accuracy was measured that could choose an epoch.
    assert not RunFolder(tmp_path / "run").best_weights_file.exists()
    assert api.resume(tmp_path / "run").report is None


def test_searches_alone_choose_the_epoch(product_photos: ProductPhotos, tmp_path: Path) -> None:
    settings = ["training.epochs=2", "data.val=0", "data.val_classes=0.4"]
    run = RunFolder(tmp_path / "run")
    api.train(
        product_photos.table,
        out=run.path,
        recipe="fashion-mnist-cnn",
        read=ReadOptions(label="product"),
        settings=[*settings, "data.test=0", "training.checkpoint=retrieval"],
    )
    assert run.best_weights_file.is_file()
