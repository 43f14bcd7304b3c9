"""The named data sets: what they are, and how each becomes a catalog."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.clothing import open_clothing, open_clothing_small
from shopsight.datasets.fashion_mnist import open_fashion_mnist
from shopsight.datasets.huggingface import PREFIX as HF_PREFIX
from shopsight.datasets.huggingface import open_huggingface
from shopsight.datasets.lamoda import open_lamoda
from shopsight.datasets.products10k import open_product_650, open_products_10k
from shopsight.datasets.synthetic import open_synthetic
from shopsight.errors import SourceError


@dataclass(frozen=True)
class Dataset:
    """A data set by name.

    Attributes:
        classes, images: as published.
        source: where it is looked for, in that order.
        open: from (root, images_root), both None when not given.
    """

    name: str
    title: str
    licence: str
    classes: int
    images: int
    source: str
    open: Callable[[Path | None, str | None], Catalog]


DATASETS: dict[str, Dataset] = {
    "fashion-mnist": Dataset(
        "fashion-mnist",
        "Fashion-MNIST: product images of 28 x 28 pixels",
        "MIT",
        10,
        70_000,
        "--root; Debian's dataset-fashion-mnist (installed, or unpacked from apt-get download); "
        "torchvision's download",
        lambda root, _: open_fashion_mnist(root),
    ),
    "clothing": Dataset(
        "clothing",
        "Clothing dataset: photos of clothes by 32 people",
        "CC0-1.0",
        20,
        5_403,
        "--root (images.csv, images/); Kaggle agrigorev/clothing-dataset-full",
        open_clothing,
    ),
    "clothing-small": Dataset(
        "clothing-small",
        "Clothing dataset, the ten most frequent classes, with splits",
        "CC0-1.0",
        10,
        3_781,
        "--root (train/, validation/, test/); download from github.com (101 MB)",
        lambda root, _: open_clothing_small(root),
    ),
    "products-10k": Dataset(
        "products-10k",
        "Products-10K: photos of shop items",
        "research use, rules of the Kaggle competition",
        9_691,
        197_307,
        "--root (train.csv, test_kaggletest.csv, train/, test/); Kaggle competition products-10k",
        lambda root, _: open_products_10k(root),
    ),
    "product-650": Dataset(
        "product-650",
        "Product-650: Products-10K with human labels",
        "as Products-10K",
        649,
        35_321,
        "--root (reduced_train.csv, reduced_test.csv); images from --images-root, --root or "
        "Kaggle competition products-10k",
        open_product_650,
    ),
    "lamoda": Dataset(
        "lamoda",
        "Blouses and trousers",
        "not stated by its publisher",
        2,
        13_476,
        "--root (*_bluzy.jpg, *_bryuki.jpg)",
        lambda root, _: open_lamoda(root),
    ),
    "synthetic": Dataset(
        "synthetic",
        "Product images that shopsight draws itself: not photographs",
        "CC0-1.0",
        8,
        1_600,
        "drawn on this machine (--root: where to keep them)",
        lambda root, _: open_synthetic(root),
    ),
}


def dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        SourceError: there is none.
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
    return name in DATASETS or name.startswith(HF_PREFIX)


def open_dataset(name: str, *, root: Path | None = None, images_root: str | None = None) -> Catalog:
    """Read a named data set, fetching it when it is not at hand.

    Raises:
        SourceError: no such name, no such folder, or not within reach; with the steps.
    """
    if name.startswith(HF_PREFIX):
        return open_huggingface(name)
    found = dataset(name)
    if root is not None and name != "synthetic" and not root.is_dir():
        raise SourceError("no such folder", where=str(root), fix="--root FOLDER")
    return found.open(root, images_root)
