"""What all tests share: one thread, a cache of their own, and a small drawn product catalog."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

# Before torch and OpenCV start their pools: tests run beside each other, one thread each. A pytest
# plugin has imported NumPy by now, whose pool is limited below.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
from hypothesis import settings as hypothesis_settings
from PIL import Image
from threadpoolctl import threadpool_limits

# Every array that goes in or out is checked against the shape in the signature. Before shopsight
# is first imported: the check is put in while modules load.
jaxtyping.install_import_hook(
    [
        f"shopsight.{package}"
        for package in ("data", "metrics", "models", "engines", "training", "evaluation")
    ],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

from shopsight.progress import Advance, use_listener  # noqa: E402

hypothesis_settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.load_profile("tests")

MAX_CELL_CLASSES = ("dress", "shoe", "hat")
LARGE = ("cv2", "lightning", "polars", "sklearn", "timm", "torch._dynamo", "torchvision")


def pytest_configure(config: pytest.Config) -> None:
    """Import the large libraries before shopsight, where tests run.

    What is first imported while a module of ours loads is compiled anew, whoever wrote it: the
    import hook looks for compiled files under names of its own.
    """
    if config.getoption("dist", "no") == "no":
        for library in LARGE:
            importlib.import_module(library)


@dataclass(frozen=True)
class ProductPhotos:
    """A folder per class with drawn JPEGs, and the same as a table.

    Attributes:
        folder: holds one sub-folder per class.
        table: a CSV with columns image (relative to `folder`), label and product (two images
            of each product).
        labels: the class names, sorted.
        count: number of images.
    """

    folder: Path
    table: Path
    labels: tuple[str, ...]
    count: int


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache."""
    before = os.environ.get("SHOPSIGHT_CACHE")
    os.environ["SHOPSIGHT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SHOPSIGHT_CACHE"]
    else:
        os.environ["SHOPSIGHT_CACHE"] = before


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """For tests of what a user without the type check is told about wrong shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class _Hearer:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        return nullcontext(lambda _count: None)

    def notify(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that library code tells while the test runs."""
    hearer = _Hearer()
    with use_listener(hearer):
        yield hearer.lines


@pytest.fixture(scope="session")
def product_photos(tmp_path_factory: pytest.TempPathFactory) -> ProductPhotos:
    """Three classes of 20 images each: 10 products, two views of each. Do not change it."""
    return make_products(tmp_path_factory.mktemp("synthetic") / "products", per_class=20)


def make_products(
    folder: Path, *, per_class: int, classes: tuple[str, ...] = MAX_CELL_CLASSES, seed: int = 0
) -> ProductPhotos:
    """Draw `per_class` images (an even number) of each class into `folder`."""
    from shopsight.datasets.synthetic import draw_product

    rows = ["image,label,product"]
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            number, view = divmod(index, 2)
            name = f"{label}/{label}-{number:03d}-{view}.jpg"
            pixels = draw_product(label, number=number, view=view, seed=seed)
            Image.fromarray(pixels).save(folder / name, quality=90)
            rows.append(f"{name},{label},{label}-{number}")
    table = folder.parent / f"{folder.name}.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ProductPhotos(folder, table, tuple(sorted(classes)), per_class * len(classes))
