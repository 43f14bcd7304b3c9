from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight import api
from tests.helpers import ProductPhotos
from tests.serve.service import WRITE, Service, serving


@pytest.fixture(scope="session")
def service(tiny_run: Path) -> Iterator[Service]:
    """A service without keys, shared by tests that leave it as it is."""
    with serving(tiny_run) as running:
        yield running


@pytest.fixture(scope="session")
def photo(product_photos: ProductPhotos) -> bytes:
    """A small JPEG of a product."""
    return sorted(product_photos.folder.rglob("*.jpg"))[0].read_bytes()


@pytest.fixture(scope="session")
def index_folder(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An index of the product photos, with their labels and products."""
    out = tmp_path_factory.mktemp("searched") / "index"
    read = api.ReadOptions(images_root=str(product_photos.folder))
    api.build_index(tiny_run, product_photos.table, out=out, read=read)
    return out


@pytest.fixture(scope="session")
def searched(tiny_run: Path, index_folder: Path) -> Iterator[Service]:
    flags = ("--index", str(index_folder))
    with serving(tiny_run, *flags, environment={"SHOPSIGHT_WRITE_KEY": WRITE}) as running:
        yield running
