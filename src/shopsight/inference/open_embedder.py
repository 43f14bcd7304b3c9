"""Open what turns images into vectors: a run, a bundle, or a backbone by name.

A search needs no training: a backbone with its published weights is an embedder already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor, nn

from shopsight.backbones.classifiers import published_classes
from shopsight.backbones.clip_sources import FOLDER
from shopsight.backbones.create import create_backbone
from shopsight.backbones.presets import backbone_of, near_presets
from shopsight.backbones.spec import Backbone
from shopsight.backbones.text_tower import bundled_tower
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import bundle_folder, read_tensors
from shopsight.devices import pick_device
from shopsight.errors import ConfigError, EmbeddingError, ImageError
from shopsight.inference.embedder import ClassDirections, Embedder
from shopsight.inference.engine import Engine, EnginePrecision, PrecisionChoice
from shopsight.inference.golden import make_golden
from shopsight.inference.image_runner import ImageRunner, OnError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.load import load
from shopsight.inference.open_network import check_own_framing
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.predictor import Embedding, Predictor
from shopsight.inference.reference_images import reference_images
from shopsight.inference.text_encoder import TextEncoder
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.models.build import space_of_backbone
from shopsight.models.product_model import ProductModel
from shopsight.paths import exists, full, is_folder
from shopsight.preprocess import Preprocess, Resize
from shopsight.progress import use_listener
from shopsight.read_options import ReadOptions
from shopsight.unit_vectors import have_direction, unit_vectors

DEFAULT_MODEL = "embedded:tf_efficientnet_lite0"
"""Its weights come with pip: it needs no network."""
IN_FOLDER = f"open_clip:{FOLDER}"


def open_embedder(
    model: str | Path | Embedder,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    resize: Resize | None = None,
) -> Embedder:
    """Open an embedder by the name that the user gave.

    Args:
        model: a run, a bundle, a preset (`shopsight.backbones.presets`), or a backbone by name
            (`shopsight.backbones.create`); an embedder is given back as it is.
        device: its name, see `shopsight.devices`.
        precision: "auto" is the fastest whose embeddings stay near those of fp32.
        resize: of a backbone, how an image becomes a square; None is how its library does it. What
            was trained keeps its own.

    Raises:
        BundleError: the bundle cannot be opened.
        ConfigError: there is no such backbone or preset, or `resize` is of a bundle.
        WeightsError: its weights cannot be downloaded.
        ExtraMissingError: its library is not installed.
    """
    if not isinstance(model, str | Path):
        return model
    name = str(model)
    if not is_folder(name):
        # An index keeps the backbone's name: a preset may be another one some day.
        name = backbone_of(name)
        _check_spelling(name)
    if is_folder(name) or ":" not in name:
        check_own_framing(resize)
        return _of_bundle(name, device=device, precision=precision)
    return _of_backbone(name, device=device, precision=precision, resize=resize)


def _check_spelling(name: str) -> None:
    near = [] if ":" in name or exists(name) else near_presets(name)
    if near:
        raise ConfigError(
            f"there is neither a run nor a bundle nor a preset {name!r}",
            details=[f"did you mean {preset}?" for preset in near],
            fix="shopsight backbones   (lists the presets)",
        )


def _of_bundle(name: str, *, device: str, precision: PrecisionChoice) -> Embedder:
    # Full: an index opens it again wherever it is searched from.
    return BundleEmbedder(full(name), load(name, device=device, precision=precision), device)


def _of_backbone(
    name: str, *, device: str, precision: PrecisionChoice, resize: Resize | None
) -> Embedder:
    if name.startswith(IN_FOLDER):
        name = IN_FOLDER + full(name.removeprefix(IN_FOLDER))
    backbone = create_backbone(name, with_text=True)
    preprocess = backbone.preprocess
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


class _ImageEmbedder:
    """What embedders share: unit vectors of an engine's embeddings."""

    def __init__(self, name: str, engine: Engine, preprocess: Preprocess) -> None:
        self._name = name
        self._engine = engine
        self._preprocess = preprocess
        self._runner = ImageRunner(engine, preprocess)

    @property
    def name(self) -> str:
        """What opens it again: the name that the user gave, of a preset its backbone's."""
        return self._name

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self._preprocess

    @property
    def precision(self) -> EnginePrecision:
        """Number format of its multiplications."""
        return self._engine.precision

    @property
    def engine_name(self) -> str:
        """For example "torch on cpu, bf16"."""
        return self._engine.name

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Unit vectors of images, in order; an image without a direction is an error of its own."""
        batches = self._runner.batches(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        )
        for batch, (found, _) in batches:
            usable = have_direction(found)
            vectors = iter(unit_vectors(found[usable]))
            has_direction = iter(usable.tolist())
            for image in batch:
                if image.error is not None:
                    yield Embedding(image.source, None, error=str(image.error))
                elif next(has_direction):
                    yield Embedding(image.source, next(vectors))
                else:
                    yield _without_direction(image.source, on_error)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Refuse: there is no text encoder.

        Raises:
            EmbeddingError: always.
        """
        raise EmbeddingError(
            f"{self._name} has no text encoder",
            fix='pip install "shopsight[words]"   (words without a text encoder)\n'
            "MODEL open_clip:PE-Core-B-16/meta   (has one)",
        )


def _without_direction(source: str, on_error: OnError) -> Embedding:
    error = ImageError("no embedding", "its embedding is not finite, or zero", where=source)
    if on_error == "raise":
        raise error
    return Embedding(source, None, error=str(error))


class BundleEmbedder(_ImageEmbedder):
    """The encoders of a run or a bundle.

    The text encoder is opened where a text is first embedded: most bundles have none.
    """

    def __init__(self, name: str, predictor: Predictor, device: str) -> None:
        super().__init__(name, predictor.engine, predictor.preprocess)
        self._info = predictor.info
        self._golden = predictor.golden
        self._device = device

    @cached_property
    def space(self) -> EmbeddingSpace:
        """The space of its vectors."""
        return self._info.space

    @property
    def embeds_into(self) -> tuple[EmbedsInto, ...]:
        """Other spaces that its vectors may be compared with."""
        return self._info.embeds_into

    @property
    def logit_scale(self) -> float | None:
        """What makes cosines of images and texts logits; None without a text encoder."""
        return self._info.text.logit_scale if self._info.text else None

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts, by the text encoder that the bundle holds.

        Raises:
            EmbeddingError: there is none.
            BundleError: its files are not those that were written.
        """
        return super().embed_texts(texts) if self._texts is None else self._texts.embed(texts)

    @cached_property
    def _texts(self) -> TextEncoder | None:
        if self._golden is None:
            return None
        tower = bundled_tower(Bundle(self._info, self._golden, {}, bundle_folder(self._name)))
        if tower is None:
            return None
        return TextEncoder(tower, pick_device(self._device))

    def class_directions(self) -> ClassDirections | None:
        """The rows of a linear head; None of any other head and of an ensemble."""
        info = self._info
        if info.head.kind != "linear" or info.members > 1:
            return None
        rows = read_tensors(bundle_folder(self._name))["head.classifier.weight"]
        return ClassDirections(info.labels, rows.astype(np.float32), f"{len(info.labels)} labels")


class BackboneEmbedder(_ImageEmbedder):
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
