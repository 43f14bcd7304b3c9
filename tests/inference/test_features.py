"""Features on disk: the same as computed ones, regardless of which were kept before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shopsight.api import evaluate, train
from shopsight.backbones.create import create_backbone
from shopsight.cache_place import use_cache_dir
from shopsight.config.data_settings import CacheSettings
from shopsight.config.recipe import parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.devices import computes_bf16
from shopsight.files import sha256_file
from shopsight.head_settings import HeadSettings
from shopsight.inference import features
from shopsight.inference.features import FeatureStore, compute_missing, feature_folder, run_outputs
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import RunFolder
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
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=3)
    return ProductModel(backbone.module, head, Preprocess(size_px=SIZE), tta_hflip=flip).eval()


def folder_of(root: Path, model: ProductModel, *, pixels: str, engine: str) -> Path:
    fingerprint = live_embedding_fingerprint(model, backbone="shopsight:fashion_cnn")
    return feature_folder(root, fingerprint, pixels=pixels, engine=engine)


def engine_of(model: ProductModel, *, bf16: bool = False) -> TorchEngine:
    return TorchEngine(model, device="cpu", precision="bf16" if bf16 else "32")


@pytest.fixture(scope="module")
def photos(product_photos: ProductPhotos) -> tuple[PixelSource, Any]:
    catalog = open_catalog(product_photos.folder)
    shas = [sha256_file(Path(ref)) for ref in catalog.refs()]
    source = open_cache(catalog, Preprocess(size_px=SIZE), settings=CacheSettings(), sha256s=shas)
    return source, image_keys(shas, None)


def store_in(folder: Path, keys: Any) -> FeatureStore:
    return FeatureStore(folder, keys, embedding_dim=network().head.classifier.in_features)


def features_of(
    engine: Any, source: PixelSource, rows: np.ndarray, *, store: FeatureStore
) -> np.ndarray:
    """Features of these rows, computed where the store lacks them."""
    compute_missing(engine, source, rows, store=store)
    return store.blobs(rows)[np.arange(len(rows))]


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
    plain = features_of(
        engine, source, rows, store=store_in(tmp_path_factory.mktemp("plain"), keys)
    )

    @settings(max_examples=20)
    @given(st.lists(st.integers(0, len(source) - 1), min_size=1, max_size=40))
    def check(before: list[int]) -> None:
        store = store_in(tmp_path_factory.mktemp("features"), keys)
        first = features_of(engine, source, np.array(before), store=store)
        assert np.array_equal(first, plain[before])
        assert np.array_equal(features_of(engine, source, rows, store=store), plain)

    check()


def test_a_second_time_runs_no_network(photos: tuple[PixelSource, Any], tmp_path: Path) -> None:
    class Broken:
        name, precision = "broken", "32"

        def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise AssertionError("everything is in the cache")

    source, keys = photos
    store, rows = store_in(tmp_path, keys), np.array([5, 3, 3, 8])
    first = features_of(engine_of(network()), source, rows, store=store)
    again = features_of(Broken(), source, np.array([8, 5]), store=store)
    assert np.array_equal(again, first[[3, 0]])


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
        features_of(engine, source, rows, store=store)
    assert store.missing(rows).tolist() == list(range(16, 30))


@pytest.mark.parametrize(
    "other",
    [
        lambda root: folder_of(root, network(1), pixels="raw", engine="torch, 32"),
        lambda root: folder_of(root, network(flip=True), pixels="raw", engine="torch, 32"),
        lambda root: folder_of(root, network(), pixels="jpeg", engine="torch, 32"),
        lambda root: folder_of(root, network(), pixels="raw", engine="torch, bf16"),
    ],
    ids=["weights", "flip", "pixels", "precision"],
)
def test_another_network_has_another_folder(other: Callable[[Path], Path], tmp_path: Path) -> None:
    def folder() -> Path:
        return folder_of(tmp_path, network(), pixels="raw", engine="torch, 32")

    assert folder() == folder()
    assert other(tmp_path) != folder()


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[bytes]:
    """How often each image is run through a network, by the hash of its pixels; no cache yet.

    Golden outputs and those that decide about the precision are not counted: they are computed to
    be compared, in smaller batches.
    """
    counts: Counter[bytes] = Counter()
    plain = TorchEngine.run

    def counted(engine: TorchEngine, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(images) == features.BATCH_IMAGES:
            # A batch that is filled up repeats its last image.
            counts.update({sha256(image.tobytes()).digest() for image in images})
        return plain(engine, images)

    monkeypatch.setattr(TorchEngine, "run", counted)
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    return counts


def test_a_probe_on_kept_features_is_the_same(
    product_photos: ProductPhotos, tmp_path: Path, embedded: Counter[bytes]
) -> None:
    recipe = parse_recipe(PROBE)
    fit(open_catalog(product_photos.folder), recipe, tmp_path / "cold")
    assert embedded
    embedded.clear()
    fit(open_catalog(product_photos.folder), recipe, tmp_path / "warm")
    assert not embedded
    cold, warm = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("cold", "warm")
    )
    assert cold == warm


@pytest.mark.parametrize("cache", ["auto", "off"])
def test_a_probe_run_embeds_each_image_once(
    cache: str, product_photos: ProductPhotos, tmp_path: Path, embedded: Counter[bytes]
) -> None:
    """For fitting the probe, calibration and evaluation together, training images included."""
    recipe = parse_recipe(PROBE, overrides=["training.precision=auto", f"cache.mode={cache}"])
    done = train(product_photos.folder, out=tmp_path / "run", recipe=recipe)
    assert set(done.evaluations) == {"val", "test"}
    assert set(embedded.values()) == {1}
    assert len(embedded) == product_photos.count


@pytest.mark.parametrize("mode", ["scratch", "probe-then-finetune"])
def test_a_fine_tuned_run_embeds_each_scored_image_once_with_its_last_weights(
    mode: str, product_photos: ProductPhotos, tmp_path: Path, embedded: Counter[bytes]
) -> None:
    probed = ["training.precision=auto", f"training.mode={mode}", "training.epochs=1"]
    recipe = parse_recipe(PROBE, overrides=probed)
    done = train(product_photos.folder, out=tmp_path / "run", recipe=recipe)
    scored = sum(len(found.predictions) for found in done.evaluations.values())
    times = Counter(embedded.values())
    if mode == "scratch":
        assert times == {1: scored}
    else:
        # The probe has embedded training and validation images with other weights.
        assert times.total() == product_photos.count
        assert times[2] == len(done.evaluations["val"].predictions)


def test_scores_from_kept_features_are_those_of_the_network(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    recipe = parse_recipe(PROBE)
    done = train(product_photos.folder, out=tmp_path / "run", recipe=recipe)
    again = evaluate(tmp_path / "run", split="test").predictions.table
    kept = done.evaluations["test"].predictions.table
    assert again["predicted"].equals(kept["predicted"])
    assert again["confidence"].to_numpy() == pytest.approx(kept["confidence"].to_numpy(), abs=1e-5)
    assert again["loss"].to_numpy() == pytest.approx(kept["loss"].to_numpy(), abs=1e-5)


def test_features_of_other_weights_or_precision_are_not_taken(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """The bundle in the run folder was replaced after training: it is run, not looked up."""
    for name, seed in (("b", 1), ("a", 0)):
        recipe = parse_recipe(PROBE, overrides=["training.precision=auto", f"seed={seed}"])
        with use_cache_dir(tmp_path / f"cache of {name}"):
            train(product_photos.folder, out=tmp_path / name, recipe=recipe)
    run = RunFolder(tmp_path / "a")
    audited = run.audited_catalog()
    catalog, shas = audited.catalog, audited.sha256.to_list()
    own = load(run.path)
    assert isinstance(own.engine, TorchEngine)
    other = own.engine.at("bf16" if own.engine.precision == "32" else "32")
    with use_cache_dir(tmp_path / "cache of a"):
        source = open_cache(catalog, own.preprocess, settings=run.recipe().cache, sha256s=shas)
        keys, val = image_keys(shas, catalog.boxes()), catalog.rows_of("val")
        assert run_outputs(run, own, source, val, keys=keys) is not None
        assert run_outputs(run, Predictor(other, own.info), source, val, keys=keys) is None
        assert run_outputs(run, load(tmp_path / "b"), source, val, keys=keys) is None
