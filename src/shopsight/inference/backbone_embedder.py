"""A backbone with its published weights as an embedder: a search needs no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor, nn

from shopsight.backbones.classifiers import published_classes
from shopsight.backbones.clip_sources import FOLDER
from shopsight.backbones.create import create_backbone
from shopsight.backbones.spec import Backbone
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.inference.embedder import ClassDirections
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.golden import make_golden
from shopsight.inference.image_embedder import ImageEmbedder
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.reference_images import reference_images
from shopsight.inference.text_encoder import TextEncoder
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.models.build import space_of_backbone
from shopsight.models.product_model import ProductModel
from shopsight.paths import full
from shopsight.preprocess import Preprocess, Resize
from shopsight.progress import use_listener

IN_FOLDER = f"open_clip:{FOLDER}"


def open_backbone(
    name: str,
    *,
    device: str,
    precision: PrecisionChoice,
    resize: Resize | None,
    boxes: bool = False,
) -> BackboneEmbedder:
    """Open a backbone by name; see `shopsight.inference.open_embedder`."""
    if name.startswith(IN_FOLDER):
        name = IN_FOLDER + full(name.removeprefix(IN_FOLDER))
    backbone = create_backbone(name, with_text=True)
    preprocess = backbone.preprocess.model_copy(update={"boxes": boxes})
    if resize is not None:
        preprocess = preprocess.model_copy(update={"resize": resize})
    network = ProductModel(backbone.module, _NoHead(), preprocess)
    exact = reference_engine(network)
    engine = TorchEngine(network, device=device, precision="32")
    if precision == "auto":
        golden = make_golden(exact, reference_images(), preprocess)
        # Which precisions were too coarse is said of a model that is trained, not at every search.
        with use_listener(None):
            engine = fastest_embedding(engine, golden, preprocess)
    elif precision != "32":
        engine = engine.at(precision)
    return BackboneEmbedder(name, backbone, preprocess, engine)


class _NoHead(nn.Module):
    """No logits: a backbone alone has no classes of the user's."""

    def forward(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        return embedding.new_zeros(len(embedding), 1)


class BackboneEmbedder(ImageEmbedder):
    """A backbone with its published weights."""

    def __init__(
        self, name: str, backbone: Backbone, preprocess: Preprocess, engine: TorchEngine
    ) -> None:
        super().__init__(name, engine, preprocess)
        self._backbone = backbone
        self._space = space_of_backbone(backbone, preprocess)
        self._texts = (
            TextEncoder(backbone.text, engine.device) if backbone.text is not None else None
        )

    @property
    def space(self) -> EmbeddingSpace:
        """The space of its vectors."""
        return self._space

    @property
    def embeds_into(self) -> tuple[EmbedsInto, ...]:
        """None: a published network was measured against no other."""
        return ()

    @property
    def logit_scale(self) -> float | None:
        """What makes cosines of images and texts logits; None without a text encoder."""
        return self._texts.logit_scale if self._texts else None

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts, by the text encoder that came with the image encoder.

        Raises:
            EmbeddingError: there is none.
        """
        return super().embed_texts(texts) if self._texts is None else self._texts.embed(texts)

    def class_directions(self) -> ClassDirections | None:
        """The classes that its weights were trained on, where they came with a classifier."""
        found = published_classes(self._backbone.name)
        if found is None:
            return None
        names, rows = found
        return ClassDirections(names, rows, f"ImageNet-1k, {len(names):,} classes")
