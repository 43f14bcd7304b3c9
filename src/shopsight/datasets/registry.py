"""The named data sets: what they are, and how each becomes a catalog.

To add one: an entry in `DATASETS`; see docs/howto/add-a-dataset.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.aliproducts import open_aliproducts
from shopsight.datasets.clothing import open_clothing, open_clothing_small
from shopsight.datasets.deepfashion_inshop import open_deepfashion_inshop
from shopsight.datasets.fashion_mnist import open_fashion_mnist
from shopsight.datasets.huggingface import PREFIX as HF_PREFIX
from shopsight.datasets.huggingface import open_huggingface
from shopsight.datasets.lamoda import open_lamoda
from shopsight.datasets.products10k import open_product_650, open_products_10k
from shopsight.datasets.rp2k import open_rp2k
from shopsight.datasets.shopee import open_shopee
from shopsight.datasets.stanford_online_products import open_stanford_online_products
from shopsight.datasets.synthetic import open_synthetic
from shopsight.errors import SourceError
from shopsight.paths import is_folder


@dataclass(frozen=True)
class Dataset:
    """A named data set.

    Attributes:
        name: the name that stands for DATA on the command line.
        title: what it shows, in a line.
        license: name or terms of its license.
        num_classes: number of labels, as published.
        num_images: number of images, as published.
        source: where it is looked for, in that order.
        open: makes the catalog from (root, images_root): the folders that the user named with
            --root and --images-root, None where not.
    """

    name: str
    title: str
    license: str
    num_classes: int
    num_images: int
    source: str
    open: Callable[[Path | None, str | None], Catalog]


DATASETS: dict[str, Dataset] = {
    "fashion-mnist": Dataset(
        name="fashion-mnist",
        title="Fashion-MNIST: product images of 28 x 28 pixels",
        license="MIT",
        num_classes=10,
        num_images=70_000,
        source=(
            "--root; the cache; Debian's dataset-fashion-mnist, if installed; download from "
            "github.com (30 MB); apt-get download of Debian's package"
        ),
        open=lambda root, _: open_fashion_mnist(root),
    ),
    "clothing": Dataset(
        name="clothing",
        title="Clothing dataset: photos of clothes by 32 people",
        license="CC0-1.0",
        num_classes=20,
        num_images=5_403,
        source="--root (images.csv, images/); Kaggle agrigorev/clothing-dataset-full",
        open=open_clothing,
    ),
    "clothing-small": Dataset(
        name="clothing-small",
        title="Clothing dataset, the ten most frequent classes, with splits",
        license="CC0-1.0",
        num_classes=10,
        num_images=3_781,
        source="--root (train/, validation/, test/); download from github.com (101 MB)",
        open=lambda root, _: open_clothing_small(root),
    ),
    "products-10k": Dataset(
        name="products-10k",
        title="Products-10K: photos of shop items",
        license="research use, rules of the Kaggle competition",
        num_classes=9_691,
        num_images=197_307,
        source=(
            "--root (train.csv, test_kaggletest.csv, train/, test/); "
            "Kaggle competition products-10k"
        ),
        open=lambda root, _: open_products_10k(root),
    ),
    "product-650": Dataset(
        name="product-650",
        title="Product-650: Products-10K with human labels",
        license="as Products-10K",
        num_classes=649,
        num_images=35_321,
        source=(
            "--root (reduced_train.csv, reduced_test.csv); images from --images-root, --root or "
            "Kaggle competition products-10k"
        ),
        open=open_product_650,
    ),
    "lamoda": Dataset(
        name="lamoda",
        title="Blouses and trousers",
        license="not stated by its publisher",
        num_classes=2,
        num_images=13_476,
        source="--root (*_bluzy.jpg, *_bryuki.jpg)",
        open=lambda root, _: open_lamoda(root),
    ),
    "rp2k": Dataset(
        name="rp2k",
        title="RP2K: products cut out of photos of shelves",
        license="terms of its publisher, pinlandata.com",
        num_classes=2_388,
        num_images=384_311,
        source="--root (all/train/, all/test/)",
        open=lambda root, _: open_rp2k(root),
    ),
    "shopee": Dataset(
        name="shopee",
        title="Shopee, Price Match Guarantee: offers with titles",
        license="rules of the Kaggle competition",
        num_classes=11_014,
        num_images=34_250,
        source=("--root (train.csv, train_images/); Kaggle competition shopee-product-matching"),
        open=lambda root, _: open_shopee(root),
    ),
    "aliproducts": Dataset(
        name="aliproducts",
        title="AliProducts: products of everyday life, labels with noise",
        license="rules of the Tianchi competition",
        num_classes=50_030,
        num_images=3_000_000,
        source="--root (train.json, val.json, train/, val/)",
        open=lambda root, _: open_aliproducts(root),
    ),
    "stanford-online-products": Dataset(
        name="stanford-online-products",
        title="Stanford Online Products: offers at eBay",
        license="as its file LICENSE says",
        num_classes=22_634,
        num_images=120_053,
        source="--root (Ebay_train.txt, Ebay_test.txt, bicycle_final/ ... toaster_final/)",
        open=lambda root, _: open_stanford_online_products(root),
    ),
    "deepfashion-inshop": Dataset(
        name="deepfashion-inshop",
        title="DeepFashion In-Shop: clothes with boxes, queries and gallery",
        license="non-commercial research",
        num_classes=7_982,
        num_images=52_712,
        source=(
            "--root (Eval/list_eval_partition.txt, Anno/list_bbox_inshop.txt, "
            "Anno/list_description_inshop.json, Img/img/)"
        ),
        open=lambda root, _: open_deepfashion_inshop(root),
    ),
    "synthetic": Dataset(
        name="synthetic",
        title="Product images that shopsight renders itself: not photographs",
        license="CC0-1.0",
        num_classes=8,
        num_images=1_600,
        source="rendered on this machine (--root: where to keep the images)",
        open=lambda root, _: open_synthetic(root),
    ),
}
"""The data sets that shopsight knows by name."""


def dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        SourceError: no data set has this name; the nearest one is offered.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.5)
    raise SourceError(
        f"no data set is named {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        details=[*DATASETS, f"{HF_PREFIX}OWNER/NAME"],
        fix="shopsight data",
    )


def is_dataset(name: str) -> bool:
    """Whether the name stands for a data set rather than a path."""
    return name in DATASETS or name.startswith(HF_PREFIX)


def open_dataset(name: str, *, root: Path | None = None, images_root: str | None = None) -> Catalog:
    """Read a named data set, and fetch it first when it is not on this machine.

    Args:
        name: a key of `DATASETS`, or `hf:owner/name`.
        root: where its files lie on this machine; None looks in the places of `Dataset.source`.
        images_root: where its images lie, for data sets that keep them apart from their tables.

    Raises:
        SourceError: no such name or folder, or it cannot be fetched; with the steps to do by hand.
    """
    if name.startswith(HF_PREFIX):
        return open_huggingface(name)
    found = dataset(name)
    if root is not None and name != "synthetic" and not is_folder(root):
        raise SourceError("no such folder", where=str(root), fix="--root FOLDER")
    return found.open(root, images_root)
