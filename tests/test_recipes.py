from __future__ import annotations

import tomllib
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from shopsight.backbones.create import create_backbone
from shopsight.backbones.weights import only_shapes
from shopsight.catalog.catalog import Catalog
from shopsight.config.overrides import leaves
from shopsight.config.recipe import Recipe, load_recipe, parse_recipe, recipe_names, recipe_path
from shopsight.datasets.open import open_catalog
from shopsight.datasets.registry import DATASETS
from shopsight.inference.load import load
from shopsight.models.heads import create_head
from shopsight.training.fit import fit
from shopsight.training.folds import fit_folds
from shopsight.training.margins import check_margin

PUBLISHED = {
    "product650-resnet50": "timm:resnet50.a1_in1k",
    "product650-vit-b16": "timm:vit_base_patch16_224.augreg_in21k",
    "product650-caformer-s36": "timm:caformer_s36.sail_in22k_ft_in1k",
    "product650-caformer-b36": "timm:caformer_b36.sail_in22k_ft_in1k",
    "product650-fastervit-2": "fastervit:faster_vit_2_224",
    "product650-fastervit-3": "fastervit:faster_vit_3_224",
    "product650-clip-zeroshot": "open_clip:ViT-B-16/openai",
    "product650-clip-finetune": "open_clip:ViT-B-16/openai",
    "clothing-resnet18": "timm:resnet18.tv_in1k",
    "clothing-resnet18-folds": "timm:resnet18.tv_in1k",
    "garment-efficientnet-b0": "timm:efficientnet_b0.ra_in1k",
    "garment-resnet18": "timm:resnet18.tv_in1k",
    "garment-resnet34": "timm:resnet34.tv_in1k",
    "fashion-mnist-cnn": "shopsight:fashion_cnn",
    "vpr-vit-h14-arcface": "open_clip:ViT-H-14/laion2b_s32b_b79k",
    "vpr-convnext-xxl-softtriple": "timm:convnext_xxlarge.clip_laion2b_rewind",
}
OURS = {
    "fast",
    "balanced",
    "best",
    "fashion-mnist-fast",
    "fashion-mnist-long",
    "fashion-mnist-net",
    "product650-clip-contrastive",
    "vpr-distill-vit-s16",
}

# Side in pixels of the test's images: as small as the network takes.
SMALL_PX = 64
SIZE_PX = {"fastervit": 224, "shopsight": 28}
# Their own networks take 15 GB to train: bench/bench_training_memory.py does. One setting trains
# another.
STAND_IN = "timm:test_vit.r160_in1k"
HUGE = {name for name in PUBLISHED if name.startswith("vpr-")}
# Large networks, and those that train as another one here does.
SLOW = {name for name in PUBLISHED if name.startswith("product650-")}
SLOW |= {"best", "clothing-resnet18-folds", "garment-resnet18", "garment-resnet34"}
SLOW |= {"garment-efficientnet-b0", "vpr-distill-vit-s16"}


def reduced(name: str) -> Recipe:
    """The recipe as it ships, but small images, few steps and no downloads."""
    recipe = load_recipe(name)
    size = SIZE_PX.get(recipe.model.backbone.partition(":")[0], SMALL_PX)
    shipped = recipe.training
    if name in HUGE:
        recipe = recipe.replace(model={"backbone": STAND_IN})
    return recipe.replace(
        model={"weights": "random"},
        preprocess={"size_px": size},
        training={
            "epochs": 1,
            "batch_size": 4,
            "precision": "32",
            "progressive_sizes_px": (size,) * min(1, len(shipped.progressive_sizes_px)),
        },
        cache={"mode": "off"},
        data={"val": 0.25, "test": 0.25, "val_classes": 0.0},
        folds={"count": min(2, recipe.folds.count)},
    )


@pytest.fixture(scope="module")
def few(product_photos: Any) -> Catalog:
    """24 of the synthetic images, 8 of each class."""
    catalog = open_catalog(product_photos.folder)
    labels = catalog.table["label"].to_list()
    rows = [np.flatnonzero([each == label for each in labels])[:8] for label in catalog.labels]
    return catalog.take(np.concatenate(rows))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_parses_and_names_its_source(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe.to_toml()) == recipe
    about = recipe.about
    assert about.title
    assert about.source
    assert about.cost
    assert about.measured
    assert about.data == "any" or about.data in DATASETS
    if name in PUBLISHED:
        assert about.reported
        assert about.notes


def repeated_defaults(text: str) -> list[str]:
    """Return the leaves of a recipe's text that have the default's value."""
    defaults = dict(leaves(Recipe()))
    written = leaf_names(tomllib.loads(text))
    assert set(written) <= defaults.keys(), "a leaf that does not exist"
    resolved = dict(leaves(parse_recipe(text)))
    return [name for name in written if resolved[name] == defaults[name]]


