"""Paths that Windows cannot open are refused before any work: before DATA is looked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from shopsight import api
from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import WriteError
from shopsight.safe_names import PART_LENGTH
from tests.helpers import ProductPhotos, make_products

MISSING = "no-such-data"
NETS = ["shopsight:fashion_cnn", "shopsight:squeezenet"]


@pytest.fixture(autouse=True)
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit that Windows has unless long paths are switched on."""
    monkeypatch.setattr("shopsight.output_paths.longest_path", lambda: 259)


def padded(folder: Path, length: int) -> Path:
    return folder / ("d" * (length - len(str(folder)) - 1))


@pytest.mark.parametrize(
    "command",
    [
        lambda out: api.audit(MISSING, out=out),
        lambda out: api.split(MISSING, out=out / "split.csv"),
        lambda out: api.demo(out=out, root=MISSING),
    ],
    ids=["audit", "split", "demo"],
)
def test_a_folder_for_results(command: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"would have paths of \d+ characters; Windows opens 259"):
        command(padded(tmp_path, 250))
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder(product_photos: ProductPhotos, tmp_path: Path) -> None:
    catalog: Catalog = open_catalog(product_photos.folder)
    with pytest.raises(WriteError, match="would have paths of 290 characters"):
        api.train(catalog, out=padded(tmp_path, 200))
    with pytest.raises(WriteError, match="would have paths of"):
        api.compare_backbones(catalog, backbones=NETS, out=padded(tmp_path, 160))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder(product_photos: ProductPhotos, tmp_path: Path) -> None:
    catalog = open_catalog(product_photos.folder)
    refused = pytest.raises(WriteError, match="would have paths of 280 characters")
    with use_cache_dir(padded(tmp_path, 200)), refused as raised:
        api.train(catalog, out=tmp_path / "run")
    assert raised.value.where == str(padded(tmp_path, 200))
    assert list(tmp_path.iterdir()) == []


def test_nothing_runs_before_a_refusal_whatever_the_length(tmp_path: Path) -> None:
    """At each length around the limit, a command refuses at once or writes all its files."""
    photos = make_products(tmp_path / "photos", per_class=4)
    for length in range(222, 234):
        out = padded(tmp_path, length)
        fits = length + 1 + PART_LENGTH <= 259
        with nullcontext() if fits else pytest.raises(WriteError, match="would have paths of"):
            # Were anything looked at before, the missing DATA would be the error.
            api.audit(photos.folder if fits else MISSING, out=out)
        assert out.exists() == fits
    for suffix, added in ((".csv", len("about.json") - len("csv")), (".parquet", 0)):
        for length in range(259 - added - 2, 259 + 3):
            out = padded(tmp_path, length - len(suffix)).with_suffix(suffix)
            fits = length + added <= 259
            if fits and len(out.name) <= 240:
                api.split(photos.folder, out=out)
            elif not fits:
                with pytest.raises(WriteError, match="Windows opens 259"):
                    api.split(MISSING, out=out)
                assert not out.exists()
