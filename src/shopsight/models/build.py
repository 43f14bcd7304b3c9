"""Between a bundle and a torch network: build one, and take one's tensors and fingerprint."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.spec import Backbone
from shopsight.backbones.weights import (
    Shapes,
    check_shapes,
    load_state_dict_strict,
    only_shapes,
    shapes_of,
)
from shopsight.bundle.embedding_space import EmbeddingSpace
from shopsight.bundle.fingerprint import network_fingerprint, tensors_sha256
from shopsight.bundle.format import INFO_FILE, WEIGHTS_FILE, Bundle, BundleInfo
from shopsight.bundle.read import read_tensors, stored_tensors
from shopsight.errors import BundleError, ConfigError, WeightsError
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.progress import use_listener


def build_model(bundle: Bundle) -> ProductModel:
    """Build a bundle's network with its weights, in eval mode, on the CPU, without downloads.

    Raises:
        BundleError: The weights do not fit the network that model.json names.
    """
    info = bundle.info
    where = str(bundle.folder / WEIGHTS_FILE)
    found = {name: stored.shape for name, stored in stored_tensors(bundle.folder).items()}
    try:
        # A few bytes in model.json can name a network of any size: first its shapes alone.
        check_shapes(found, _wanted_shapes(info), where=where)
        model = _assembled(info, [_new_member(info) for _ in range(info.members)])
        tensors = read_tensors(bundle.folder)
        load_state_dict_strict(
            model, {name: torch.from_numpy(array) for name, array in tensors.items()}, where=where
        )
    except WeightsError as error:
        raise BundleError(
            f"the weights do not fit {info.backbone} with {len(info.labels)} labels",
            where=where,
            details=error.details,
            fix="the bundle was made with timm "
            f"{info.versions.get('timm', '?')}: install that version, or copy the bundle again",
        ) from error
    except ConfigError as error:
        raise BundleError(
            f"no such network: {error.what}", where=str(bundle.folder / INFO_FILE)
        ) from error
    return model.eval()


def _wanted_shapes(info: BundleInfo) -> Shapes:
    """The shapes of the network's tensors; nothing is allocated.

    Raises:
        WeightsError: Its embeddings have another width than model.json says.
    """
    with only_shapes(), use_listener(None):
        member = _new_member(info)
        return shapes_of(_assembled(info, [member] * info.members).state_dict())


def _assembled(info: BundleInfo, members: list[tuple[nn.Module, nn.Module]]) -> ProductModel:
    """The whole network of the backbones and heads of its members."""
    backbone, head = members[0]
    if info.members > 1:
        backbone = EnsembleBackbone([member[0] for member in members])
        head = EnsembleHead([member[1] for member in members], multilabel=info.multilabel)
    return ProductModel(backbone, head, info.preprocess, tta_hflip=info.tta_hflip)


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


def space_of_backbone(backbone: Backbone, preprocess: Preprocess) -> EmbeddingSpace:
    """The space of the embeddings of a published network.

    Args:
        backbone: with its text encoder, where it has one: it is a part of the space.
        preprocess: how an image becomes its input.
    """
    text = backbone.text
    return EmbeddingSpace(
        backbone=backbone.name,
        backbone_sha256=tensors_sha256(model_tensors(backbone.module)),
        text_encoder=text.name if text is not None else "",
        text_sha256=text.sha256 if text is not None else "",
        preprocess=preprocess,
        embedding_dim=backbone.embedding_dim,
    )


def _new_member(info: BundleInfo) -> tuple[nn.Module, nn.Module]:
    """Backbone and head of one member with random weights."""
    backbone = create_backbone(
        info.backbone, weights="random", size_px=info.preprocess.size_px, neck=info.neck
    )
    embedding_dim = info.embedding_dim // info.members
    if backbone.embedding_dim != embedding_dim:
        raise WeightsError(
            "embeddings of another width",
            details=[
                f"{backbone.embedding_dim:,} numbers from {info.backbone}, {embedding_dim:,} by "
                f"embedding_dim of {INFO_FILE}"
            ],
        )
    head = create_head(info.head, embedding_dim=embedding_dim, num_classes=len(info.labels))
    return backbone.module, head


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    array: np.ndarray = tensor.contiguous().numpy()
    return array
