"""Open the network of a model, not only its outputs: to put a layer behind it or to learn from it.

`shopsight.inference.open_embedder` opens what embeds; this opens what can become another bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shopsight.backbones.create import create_backbone
from shopsight.backbones.presets import backbone_of
from shopsight.backbones.spec import Backbone, check_rebuilds
from shopsight.backbones.text_tower import TextTower, bundled_tower
from shopsight.bundle.embedding_space import EmbeddingSpace
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.inference.open_embedder import check_own_framing
from shopsight.io.hub import names_hub
from shopsight.models.build import build_model, space_of_backbone
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
        text: its text encoder, where it has one and it was asked for.
        backbone: what was built; None of a bundle.
    """

    model: ProductModel
    info: BundleInfo
    text: TextTower | None
    backbone: Backbone | None = None

    @property
    def is_trained(self) -> bool:
        """Whether it is a bundle, whose head knows the labels of `info`."""
        return self.backbone is None

    def space(self) -> EmbeddingSpace:
        """The space of its embeddings; a backbone must have been opened with its text encoder."""
        if self.backbone is None:
            return self.info.space
        return space_of_backbone(self.backbone, self.info.preprocess)


def open_network(
    model: str | Path, *, resize: Resize | None = None, with_text: bool = True
) -> OpenedNetwork:
    """Open the network of a run, a bundle, a preset or a backbone by name.

    Args:
        model: as `shopsight.inference.open_embedder.open_embedder` takes it.
        resize: of a backbone, how an image becomes a square; None is how its library does it.
        with_text: its text encoder too, where it has one.

    Raises:
        BundleError: the bundle cannot be opened.
        ConfigError: there is no such backbone, a bundle could not build it again from its name, or
            `resize` is of a bundle.
        WeightsError: its weights cannot be downloaded.
    """
    trained = is_folder(model) or names_hub(model)
    name = str(model) if trained else backbone_of(str(model))
    if trained or is_folder(name) or ":" not in name:
        check_own_framing(resize)
        bundle = read_bundle(bundle_folder(name))
        text = bundled_tower(bundle) if with_text else None
        return OpenedNetwork(build_model(bundle), bundle.info, text)
    backbone = create_backbone(name, with_text=with_text)
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
    return OpenedNetwork(network.eval(), info, backbone.text, backbone)
