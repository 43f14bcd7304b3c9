"""What comes with pip: `embedded:` networks with their weights, `shopsight:` ones without."""

from __future__ import annotations

from typing import Any

import timm

from shopsight.backbones.efficientnet_lite import LITE, load_lite
from shopsight.backbones.fashion_cnn import FashionCnn
from shopsight.backbones.fashion_net import FashionNet
from shopsight.backbones.spec import (
    Backbone,
    Request,
    check_known,
    load_weight_file,
    no_drop_path,
)
from shopsight.backbones.stages import stages_of
from shopsight.errors import WeightsError
from shopsight.preprocess import Preprocess

# The network and its own dropout after convolutions.
_NETWORKS: dict[str, tuple[type[FashionCnn] | type[FashionNet], float]] = {
    "fashion_cnn": (FashionCnn, 0.2),
    "fashion_net": (FashionNet, 0.0),
}


def embedded_backbone(request: Request) -> Backbone:
    """Build an EfficientNet-Lite; see `shopsight.backbones.create`."""
    check_known(request.name, LITE, request)
    size_px, crop_fraction = LITE[request.name]
    # timm's `efficientnet_lite*` accept these weights too and compute something else (other
    # padding and BatchNorm epsilon): only the `tf_` ones are the published network.
    module: Any = timm.create_model(
        request.name, pretrained=False, num_classes=0, drop_path_rate=request.drop_path
    )
    if request.weights == "pretrained":
        loaded = f"pretrained: {load_lite(module, request.name)} (ImageNet-1k)"
    else:
        loaded = load_weight_file(module, request, classifier=("classifier",))
    preprocess = Preprocess(
        size_px=request.size_px or size_px,
        crop_fraction=crop_fraction,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    return Backbone(
        request.full_name, module, module.num_features, preprocess, stages_of(module), loaded
    )


def shopsight_backbone(request: Request) -> Backbone:
    """Build one of our small networks; see `shopsight.backbones.create`."""
    check_known(request.name, _NETWORKS, request)
    if request.weights == "pretrained":
        raise WeightsError(
            f"{request.full_name} has no pretrained weights: it is trained from scratch",
            fix="--set model.weights=random --set training.mode=scratch",
        )
    if request.drop_path:
        raise no_drop_path(request)
    network, own_dropout = _NETWORKS[request.name]
    dropout = own_dropout if request.conv_dropout is None else request.conv_dropout
    module = network(conv_dropout=dropout)
    loaded = load_weight_file(module, request)
    # Mean and standard deviation of Fashion-MNIST's pixels, whose background is black.
    preprocess = Preprocess(
        size_px=request.size_px or 28,
        pad_color=(0, 0, 0),
        interpolation="bilinear",
        mean=(0.286, 0.286, 0.286),
        std=(0.353, 0.353, 0.353),
    )
    return Backbone(
        request.full_name, module, module.embedding_dim, preprocess, stages_of(module), loaded
    )
