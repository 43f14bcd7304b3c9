from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from pydantic import ValidationError

from shopsight.bundle.format import BundleInfo, library_versions
from shopsight.preprocess import Preprocess


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ()}, "at least 1 item"),
        ({"labels": ("a", "a")}, "a label occurs twice"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"temperature": float("nan")}, "finite number"),
        ({"thresholds": {"b": 0.5}}, r"no such labels: \['b'\]"),
        ({"members": 3}, "not a multiple of the number of members"),
        ({"width": 4}, "Extra inputs are not permitted"),
        ({"members": 51, "embedding_dim": 51}, "less than or equal to 50"),
        ({"embedding_dim": 10**9}, "less than or equal to 10000000"),
        ({"head": {"hidden_dim": 10**6}}, "less than or equal to 65536"),
        ({"doubt": float("nan")}, "finite number"),
        ({"thresholds": {"a": float("inf")}}, "finite number"),
        ({"temperature": 1e9}, "less than or equal to 1000000"),
        ({"labels": ("a" * 4097,)}, "at most 4096 characters"),
        ({"by_product": {"temperature": float("inf"), "products": 3}}, "finite number"),
        ({"by_product": {"temperature": 1.0, "products": -1}}, "greater than or equal to 0"),
        ({"by_product": {"temperature": 1.0, "products": 3, "more": 1}}, "Extra inputs"),
        ({"versions": {"a" * 1001: "1"}}, "at most 1000 characters"),
        ({"preprocess": {"size_px": 5000}}, "less than or equal to 4096"),
        ({"preprocess": {"std": (0.0, 1.0, 1.0)}}, "greater than"),
        ({"preprocess": {"mean": (float("inf"), 0.0, 0.0)}}, "finite number"),
    ],
)
def test_info_refuses_what_makes_no_sense(changes: dict[str, Any], said: str) -> None:
    good = {
        "backbone": "shopsight:x",
        "weights": "",
        "labels": ("a",),
        "preprocess": Preprocess(),
        "embedding_dim": 4,
    }
    BundleInfo.model_validate(good)
    with pytest.raises(ValidationError, match=said):
        BundleInfo.model_validate(good | changes)


def test_versions_of_the_libraries_that_are_installed() -> None:
    found = library_versions()
    assert found["numpy"] == version("numpy")
    assert {"python", "shopsight", "torch", "timm", "pillow"} <= found.keys()


@pytest.mark.parametrize(
    "backbone",
    [
        "local:runs/first",
        "local:timm:resnet18@/etc/passwd",
        "timm:hf-hub:evil/model",
        "timm:local-dir:/home",
        "open_clip:hf-hub:evil/model",
        "open_clip:local-dir:/home",
        "timm:https://evil.example/model",
        "timm:../../model",
        "timm:resnet18@weights.pth",
        "timm:",
        "resnet18",
        "timm:resnet18\n",
    ],
)
def test_a_backbone_is_a_librarys_own_network(backbone: str) -> None:
    with pytest.raises(ValidationError, match="not of the form library:name"):
        BundleInfo(
            backbone=backbone, weights="", labels=("a",), preprocess=Preprocess(), embedding_dim=4
        )


@pytest.mark.parametrize(
    "backbone",
    [
        "timm:vit_base_patch16_clip_224.openai",
        "open_clip:ViT-H-14/laion2b_s32b_b79k",
        "open_clip:nllb-clip-base-siglip/v1",
        "fastervit:faster_vit_4_21k_224",
        "embedded:tf_efficientnet_lite0",
    ],
)
def test_names_that_libraries_have(backbone: str) -> None:
    info = BundleInfo(
        backbone=backbone, weights="", labels=("a",), preprocess=Preprocess(), embedding_dim=4
    )
    assert info.backbone == backbone
