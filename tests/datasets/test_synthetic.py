from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopsight.datasets import synthetic
from shopsight.datasets.synthetic import OUTLINES, draw_catalog, draw_product, open_synthetic
from shopsight.images.decode import decode, read_bytes


def test_a_image_is_a_function_of_its_arguments() -> None:
    first = draw_product("hat", number=3, view=1)
    assert first.shape == (synthetic.SIZE_PX, synthetic.SIZE_PX, 3)
    assert (first == draw_product("hat", number=3, view=1)).all()
    others = [
        draw_product("hat", number=3, view=0),
        draw_product("hat", number=4, view=1),
        draw_product("bag", number=3, view=1),
        draw_product("hat", number=3, view=1, seed=1),
    ]
    assert all((first != other).any() for other in others)


@pytest.mark.parametrize("label", OUTLINES)
def test_a_product_stands_out_from_its_ground(label: str) -> None:
    seen = [draw_product(label, number=number, view=0) for number in range(4)]
    # The corner is ground; a product covers a part of the rest and no more than that.
    for image in seen:
        away = np.abs(image.astype(int) - np.median(image[:6, :6], axis=(0, 1))).max(axis=2)
        assert 0.02 < (away > 40).mean() < 0.98


def test_the_catalog_is_marked_as_synthetic(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "synthetic", products_per_class=2)
    assert catalog.synthetic
    assert "not photographs" in catalog.notes[0]
    assert len(catalog) == len(OUTLINES) * 2 * synthetic.VIEWS
    assert catalog.labels == tuple(sorted(OUTLINES))
    assert catalog.table["group"].n_unique() == len(OUTLINES) * 2
    assert decode(read_bytes(catalog.refs()[0])).shape == (synthetic.SIZE_PX, synthetic.SIZE_PX, 3)


def test_images_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(synthetic, "PRODUCTS_PER_CLASS", 1)
    first = open_synthetic()
    before = Path(first.refs()[0]).stat().st_mtime_ns
    again = open_synthetic()
    assert again.fingerprint() == first.fingerprint()
    assert Path(again.refs()[0]).stat().st_mtime_ns == before
    assert again.synthetic
