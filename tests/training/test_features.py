"""Features on disk: the same as computed ones, whatever was kept before and by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shopsight.backbones.create import create_backbone
from shopsight.config.recipe import parse_recipe
from shopsight.config.sections import CacheSettings
from shopsight.datasets.open import open_catalog
from shopsight.files import sha256_file
from shopsight.head_settings import HeadSettings
from shopsight.inference.torch_engine import TorchEngine, computes_bf16
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.training import features
from shopsight.training.features import FeatureStore, extract_features, feature_folder
from shopsight.training.fit import fit
from tests.helpers import ProductPhotos

SIZE = 28
PROBE = """
[data]
val = 0.2
test = 0.2
[preprocess]
size_px = 28
[model]
backbone = "shopsight:fashion_cnn"
weights = "random"
[training]
mode = "probe"
precision = "32"
"""


def network(seed: int = 0, *, flip: bool = False) -> ProductModel:
    torch.manual_seed(seed)
    backbone = create_backbone("shopsight:fashion_cnn", weights="random", size_px=SIZE)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, classes=3)
    return ProductModel(backbone.module, head, Preprocess(size_px=SIZE), tta_hflip=flip).eval()


def folder_of(root: Path, model: ProductModel, *, pixels: str, computes: str) -> Path:
    fingerprint = live_embedding_fingerprint(model, backbone="shopsight:fashion_cnn")
    return feature_folder(root, fingerprint, pixels=pixels, computes=computes)


def engine_of(model: ProductModel, *, bf16: bool = False) -> TorchEngine:
    return TorchEngine(model, device="cpu", precision="bf16" if bf16 else "32")


@pytest.fixture(scope="module")
def photos(product_photos: ProductPhotos) -> tuple[PixelSource, Any]:
    catalog = open_catalog(product_photos.folder)
    shas = [sha256_file(Path(ref)) for ref in catalog.refs()]
    source = open_cache(catalog, Preprocess(size_px=SIZE), settings=CacheSettings(), sha256s=shas)
    return source, image_keys(shas, None)


def store_in(folder: Path, keys: Any) -> FeatureStore:
    return FeatureStore(folder, keys, width=network().head.classifier.in_features)


@pytest.mark.parametrize("bf16", [False, True])
def test_what_was_kept_before_changes_no_bit(
    photos: tuple[PixelSource, Any],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    bf16: bool,
) -> None:
    if bf16 and not computes_bf16(torch.device("cpu")):
        pytest.skip("no bf16 instructions")
    monkeypatch.setattr(features, "BATCH_IMAGES", 16)
    source, keys = photos
    engine = engine_of(network(), bf16=bf16)
    rows = np.arange(len(source))
    plain = extract_features(engine, source, rows)

    @given(st.lists(st.integers(0, len(source) - 1), min_size=1, max_size=40))
    def check(before: list[int]) -> None:
        store = store_in(tmp_path_factory.mktemp("features"), keys)
        first = extract_features(engine, source, np.array(before), store=store)
        assert torch.equal(first, plain[before])
        assert torch.equal(extract_features(engine, source, rows, store=store), plain)

    check()


def test_a_second_time_runs_no_network(photos: tuple[PixelSource, Any], tmp_path: Path) -> None:
    class Broken:
        name, precision = "broken", "32"

        def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise AssertionError("everything is in the cache")

    source, keys = photos
    store, rows = store_in(tmp_path, keys), np.array([5, 3, 3, 8])
    first = extract_features(engine_of(network()), source, rows, store=store)
    again = extract_features(Broken(), source, np.array([8, 5]), store=store)  # type: ignore[arg-type]
    assert torch.equal(again, first[[3, 0]])


def test_an_interruption_keeps_what_was_computed(
    photos: tuple[PixelSource, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BATCH_IMAGES", 8)
    source, keys = photos
    store, rows, engine = store_in(tmp_path, keys), np.arange(30), engine_of(network())
    run, calls = engine.run, 0

    def interrupted(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return run(images)

    monkeypatch.setattr(engine, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract_features(engine, source, rows, store=store)
    assert store.missing(rows).tolist() == list(range(16, 30))


@pytest.mark.parametrize(
    "other",
    [
        lambda root: folder_of(root, network(1), pixels="raw", computes="torch, 32"),
        lambda root: folder_of(root, network(flip=True), pixels="raw", computes="torch, 32"),
        lambda root: folder_of(root, network(), pixels="jpeg", computes="torch, 32"),
        lambda root: folder_of(root, network(), pixels="raw", computes="torch, bf16"),
    ],
    ids=["weights", "flip", "pixels", "precision"],
)
def test_another_network_has_another_folder(other: Callable[[Path], Path], tmp_path: Path) -> None:
    def folder() -> Path:
        return folder_of(tmp_path, network(), pixels="raw", computes="torch, 32")

    assert folder() == folder()
    assert other(tmp_path) != folder()


def test_a_probe_on_kept_features_is_the_same(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    recipe = parse_recipe(PROBE)
    fit(open_catalog(product_photos.folder), recipe, tmp_path / "cold")
    computed: list[int] = []
    plain = features._computed

    def counted(engine: Any, source: Any, rows: Any) -> Any:
        computed.append(len(rows))
        return plain(engine, source, rows)

    monkeypatch.setattr(features, "_computed", counted)
    fit(open_catalog(product_photos.folder), recipe, tmp_path / "warm")
    assert computed == []
    cold, warm = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("cold", "warm")
    )
    assert cold == warm
