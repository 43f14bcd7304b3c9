"""Open the network of a model, not only its outputs: to put a layer behind it or to learn from it.

`shopsight.inference.open_embedder` opens what embeds; this opens what can become another bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shopsight.backbones.create import create_backbone
from shopsight.backbones.presets import backbone_of
from shopsight.backbones.spec import check_rebuilds
from shopsight.backbones.text_tower import TextTower, bundled_tower
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import ConfigError
from shopsight.models.build import build_model
from shopsight.models.heads import LinearHead
from shopsight.models.product_model import ProductModel
from shopsight.paths import is_folder
from shopsight.preprocess import Resize

NO_LABELS = ("none",)
"""The labels of a backbone by name, which has no classes of the user's."""


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network and what a bundle says of it.

    Attributes:
        model: in eval mode, on the CPU.
        info: of a backbone by name with `NO_LABELS`.
        text: its text encoder, where it has one.
        is_trained: it is a bundle, whose head knows the labels of `info`.
    """

    model: ProductModel
    info: BundleInfo
    text: TextTower | None
    is_trained: bool


def open_network(model: str | Path, *, resize: Resize | None = None) -> OpenedNetwork:
    """Open the network of a run, a bundle, a preset or a backbone by name.

    Args:
        model: as `shopsight.inference.open_embedder.open_embedder` takes it.
        resize: of a backbone, how an image becomes a square; None is how its library does it.

    Raises:
        BundleError: the bundle cannot be opened.
        ConfigError: there is no such backbone, a bundle could not build it again from its name, or
            `resize` is of a bundle.
        WeightsError: its weights cannot be downloaded.
    """
    name = str(model) if is_folder(model) else backbone_of(str(model))
    if is_folder(name) or ":" not in name:
        check_own_framing(resize)
        bundle = read_bundle(bundle_folder(name))
        return OpenedNetwork(build_model(bundle), bundle.info, bundled_tower(bundle), True)
    backbone = create_backbone(name, with_text=True)
    check_rebuilds(backbone, name)
    preprocess = backbone.preprocess
    if resize is not None:
        preprocess = preprocess.model_copy(update={"resize": resize})
    info = BundleInfo(
        backbone=backbone.name,
        weights=backbone.weights,
        labels=NO_LABELS,
        preprocess=preprocess,
        embedding_dim=backbone.embedding_dim,
    )
    network = ProductModel(backbone.module, LinearHead(backbone.embedding_dim, 1), preprocess)
    return OpenedNetwork(network.eval(), info, backbone.text, False)


def check_own_framing(resize: Resize | None) -> None:
    """Refuse another framing for what was trained.

    Raises:
        ConfigError: one is asked for.
    """
    if resize is not None:
        raise ConfigError(
            "a trained model keeps the framing that it was trained with",
            where="--resize",
            fix="leave out --resize",
        )
