from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from shopsight.backbones.create import create_backbone
from shopsight.bundle.bundle import (
    BundleInfo,
    Golden,
    build_model,
    read_bundle,
    rewrite_info,
    write_bundle,
)
from shopsight.errors import BundleError, WeightsError
from shopsight.head_settings import HeadKind, HeadSettings
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel

LABELS = ("dress", "hat", "shoe")


def fashion_bundle(folder: Path, *, kind: HeadKind = "linear", members: int = 1) -> ProductModel:
    """Write a small bundle with random weights; give the network."""
    torch.manual_seed(0)
    parts = [create_backbone("shopsight:fashion_cnn", weights="random") for _ in range(members)]
    settings = HeadSettings(kind=kind, hidden_dim=16)
    heads = [create_head(settings, embedding_dim=32, classes=3) for _ in range(members)]
    preprocess = parts[0].preprocess
    model = ProductModel(parts[0].module, heads[0], preprocess).eval()
    if members > 1:
        backbone = EnsembleBackbone([part.module for part in parts])
        model = ProductModel(backbone, EnsembleHead(heads, multilabel=False), preprocess).eval()
    info = BundleInfo(
        backbone="shopsight:fashion_cnn",
        weights="random",
        head=settings,
        labels=LABELS,
        preprocess=preprocess,
        embedding_dim=32 * members,
        members=members,
        temperature=1.5,
    )
    golden = Golden((b"one", b"two"), np.ones((2, 3), "f4"), np.ones((2, 32 * members), "f4"))
    write_bundle(folder, model=model, info=info, golden=golden, metrics={"a": 1.0}, card="# Card\n")
    return model


@pytest.mark.parametrize(
    ("kind", "members"), [("linear", 1), ("mlp", 1), ("cosine", 1), ("linear", 3)]
)
def test_round_trip(tmp_path: Path, kind: HeadKind, members: int) -> None:
    model = fashion_bundle(tmp_path / "model", kind=kind, members=members)
    bundle = read_bundle(tmp_path / "model")
    assert bundle.info.labels == LABELS
    assert bundle.info.temperature == 1.5
    assert bundle.metrics == {"a": 1.0}
    assert bundle.golden.images == (b"one", b"two")
    assert (tmp_path / "model" / "README.md").read_text() == "# Card\n"
    again = build_model(bundle)
    images = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))
    assert not again.training


def test_a_network_built_for_another_size_comes_back_at_that_size(tmp_path: Path) -> None:
    """Position embeddings depend on the size: it must be part of what rebuilds the network."""
    backbone = create_backbone("timm:test_vit", weights="random", size=96)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, classes=3)
    model = ProductModel(backbone.module, head, backbone.preprocess).eval()
    info = BundleInfo(
        backbone=backbone.name,
        weights="random",
        labels=LABELS,
        preprocess=backbone.preprocess,
        embedding_dim=backbone.embedding_dim,
    )
    golden = Golden((b"one",), np.ones((1, 3), "f4"), np.ones((1, backbone.embedding_dim), "f4"))
    bundle = write_bundle(
        tmp_path / "m", model=model, info=info, golden=golden, metrics={}, card=""
    )
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(build_model(bundle)(images), model(images))


def test_nothing_in_it_is_pickled(tmp_path: Path) -> None:
    fashion_bundle(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"model.safetensors", "model.json", "golden.npz", "metrics.json", "README.md"}
    with zipfile.ZipFile(tmp_path / "model" / "golden.npz") as arrays:
        for name in arrays.namelist():
            with arrays.open(name) as file:
                np.lib.format.read_array(file, allow_pickle=False)


def test_rewriting_replaces_the_folder(tmp_path: Path) -> None:
    fashion_bundle(tmp_path / "model")
    (tmp_path / "model" / "stale.txt").write_text("old")
    fashion_bundle(tmp_path / "model")
    assert not (tmp_path / "model" / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_changed_weights_are_found(tmp_path: Path) -> None:
    fashion_bundle(tmp_path)
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="the weights changed"):
        read_bundle(tmp_path)


