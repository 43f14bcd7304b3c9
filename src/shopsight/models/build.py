"""Between a bundle and a torch network: build one, and take one's tensors and fingerprint."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.weights import load_state_dict_strict
from shopsight.bundle.fingerprint import network_fingerprint, tensors_sha256
from shopsight.bundle.format import WEIGHTS_FILE, Bundle, BundleInfo
from shopsight.bundle.read import read_tensors
from shopsight.errors import BundleError, WeightsError
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel


def build_model(bundle: Bundle) -> ProductModel:
    """Build a bundle's network with its weights, in eval mode, on the CPU, without downloads.

    Raises:
        BundleError: The weights do not fit the network that model.json names.
    """
    info = bundle.info
    members = [_new_member(info) for _ in range(info.members)]
    backbone, head = members[0]
    if info.members > 1:
        backbone = EnsembleBackbone([member[0] for member in members])
        head = EnsembleHead([member[1] for member in members], multilabel=info.multilabel)
    model = ProductModel(backbone, head, info.preprocess, tta_hflip=info.tta_hflip)
    state = {name: torch.from_numpy(array) for name, array in read_tensors(bundle.folder).items()}
    where = str(bundle.folder / WEIGHTS_FILE)
    try:
        load_state_dict_strict(model, state, where=where)
    except WeightsError as error:
        raise BundleError(
            f"the weights do not fit {info.backbone} with {len(info.labels)} labels",
            where=where,
            details=error.details,
            fix="the bundle was made with timm "
            f"{info.versions.get('timm', '?')}: install that version, or copy the bundle again",
        ) from error
    return model.eval()


def model_tensors(module: nn.Module) -> dict[str, np.ndarray]:
    """The state dict as NumPy arrays in plain memory order, for a bundle.

    bf16, which NumPy does not have, becomes fp32; no value changes.
    """
    return {name: _array(tensor) for name, tensor in module.state_dict().items()}


def live_embedding_fingerprint(model: ProductModel, *, backbone: str) -> str:
    """`shopsight.bundle.fingerprint.embedding_fingerprint` of a network that is in memory.

    A bundle written from the network has the same fingerprint.

    Args:
        model: One network, not an ensemble.
        backbone: Name that rebuilds its architecture.
    """
    return network_fingerprint(
        backbone=backbone,
        backbone_sha256=tensors_sha256(model_tensors(model.backbone)),
        preprocess=model.preprocess,
        tta_hflip=model.tta_hflip,
    )


def _new_member(info: BundleInfo) -> tuple[nn.Module, nn.Module]:
    """Backbone and head of one member with random weights."""
    backbone = create_backbone(info.backbone, weights="random", size_px=info.preprocess.size_px)
    head = create_head(
        info.head,
        embedding_dim=info.embedding_dim // info.members,
        num_classes=len(info.labels),
    )
    return backbone.module, head


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: np.ndarray = tensor.contiguous().numpy()
    return array