def leaf_names(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of all values in a tree of TOML tables."""
    names = []
    for key, value in tree.items():
        inner = leaf_names(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        names += inner or [f"{prefix}{key}"]
    return names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_holds_only_what_differs_from_the_defaults(name: str) -> None:
    assert repeated_defaults(recipe_path(name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("planted", "leaf"),
    [
        ("[cache]\nmode = 'auto'\n", "cache.mode"),
        ("[probe]\npenalties = [0.0003, 0.001, 0.003, 0.01, 0.03]\n", "probe.penalties"),
        ("[model.head]\nkind = 'linear'\n", "model.head.kind"),
    ],
)
def test_a_default_that_a_recipe_repeats_is_found(planted: str, leaf: str) -> None:
    shipped = recipe_path("balanced").read_text(encoding="utf-8")
    assert repeated_defaults(f"{shipped}\n{planted}") == [leaf]


def test_all_published_systems_have_a_recipe() -> None:
    assert set(recipe_names()) == PUBLISHED.keys() | OURS
    for name, backbone in PUBLISHED.items():
        assert load_recipe(name).model.backbone == backbone


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIX_KINDS = ("hflip", "vflip", "rotate", "crop", "noise", "box")
NO_AUGMENTATION = {
    "augment.hflip_prob": 0.0,
    "augment.affine_prob": 0.0,
    "augment.color_jitter_prob": 0.0,
}
PRODUCT650 = NO_AUGMENTATION | {
    "preprocess.size_px": 224,
    "preprocess.resize": "pad",
    "preprocess.pad_color": "edge",
    "preprocess.mean": CLIP_MEAN,
    "preprocess.std": CLIP_STD,
    "training.mode": "finetune",
    "training.epochs": 100,
    "training.loss": "cross-entropy",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-4,
    "schedule.name": "linear",
    "schedule.final_factor": 0.1,
    "data.offline_fraction": 0.245,
}
CROPPED = {
    "preprocess.size_px": 224,
    "preprocess.resize": "crop",
    "preprocess.crop_fraction": 0.875,
    "preprocess.mean": IMAGENET_MEAN,
    "preprocess.std": IMAGENET_STD,
}
GARMENT = CROPPED | {
    "training.epochs": 5,
    "training.batch_size": 64,
    "optimizer.name": "adamw",
    "optimizer.lr": 0.01,
    "schedule.name": "exponential",
    "schedule.gamma": 0.8,
    "schedule.per": "epoch",
    "augment.hflip_prob": 0.5,
    "augment.affine_kinds": ("rotate",),
    "augment.rotate_deg": 30.0,
    "augment.brightness": (0.8, 1.0),
    "augment.hue": 0.2,
}
# As the original works describe themselves; what ours changes, and why, is in each recipe's notes.
PUBLISHED_SETTINGS: dict[str, dict[str, Any]] = {
    "product650-resnet50": PRODUCT650 | {"training.batch_size": 64, "data.offline_kinds": ()},
    "product650-vit-b16": PRODUCT650 | {"training.batch_size": 32, "data.offline_kinds": SIX_KINDS},
    "product650-caformer-s36": PRODUCT650 | {"training.batch_size": 32},
    "product650-caformer-b36": PRODUCT650 | {"training.batch_size": 32},
    "product650-fastervit-2": PRODUCT650 | {"training.batch_size": 32},
    "product650-fastervit-3": PRODUCT650 | {"training.batch_size": 32},
    "product650-clip-zeroshot": {
        "preprocess.size_px": 224,
        "preprocess.resize": "pad",
        "preprocess.pad_color": "edge",
        "training.mode": "zero-shot",
        "zero_shot.prompts": ("a photo of {}",),
    },
    "product650-clip-finetune": NO_AUGMENTATION
    | {
        "preprocess.size_px": 224,
        "training.mode": "contrastive",
        "training.epochs": 100,
        "training.sampling": "pxk",
        "training.images_per_class": 1,
        "contrastive.batch_size": 32,
        "contrastive.loss": "softmax",
        "zero_shot.prompts": ("a photo of {}",),
        "optimizer.name": "adam",
        "optimizer.lr": 1e-4,
        "schedule.name": "linear",
        "schedule.final_factor": 0.1,
    },
    "clothing-resnet18": NO_AUGMENTATION
    | CROPPED
    | {
        "data.drop": ("Skip", "Not sure"),
        "data.val": 0.1,
        "data.test": 0.1,
        "training.epochs": 50,
        "training.batch_size": 32,
        "training.class_weights": "balanced",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.005,
        "optimizer.momentum": 0.9,
        "schedule.name": "constant",
    },
    "clothing-resnet18-folds": {
        "data.drop": ("Skip",),
        "folds.count": 5,
        "preprocess.size_px": 224,
        "model.head.kind": "mlp",
        "model.head.hidden_dim": 512,
        "model.head.hidden_dropout": (0.4, 0.5),
        "training.batch_size": 32,
        "optimizer.name": "adam",
        "optimizer.lr": 1e-3,
        "schedule.name": "step",
        "schedule.step_epochs": 10,
        "augment.affine_prob": 0.85,
        "augment.rotate_deg": 15.0,
        "augment.noise_prob": 0.67,
        "augment.blur_prob": 0.75,
        "augment.blur_kinds": ("box", "gaussian", "median"),
        "augment.color_jitter_prob": 0.5,
    },
    "garment-efficientnet-b0": GARMENT,
    "garment-resnet18": GARMENT,
    "garment-resnet34": GARMENT,
    "fashion-mnist-cnn": {
        "model.conv_dropout": None,
        "training.mode": "scratch",
        "training.batch_size": 64,
        "optimizer.name": "adam",
        "optimizer.lr": 1e-3,
        "schedule.name": "step",
        "schedule.step_epochs": 10,
        "schedule.per": "epoch",
    },
}


VPR = {
    "training.mode": "finetune",
    "training.batch_size": 32,
    "training.epochs": 10,
    "training.ema": 0.9995,
    "training.precision": "16",
    "model.head.kind": "cosine",
    "model.head.learned_scale": False,
    "augment.hflip_prob": 0.5,
    "augment.affine_prob": 0.0,
    "augment.color_jitter_prob": 0.3,
    "augment.brightness": (0.8, 1.2),
    "augment.contrast": (0.9, 1.1),
    "augment.saturation": (0.9, 1.1),
    "augment.hue": 0.3,
}
PUBLISHED_SETTINGS["vpr-vit-h14-arcface"] = VPR | {
    "preprocess.size_px": 224,
    "preprocess.resize": "squash",
    "model.neck.kind": "none",
    "model.head.scale": 30.0,
    "training.loss": "arcface",
    "training.label_smoothing": 0.0,
    "training.head_epochs": 0,
    "training.keep_epochs": 10,
    "metric.margin": 0.3,
    "metric.margin_step": 0.05,
    "metric.margin_most": 0.8,
    "optimizer.name": "adamw",
    "optimizer.weight_decay": 0.01,
    "optimizer.lr": 3e-7,
    "optimizer.head_lr_factor": pytest.approx(3e-4 / 3e-7),
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 1.0,
}
PUBLISHED_SETTINGS["vpr-convnext-xxl-softtriple"] = {
    "preprocess.size_px": 256,
    "model.neck.embedding_dim": 2048,
    "training.loss": "softtriple",
    "training.sampling": "pxk",
    "training.images_per_class": 2,
    "metric.contrastive": 1.0,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name: str) -> None:
    recipe = load_recipe(name)
    expected = PUBLISHED_SETTINGS[name]
    assert {leaf: attrgetter(leaf)(recipe) for leaf in expected} == expected


@pytest.mark.parametrize(
    ("changes", "width", "millions"),
    [
        ((), 1024, 632),
        (("model.backbone=open_clip:ViT-bigG-14/laion2b_s39b_b160k",), 1280, 1845),
        (("model.backbone=timm:convnext_xxlarge.clip_laion2b_rewind",), 3072, 843),
        (("model.neck.kind=linear-bn-prelu",), 1024, 633),
    ],
)
def test_the_true_networks_of_visual_search_are_built_by_one_setting(
    changes: tuple[str, ...], width: int, millions: int
) -> None:
    """On no device: shapes alone."""
    recipe = load_recipe("vpr-vit-h14-arcface", changes)
    size_px = recipe.preprocess.size_px
    assert size_px != "auto"
    with only_shapes():
        built = create_backbone(
            recipe.model.backbone, weights="random", size_px=size_px, neck=recipe.model.neck
        )
        head = create_head(recipe.model.head, embedding_dim=built.embedding_dim, num_classes=10_300)
        embedding = built.module.eval()(torch.zeros(2, 3, size_px, size_px))
    assert embedding.shape == (2, width)
    numbers = sum(parameter.numel() for parameter in built.module.parameters())
    assert round(numbers / 1e6) == millions
    assert head.weight.shape == (10_300, width)
    check_margin(recipe, num_classes=10_300)


def test_the_readme_names_every_recipe() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert [name for name in recipe_names() if f"`{name}`" not in readme] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in recipe_names()
        # Without published weights there is no text encoder: tests/training/test_zero_shot.py,
        # tests/training/test_contrastive.py.
        if not load_recipe(name).training.reads_labels
    ],
)
def test_every_recipe_trains_its_real_network(name: str, few: Catalog, tmp_path: Path) -> None:
    recipe = reduced(name)
    if recipe.training.loss == "softtriple":
        pytest.importorskip("pytorch_metric_learning")
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
    if recipe.training.mode != "probe" and not recipe.folds.count:
        losses = pl.read_csv(run / "metrics.csv")["train_loss"]
        assert losses.is_finite().all()
