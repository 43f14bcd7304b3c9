"""A shop, and a run that was trained on it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight import api
from tests.review.shop import Shop, make_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """63 products, 9 without a category, 3 with a wrong one."""
    folder = tmp_path_factory.mktemp("shop")
    return make_shop(folder, per_class=21, missing=3, wrong=1)


@pytest.fixture(scope="session")
def shop_run(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe on the shop's export."""
    out = tmp_path_factory.mktemp("runs") / "run"
    small = ["preprocess.size_px=96", "cache.mode=off", "evaluation.tta_hflip=false"]
    api.train(shop.export, out=out, recipe="fast", settings=small, accept=["label-conflict"])
    return out
