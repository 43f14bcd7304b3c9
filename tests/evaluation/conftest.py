"""A small real model: the network for small images, its head fitted on rendered products."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from shopsight.backbones.fashion_cnn import FashionCnn
from shopsight.bundle.format import BundleInfo
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.datasets.open import open_catalog
from shopsight.head_settings import HeadSettings
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import open_cache
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from tests.helpers import make_products, train_small

PREPROCESS = Preprocess(size_px=28)


class FittedOn(Protocol):
    def __call__(self, catalog: Catalog, labels: tuple[str, ...] = ()) -> Predictor: ...


@pytest.fixture(scope="session")
def catalog(product_photos: Any) -> Catalog:
    """60 images, 3 labels, products as groups; a third of the products each to a part."""
    table = pl.read_csv(product_photos.table).rename({"product": "group"})
    number = pl.col("group").str.extract(r"(\d+)$").cast(pl.Int64)
    parts = {0: "train", 1: "val", 2: "test"}
    table = table.with_columns((number % 3).replace_strict(parts).alias("split"))
    return Catalog(table, name="rendered products", root=str(product_photos.folder), synthetic=True)


@pytest.fixture(scope="session")
def several(catalog: Catalog) -> Catalog:
    """The same with two labels each: the outline, and "wearable" for all but hats."""
    lists = (
        pl.when(pl.col("label") == "hat")
        .then(pl.concat_list("label"))
        .otherwise(pl.concat_list("label", pl.lit("wearable")))
    )
    return catalog.with_table(catalog.table.with_columns(lists.alias("label")))


@pytest.fixture(scope="session")
def fitted_on() -> FittedOn:
    """A predictor whose head is a logistic regression on the catalog's training part."""

    def fit(catalog: Catalog, labels: tuple[str, ...] = ()) -> Predictor:
        labels = labels or catalog.labels
        torch.manual_seed(0)
        head = create_head(HeadSettings(), embedding_dim=32, num_classes=len(labels))
        model = ProductModel(FashionCnn(), head, PREPROCESS)
        engine = TorchEngine(model, device="cpu", precision="32")
        info = BundleInfo(
            backbone="shopsight:fashion_cnn",
            weights="random",
            labels=labels,
            multilabel=catalog.multilabel,
            preprocess=PREPROCESS,
            embedding_dim=32,
        )
        train = catalog.take(catalog.rows_of("train"))
        source = open_cache(train, PREPROCESS, settings=CacheSettings(mode="off"))
        features, _ = engine.run(source.gather(np.arange(len(train))))
        regression: Any = LogisticRegression(C=1000.0, max_iter=2000)
        if catalog.multilabel:
            regression = OneVsRestClassifier(regression)
        scale = features.std() + 1e-6
        targets = train.targets(labels)
        regression.fit(features / scale, targets.toarray() if catalog.multilabel else targets)
        each = regression.estimators_ if catalog.multilabel else [regression]
        with torch.no_grad():
            weight = np.concatenate([one.coef_ for one in each]) / scale
            bias = np.concatenate([one.intercept_ for one in each])
            head.classifier.weight.copy_(torch.from_numpy(weight))
            head.classifier.bias.copy_(torch.from_numpy(bias))
        return Predictor(engine, info)

    return fit


@pytest.fixture(scope="session")
def predictor(fitted_on: FittedOn, catalog: Catalog) -> Predictor:
    return fitted_on(catalog)


@pytest.fixture(scope="session")
def spoiled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a probe, three epochs, groups and audit findings. Do not change it.

    Of the images two are cut off, one is there again as another file, and one under two labels.
    """
    folder = tmp_path_factory.mktemp("spoiled")
    photos = make_products(folder / "products", per_class=20)
    rows = photos.table.read_text(encoding="utf-8").splitlines()
    for name in ("hat/hat-000-0", "hat/hat-000-1"):
        whole = (photos.folder / f"{name}.jpg").read_bytes()
        (photos.folder / f"{name}.jpg").write_bytes(whole[: len(whole) // 2])
    with Image.open(photos.folder / "shoe/shoe-001-0.jpg") as image:
        image.save(photos.folder / "shoe/again.jpg", quality=60)
    shutil.copy(photos.folder / "dress/dress-002-0.jpg", photos.folder / "hat/same.jpg")
    rows += ["shoe/again.jpg,shoe,shoe-1", "hat/same.jpg,hat,dress-2"]
    photos.table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = open_catalog(photos.table, ReadOptions(group="product", images_root=str(photos.folder)))
    settings = ("training.mode=probe-then-finetune", "training.epochs=3", "model.weights=random")
    return train_small(data, folder / "first-run", *settings, accept=("label-conflict",))


@pytest.fixture
def damaged_folder(tmp_path: Path, catalog: Catalog) -> Catalog:
    """The catalog over a copy of its files in which one test file is not an image."""
    victim = catalog.take(catalog.rows_of("test")).table["image"][3]
    for image, ref in zip(catalog.table["image"], catalog.refs(), strict=True):
        copy = tmp_path / image
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"not an image" if image == victim else Path(ref).read_bytes())
    return Catalog(catalog.table, name="damaged", root=str(tmp_path))
