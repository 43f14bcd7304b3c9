"""A small bundle that was really written, and the images that it predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from shopsight.backbones.create import create_backbone
from shopsight.bundle.format import BundleInfo
from shopsight.head_settings import HeadSettings
from shopsight.inference.save import save_bundle
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel

if TYPE_CHECKING:
    from tests.helpers import ProductPhotos

# BatchNorm with activation inside, depthwise convolutions, 0.4 M parameters.
BACKBONE = "timm:test_efficientnet"


@pytest.fixture(scope="session")
def files(product_photos: ProductPhotos) -> list[str]:
    """Paths of all synthetic images, in the order of a folder's listing."""
    return sorted(str(path) for path in product_photos.folder.rglob("*.jpg"))


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory, files: list[str]) -> Path:
    """Random weights, three labels, temperature 0.5. Do not change it."""
    torch.manual_seed(0)
    backbone = create_backbone(BACKBONE, weights="random", size_px=64)
    _spread(backbone.module)
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=3)
    model = ProductModel(backbone.module, head, backbone.preprocess)
    info = BundleInfo(
        backbone=BACKBONE,
        weights="random",
        labels=("dress", "hat", "shoe"),
        preprocess=backbone.preprocess,
        embedding_dim=backbone.embedding_dim,
        temperature=0.5,
    )
    folder = tmp_path_factory.mktemp("run") / "model"
    images = [Path(file).read_bytes() for file in files[::20]]
    save_bundle(folder, model, info=info, golden_images=images, metrics={})
    return folder


def _spread(module: torch.nn.Module) -> None:
    """BatchNorm statistics as training leaves them: not the neutral ones of a new network."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 1.5)
