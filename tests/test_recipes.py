from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from shopsight.config import Recipe, load_recipe, parse_recipe, recipe_names, recipe_path, settings
from shopsight.data.catalog import Catalog
from shopsight.data.datasets import DATASETS
from shopsight.data.sources import open_catalog
from shopsight.engines.load import load
from shopsight.training.fit import fit
from shopsight.training.folds import fit_folds

PUBLISHED = {
    "product650-resnet50": "timm:resnet50.a1_in1k",
    "product650-vit-b16": "timm:vit_base_patch16_224.augreg_in21k",
    "product650-caformer-s36": "timm:caformer_s36.sail_in22k_ft_in1k",
    "product650-caformer-b36": "timm:caformer_b36.sail_in22k_ft_in1k",
    "product650-fastervit-2": "fastervit:faster_vit_2_224",
    "product650-fastervit-3": "fastervit:faster_vit_3_224",
    "clothing-resnet18": "timm:resnet18.tv_in1k",
    "clothing-resnet18-folds": "timm:resnet18.tv_in1k",
    "garment-efficientnet-b0": "timm:efficientnet_b0.ra_in1k",
    "garment-resnet18": "timm:resnet18.tv_in1k",
    "garment-resnet34": "timm:resnet34.tv_in1k",
    "fashion-mnist-cnn": "shopsight:fashion_cnn",
}
OURS = {"fast", "balanced", "best", "fashion-mnist-long", "fashion-mnist-net"}

# Side in pixels of the test's pictures: as small as the network takes.
SMALL_PX = 64
SIZE_PX = {"fastervit": 224, "shopsight": 28}
# A second or two each; the others are marked slow.
QUICK = {"fast", "fashion-mnist-cnn", "clothing-resnet18"}


def reduced(name: str) -> Recipe:
    """The recipe as it ships, but small pictures, few steps and no downloads."""
    recipe = load_recipe(name)
    size = SIZE_PX.get(recipe.model.backbone.partition(":")[0], SMALL_PX)
    shipped = recipe.training
    return recipe.replace(
        model={"weights": "random"},
        preprocess={"size": size},
        training={
            "epochs": 1,
            "batch_size": 4,
            "precision": "32",
            "sizes": (size,) * min(1, len(shipped.sizes)),
        },
        cache={"mode": "off"},
        data={"val": 0.25, "test": 0.25},
        folds={"count": min(2, recipe.folds.count)},
    )


@pytest.fixture(scope="module")
def few(drawn_products: Any) -> Catalog:
    """24 of the drawn pictures, 8 of each class."""
    catalog = open_catalog(drawn_products.folder)
    labels = catalog.table["label"].to_list()
    places = [np.flatnonzero([each == label for each in labels])[:8] for label in catalog.labels]
    return catalog.take(np.concatenate(places))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_parses_and_says_where_it_comes_from(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe.to_toml()) == recipe
    about = recipe.about
    assert about.title
    assert about.source
    assert about.cost
    assert about.data == "any" or about.data in DATASETS
    if name in PUBLISHED:
        assert about.reported
        assert about.notes


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_sets_nothing_that_does_not_exist_or_is_the_default(name: str) -> None:
    tree = tomllib.loads(recipe_path(name).read_text(encoding="utf-8"))
    known = dict(settings())
    for section, leaves in tree.items():
        for leaf in leaves:
            assert f"{section}.{leaf}" in known


def test_all_published_systems_have_a_recipe() -> None:
    assert set(recipe_names()) == PUBLISHED.keys() | OURS
    for name, backbone in PUBLISHED.items():
        assert load_recipe(name).model.backbone == backbone


def test_published_settings() -> None:
    product = load_recipe("product650-vit-b16")
    assert (product.optimizer.name, product.optimizer.lr) == ("adam", 1e-4)
    assert (product.schedule.name, product.schedule.final_factor) == ("linear", 0.1)
    assert product.preprocess.pad_color == "edge"
    assert len(product.data.offline_kinds) == 6
    clothing = load_recipe("clothing-resnet18")
    assert (clothing.optimizer.lr, clothing.optimizer.momentum) == (0.005, 0.9)
    assert clothing.training.class_weights == "balanced"
    folds = load_recipe("clothing-resnet18-folds")
    assert folds.folds.count == 5
    assert (folds.model.head, folds.model.head_dropout) == ("mlp", (0.4, 0.5))
    garment = load_recipe("garment-efficientnet-b0")
    assert (garment.schedule.name, garment.schedule.gamma) == ("exponential", 0.8)


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in recipe_names()
    ],
)
def test_every_recipe_trains_its_real_network(name: str, few: Catalog, tmp_path: Path) -> None:
    recipe = reduced(name)
    if recipe.model.backbone.startswith("fastervit:"):
        pytest.importorskip("fastervit")
    run = tmp_path / "run"
    train = fit_folds if recipe.folds.count else fit
    train(few, recipe, run)
    predictor = load(run, device="cpu", precision="32")
    assert predictor.info.backbone == recipe.model.backbone
    assert predictor.labels == few.labels
    found = list(predictor.predict(few.refs()[:2]))
    assert all(prediction.error is None for prediction in found)
    if recipe.training.start != "probe" and not recipe.folds.count:
        losses = pl.read_csv(run / "metrics.csv")["train_loss"]
        assert losses.is_finite().all()
