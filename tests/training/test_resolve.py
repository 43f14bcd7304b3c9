"""Settings that cannot work are refused before anything is decoded or written."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe, load_recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError, ExtraMissingError, TrainingError
from shopsight.training.fit import fit
from shopsight.training.resolve import resolve
from tests.helpers import ProductPhotos

SMALL = """
[model]
backbone = "shopsight:fashion_cnn"
[training]
mode = "scratch"
epochs = 1
"""


@pytest.fixture
def catalog(product_photos: ProductPhotos) -> Catalog:
    return open_catalog(product_photos.folder)


def small(*overrides: str) -> Recipe:
    return parse_recipe(SMALL, overrides=overrides)


def test_a_network_that_no_bundle_could_build_again_is_refused(
    catalog: Catalog, tmp_path: Path
) -> None:
    pytest.importorskip("open_clip")
    from tests.backbones.clip_models import save_clip

    model = f"open_clip:local-dir:{save_clip(tmp_path / 'clip')}"
    with pytest.raises(
        ConfigError, match="cannot be trained or bundled: no image encoder of open_clip"
    ) as e:
        resolve(small(f"model.backbone={model}", "training.mode=finetune"), catalog)
    assert f"shopsight index build {model} DATA" in str(e.value)


VIT = ("model.backbone=timm:vit_tiny_patch16_224", "model.weights=random")


@pytest.mark.parametrize(
    ("overrides", "where", "fix"),
    [
        (
            ("model.backbone=timm:resnet18", "model.conv_dropout=0.1"),
            "model.conv_dropout",
            "--set model.conv_dropout=0",
        ),
        (("model.drop_path=0.1",), "model.drop_path", "--set model.drop_path=0"),
        ((*VIT, "preprocess.size_px=65"), "preprocess.size_px", "--set preprocess.size_px=auto"),
        (
            ("model.backbone=timm:xcit_nano_12_p8_224", "preprocess.size_px=65"),
            "preprocess.size_px",
            "--set preprocess.size_px=auto",
        ),
        (
            (*VIT, "training.progressive_sizes_px=[100, 224]"),
            "training.progressive_sizes_px",
            '--set "training.progressive_sizes_px=[]"',
        ),
    ],
)
def test_a_setting_that_cannot_work_leaves_no_run(
    overrides: tuple[str, ...], where: str, fix: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(catalog, small(*overrides), tmp_path / "run")
    assert (caught.value.where, caught.value.fix) == (where, fix)
    assert not (tmp_path / "run").exists()


def test_the_loss_fits_the_number_of_labels(catalog: Catalog, tmp_path: Path) -> None:
    several = catalog.with_table(catalog.table.with_columns(label=pl.concat_list("label")))
    with pytest.raises(ConfigError, match="have several labels, but loss 'cross-entropy'") as one:
        fit(several, small(), tmp_path / "run")
    assert "--set training.loss=bce" in str(one.value)
    with pytest.raises(ConfigError, match="one label each, but loss 'bce'") as other:
        fit(catalog, small("training.loss=bce"), tmp_path / "run")
    assert "--set training.loss=cross-entropy" in str(other.value)
    assert not (tmp_path / "run").exists()


def test_a_size_that_a_fastervit_does_not_take_leaves_no_run(
    catalog: Catalog, tmp_path: Path
) -> None:
    pytest.importorskip("fastervit", exc_type=ImportError)
    recipe = load_recipe("product650-fastervit-2", ["preprocess.size_px=64"])
    with pytest.raises(ConfigError, match="224 px only"):
        fit(catalog, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sizes_are_of_no_account_to_a_probe(catalog: Catalog) -> None:
    recipe = small(*VIT, "training.progressive_sizes_px=[100, 224]", "training.mode=probe")
    assert resolve(recipe, catalog)[0].preprocess.size_px == 224


def test_a_dropout_of_zero_is_right_for_every_backbone(catalog: Catalog) -> None:
    for backbone in ("timm:resnet18", "embedded:tf_efficientnet_lite0", "shopsight:fashion_net"):
        recipe = small(f"model.backbone={backbone}", "model.conv_dropout=0.0")
        assert resolve(recipe, catalog)[0].model.backbone == backbone


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_leaves_no_run(
    tracker: str, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(ExtraMissingError, match=f"{tracker} is not installed"):
        fit(catalog, small(f"tracking.tracker={tracker}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resolved_recipe_resolves_to_itself(catalog: Catalog) -> None:
    resolved, weights = resolve(small(), catalog)
    assert resolve(resolved, catalog) == (resolved, weights)


def test_a_weight_file_does_not_go_with_a_start_from_scratch(
    catalog: Catalog, tmp_path: Path
) -> None:
    for asked in ("model.weights=some.pth", "model.backbone=local:timm:resnet18@some.pth"):
        with pytest.raises(ConfigError) as caught:
            fit(catalog, small(asked), tmp_path / "run")
        text = str(caught.value)
        assert "training.mode = 'scratch' and the weights 'some.pth' exclude each other" in text
        assert "--set training.mode=finetune" in text
        assert "--set model.weights=random" in text
    for weights in ("pretrained", "random"):
        assert resolve(small(f"model.weights={weights}"), catalog)[0].model.weights == "random"


@pytest.mark.parametrize(
    ("override", "said", "fix"),
    [
        ("hardware.devices=many", "devices = 'many'", "--set hardware.devices=1"),
        ("hardware.strategy=telepathy", "trains with auto, ddp", "--set hardware.strategy=ddp"),
        ("hardware.strategy=fsdp", "shards the weights", "--set hardware.strategy=ddp"),
    ],
)
def test_machines_that_are_not_there_leave_no_run(
    override: str, said: str, fix: str, catalog: Catalog, tmp_path: Path
) -> None:
    recipe = small("hardware.accelerator=cpu", override)
    with pytest.raises(TrainingError, match=said) as notes:
        fit(catalog, recipe, tmp_path / "run")
    assert fix in str(notes.value)
    assert not (tmp_path / "run").exists()
    # The probe is one process's work on one device.
    resolve(small("training.mode=probe", "model.weights=random", override), catalog)


def test_fewer_training_images_than_devices_leave_no_run(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too few for 99 processes") as caught:
        fit(catalog, small("hardware.devices=99", "hardware.accelerator=cpu"), tmp_path / "run")
    assert caught.value.where == "hardware.devices"
    assert not (tmp_path / "run").exists()
    split = pl.Series(["train"] * 2 + ["val"] * (len(catalog) - 2))
    two = catalog.with_table(catalog.table.with_columns(split=split))
    with pytest.raises(ConfigError, match="2 training images are too few for 3 processes"):
        resolve(small("hardware.devices=3", "hardware.accelerator=cpu"), two)
