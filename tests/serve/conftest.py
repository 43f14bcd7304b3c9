from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ProductPhotos
from tests.serve.service import Service, serving


@pytest.fixture(scope="session")
def service(tiny_run: Path) -> Iterator[Service]:
    """A service without keys, shared by tests that leave it as it is."""
    with serving(tiny_run) as running:
        yield running


@pytest.fixture(scope="session")
def photo(product_photos: ProductPhotos) -> bytes:
    """A small JPEG of a product."""
    return sorted(product_photos.folder.rglob("*.jpg"))[0].read_bytes()