def test_incomplete_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"no model\.json, model\.safetensors, golden\.npz"):
        read_bundle(tmp_path)
    fashion_bundle(tmp_path / "model")
    (tmp_path / "model" / "golden.npz").write_bytes(b"PK junk")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text("[]")
    with pytest.raises(BundleError, match="not a description"):
        read_bundle(tmp_path / "model")


def edit(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_other_versions_labels_and_keys(tmp_path: Path) -> None:
    fashion_bundle(tmp_path)
    edit(tmp_path, format_version=2)
    with pytest.raises(BundleError, match="format 2; this shopsight reads 1"):
        read_bundle(tmp_path)
    edit(tmp_path, format_version=1, labels=["dress", "hat"])
    with pytest.raises(BundleError, match="2 labels for 3 logits"):
        read_bundle(tmp_path)
    edit(tmp_path, labels=["dress", "hat", "hat"])
    with pytest.raises(BundleError, match="a label is there twice"):
        read_bundle(tmp_path)
    edit(tmp_path, labels=list(LABELS), color="red")
    with pytest.raises(BundleError, match="color"):
        read_bundle(tmp_path)


def test_weights_that_do_not_fit_the_named_network(tmp_path: Path) -> None:
    fashion_bundle(tmp_path)
    edit(tmp_path, backbone="shopsight:fashion_net")
    with pytest.raises(BundleError, match=r"do not fit shopsight:fashion_net"):
        build_model(read_bundle(tmp_path))


def test_info_refuses_what_makes_no_sense() -> None:
    preprocess = create_backbone("shopsight:fashion_cnn", weights="random").preprocess
    good = {"backbone": "x", "weights": "", "preprocess": preprocess, "embedding_width": 4}
    for bad in (
        {"labels": ()},
        {"labels": ("a",), "temperature": 0.0},
        {"labels": ("a",), "temperature": float("nan")},
        {"labels": ("a",), "thresholds": {"b": 0.5}},
        {"labels": ("a",), "members": 3},
    ):
        with pytest.raises(ValidationError):
            BundleInfo.model_validate(good | bad)


def test_golden_outputs_must_fit(tmp_path: Path) -> None:
    model = fashion_bundle(tmp_path / "model")
    info = read_bundle(tmp_path / "model").info
    golden = Golden((b"one",), np.ones((1, 4), "f4"), np.ones((1, 32), "f4"))
    with pytest.raises(BundleError, match="golden outputs of shape"):
        write_bundle(tmp_path / "b", model=model, info=info, golden=golden, metrics={}, card="")
    assert not (tmp_path / "b").exists()


def test_facts_can_be_rewritten_for_the_same_weights_only(tmp_path: Path) -> None:
    fashion_bundle(tmp_path)
    info = read_bundle(tmp_path).info
    rewrite_info(tmp_path, info.model_copy(update={"temperature": 2.0}))
    assert read_bundle(tmp_path).info.temperature == 2.0
    with pytest.raises(BundleError, match="other weights"):
        rewrite_info(tmp_path, info.model_copy(update={"weights_sha256": "0" * 64}))


def test_a_bundle_as_backbone(tmp_path: Path) -> None:
    model = fashion_bundle(tmp_path / "model")
    backbone = create_backbone(f"local:{tmp_path / 'model'}")
    assert (backbone.name, backbone.weights) == ("shopsight:fashion_cnn", "bundle: model")
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.module.state_dict()[name], value)
    fresh = create_backbone(f"local:{tmp_path / 'model'}", weights="random")
    assert fresh.weights == "random"
    fashion_bundle(tmp_path / "several", members=2)
    with pytest.raises(WeightsError, match="an ensemble of 2 networks"):
        create_backbone(f"local:{tmp_path / 'several'}")
    of_run = create_backbone(f"local:{tmp_path}").module.state_dict()
    assert all(
        torch.equal(of_run[name], value) for name, value in model.backbone.state_dict().items()
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"no model\.json"):
        create_backbone(f"local:{tmp_path / 'empty'}")
