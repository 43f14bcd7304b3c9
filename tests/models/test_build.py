from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shopsight.backbones.create import create_backbone
from shopsight.bundle.fingerprint import embedding_fingerprint
from shopsight.bundle.format import Bundle, BundleInfo, Golden
from shopsight.bundle.read import read_bundle, read_info
from shopsight.bundle.write import write_bundle
from shopsight.errors import BundleError, WeightsError
from shopsight.head_settings import HeadKind, HeadSettings
from shopsight.models.build import build_model, live_embedding_fingerprint, model_tensors
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from tests.helpers import edit_json

LABELS = ("dress", "hat", "shoe")


def written(folder: Path, model: ProductModel, info: BundleInfo) -> Bundle:
    golden = Golden(
        (b"one",), np.ones((1, len(info.labels)), "f4"), np.ones((1, info.embedding_dim), "f4")
    )
    return write_bundle(folder, tensors=model_tensors(model), info=info, golden=golden, metrics={})


def fashion_bundle(folder: Path, *, kind: HeadKind = "linear", members: int = 1) -> ProductModel:
    """Write a small bundle with random weights; give the network."""
    torch.manual_seed(0)
    backbones = [create_backbone("shopsight:fashion_cnn", weights="random") for _ in range(members)]
    settings = HeadSettings(kind=kind, hidden_dim=16)
    heads = [create_head(settings, embedding_dim=32, num_classes=3) for _ in range(members)]
    preprocess = backbones[0].preprocess
    model = ProductModel(backbones[0].module, heads[0], preprocess).eval()
    if members > 1:
        backbone = EnsembleBackbone([member.module for member in backbones])
        model = ProductModel(backbone, EnsembleHead(heads, multilabel=False), preprocess).eval()
    info = BundleInfo(
        backbone="shopsight:fashion_cnn",
        weights="random",
        head=settings,
        labels=LABELS,
        preprocess=preprocess,
        embedding_dim=32 * members,
        members=members,
    )
    written(folder, model, info)
    return model


@pytest.mark.parametrize(
    ("kind", "members"), [("linear", 1), ("mlp", 1), ("cosine", 1), ("linear", 3)]
)
def test_the_same_network_comes_back(tmp_path: Path, kind: HeadKind, members: int) -> None:
    model = fashion_bundle(tmp_path, kind=kind, members=members)
    again = build_model(read_bundle(tmp_path))
    images = torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))
    assert not again.training


def test_a_network_built_for_another_size_comes_back_at_that_size(tmp_path: Path) -> None:
    """Position embeddings depend on the size: it must be part of what rebuilds the network."""
    backbone = create_backbone("timm:test_vit", weights="random", size_px=96)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=3)
    model = ProductModel(backbone.module, head, backbone.preprocess).eval()
    info = BundleInfo(
        backbone=backbone.name,
        weights="random",
        labels=LABELS,
        preprocess=backbone.preprocess,
        embedding_dim=backbone.embedding_dim,
    )
    bundle = written(tmp_path, model, info)
    images = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(build_model(bundle)(images), model(images))


def test_weights_that_do_not_fit_the_named_network(tmp_path: Path) -> None:
    fashion_bundle(tmp_path)
    edit_json(tmp_path / "model.json", backbone="shopsight:fashion_net")
    with pytest.raises(BundleError, match=r"do not fit shopsight:fashion_net"):
        build_model(read_bundle(tmp_path))


def test_tensors_of_half_precision(tmp_path: Path) -> None:
    model = fashion_bundle(tmp_path)
    info = read_bundle(tmp_path).info
    for dtype, stored in ((torch.bfloat16, np.float32), (torch.float16, np.float16)):
        tensors = model_tensors(model.to(dtype))
        assert tensors["head.classifier.weight"].dtype == stored
        weight = model.state_dict()["head.classifier.weight"]
        assert torch.equal(torch.from_numpy(tensors["head.classifier.weight"]).to(dtype), weight)
        bundle = written(tmp_path / stored.__name__, model, info)
        assert torch.equal(
            build_model(bundle).state_dict()["head.classifier.weight"].to(dtype), weight
        )


def test_a_network_in_memory_has_the_fingerprint_of_its_bundle(tmp_path: Path) -> None:
    model = fashion_bundle(tmp_path)
    info = read_bundle(tmp_path).info
    live = live_embedding_fingerprint(model, backbone=info.backbone)
    assert live == embedding_fingerprint(info)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert live_embedding_fingerprint(model, backbone=info.backbone) == live
    with torch.no_grad():
        next(model.backbone.parameters())[0, 0, 0, 0] += 1e-6
    assert live_embedding_fingerprint(model, backbone=info.backbone) != live


def test_a_bundle_as_backbone(tmp_path: Path) -> None:
    model = fashion_bundle(tmp_path / "model")
    backbone = create_backbone(f"local:{tmp_path / 'model'}")
    weights = f"bundle: model, sha256 {read_info(tmp_path / 'model').weights_sha256[:12]}"
    assert (backbone.name, backbone.weights) == ("shopsight:fashion_cnn", weights)
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
