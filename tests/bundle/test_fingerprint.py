from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopsight.bundle.embedding_space import EmbeddingSpace
from shopsight.bundle.fingerprint import embedding_fingerprint, model_fingerprint, tensors_sha256
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.write import write_bundle
from shopsight.head_settings import HeadSettings
from shopsight.preprocess import Preprocess


def changed(info: BundleInfo, **changes: Any) -> BundleInfo:
    return BundleInfo.model_validate(info.model_dump() | changes)


@pytest.fixture
def info(parts: dict[str, Any], tmp_path: Path) -> BundleInfo:
    return write_bundle(tmp_path / "model", **parts).info


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "shopsight:fashion_net"},
        {"backbone_sha256": "0" * 64},
        {"preprocess": Preprocess(size_px=28, pad_color="edge")},
        {"tta_hflip": True},
        {"members": 2},
    ],
)
def test_what_changes_an_embedding(info: BundleInfo, changes: dict[str, Any]) -> None:
    assert embedding_fingerprint(changed(info, **changes)) != embedding_fingerprint(info)
    assert model_fingerprint(changed(info, **changes)) != model_fingerprint(info)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": HeadSettings(kind="cosine")},
        {"weights_sha256": "0" * 64},
        {"labels": ("hat", "dress", "shoe")},
        {"multilabel": True},
    ],
)
def test_what_changes_the_logits_alone(info: BundleInfo, changes: dict[str, Any]) -> None:
    assert embedding_fingerprint(changed(info, **changes)) == embedding_fingerprint(info)
    assert model_fingerprint(changed(info, **changes)) != model_fingerprint(info)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 3.0},
        {"thresholds": {"hat": 0.3}},
        {"head": HeadSettings(dropout=0.5)},
        {"created": "", "versions": {}, "recipe": "Other", "catalog": "more", "weights": "x"},
    ],
)
def test_what_changes_neither(info: BundleInfo, changes: dict[str, Any]) -> None:
    assert model_fingerprint(changed(info, **changes)) == model_fingerprint(info)


def test_a_new_head_on_the_same_backbone_keeps_the_embedding(
    info: BundleInfo, parts: dict[str, Any], tmp_path: Path
) -> None:
    head = {"head.classifier.weight": np.zeros((3, 4), np.float32)}
    parts["tensors"] = parts["tensors"] | head
    other = write_bundle(tmp_path / "other", **parts).info
    assert embedding_fingerprint(other) == embedding_fingerprint(info)
    assert model_fingerprint(other) != model_fingerprint(info)


def test_fingerprints_are_those_that_files_hold() -> None:
    """Features, embeddings and indexes are found again by them: to change one is a new version."""
    info = BundleInfo(
        backbone="timm:resnet18.tv_in1k",
        weights="x",
        labels=("a", "b"),
        preprocess=Preprocess(size_px=224),
        embedding_dim=512,
        backbone_sha256="ab" * 32,
        weights_sha256="cd" * 32,
        tta_hflip=True,
    )
    space = EmbeddingSpace(
        backbone=info.backbone,
        backbone_sha256=info.backbone_sha256,
        preprocess=info.preprocess,
        embedding_dim=512,
        tta_hflip=True,
    )
    found = embedding_fingerprint(info), model_fingerprint(info), space.fingerprint
    assert found == (
        "1fa563d76705ab3b88937fd48303b3bd45605f42e426dfad7a9e4e5a2bab44ec",
        "ce9af968fad06e957ec0e61f86a78a2a684f0170a5ed3a61e04f4f05f50c7d58",
        "9e14d2ae63b3888cf0b69febe7bf5faabad80998b2eb00f6a2e06e8dcd1f9352",
    )


def test_tensors_are_hashed_by_name_type_shape_and_value() -> None:
    zeros = np.zeros((2, 3), np.float32)
    first = tensors_sha256({"a": zeros, "b": np.array(1)})
    assert tensors_sha256({"b": np.array(1), "a": zeros}) == first
    # Memory order is not part of it.
    assert tensors_sha256({"a": np.asfortranarray(zeros), "b": np.array(1)}) == first
    others = [
        {"c": zeros, "b": np.array(1)},
        {"a": zeros.astype(np.float64), "b": np.array(1)},
        {"a": zeros.astype(np.int32), "b": np.array(1)},
        {"a": zeros.reshape(3, 2), "b": np.array(1)},
        {"a": zeros, "b": np.array([1])},
        {"a": zeros + 1, "b": np.array(1)},
        {"a": zeros},
    ]
    assert len({first, *map(tensors_sha256, others)}) == 1 + len(others)
    assert tensors_sha256({"empty": np.zeros((0, 2))})
