"""Open what turns images into vectors: a run, a bundle, or a backbone by name.

A search needs no training: a backbone with its published weights is an embedder already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from shopsight.backbones.presets import backbone_of, near_presets
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.bundle.format import Bundle
from shopsight.bundle.hub_bundle import pinned
from shopsight.bundle.read import bundle_folder, read_tensors
from shopsight.errors import ConfigError, ExtraMissingError
from shopsight.extras import is_installed
from shopsight.inference.embedder import ClassDirections, Embedder
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.exported_engines import rounding_of
from shopsight.inference.exported_text_encoder import ExportedTextEncoder, open_exported_text
from shopsight.inference.image_embedder import ImageEmbedder
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.io.hub import names_hub, parse_hub_name
from shopsight.paths import exists, full, is_folder
from shopsight.preprocess import Resize

if TYPE_CHECKING:
    from shopsight.inference.text_encoder import TextEncoder

DEFAULT_MODEL = "embedded:tf_efficientnet_lite0"
"""Its weights come with pip: it needs no network."""


def open_embedder(
    model: str | Path | Embedder,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    resize: Resize | None = None,
    boxes: bool = False,
) -> Embedder:
    """Open an embedder by the name that the user gave.

    Args:
        model: a run, a bundle, one on the Hub (`hf:OWNER/NAME`), a preset
            (`shopsight.backbones.presets`), or a backbone by name (`shopsight.backbones.create`);
            an embedder is given back as it is.
        device: its name, see `shopsight.devices`.
        precision: "auto" is the fastest whose embeddings stay near those of fp32.
        resize: of a backbone, how an image becomes a square; None is how its library does it. What
            was trained keeps its own.
        boxes: of a backbone, look at the part of each image in its box.

    Raises:
        BundleError: the bundle cannot be opened.
        ConfigError: there is no such backbone or preset; or `resize` is of a bundle, or `boxes` of
            one that was trained on whole images.
        WeightsError: its weights cannot be downloaded.
        ExtraMissingError: its library is not installed.
    """
    if not isinstance(model, str | Path):
        return model
    name = str(model)
    trained = is_folder(name) or names_hub(name)
    if not trained:
        # An index keeps the backbone's name: a preset may be another one some day.
        name = backbone_of(name)
        _check_spelling(name)
    if trained or is_folder(name) or ":" not in name:
        check_own_framing(resize)
        return _of_bundle(name, device=device, precision=precision, boxes=boxes)
    # Only here is torch needed.
    from shopsight.inference.backbone_embedder import open_backbone

    return open_backbone(name, device=device, precision=precision, resize=resize, boxes=boxes)


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


def _check_spelling(name: str) -> None:
    near = [] if ":" in name or exists(name) else near_presets(name)
    if near:
        raise ConfigError(
            f"there is neither a run nor a bundle nor a preset {name!r}",
            details=[f"did you mean {preset}?" for preset in near],
            fix="shopsight backbones   (lists the presets)",
        )


def _of_bundle(name: str, *, device: str, precision: PrecisionChoice, boxes: bool) -> Embedder:
    opened = load(name, device=device, precision=precision)
    if boxes and not opened.preprocess.boxes:
        raise ConfigError(
            "the model was trained on whole images, and boxes are to be looked at",
            where=name,
            fix="shopsight train DATA --set framing.boxes=true   (trains one on boxes)",
        )
    # Full, and for ever: an index opens it again wherever and whenever it is searched from.
    known = pinned(parse_hub_name(name), bundle_folder(name)) if names_hub(name) else full(name)
    return BundleEmbedder(str(known), opened, device)


class BundleEmbedder(ImageEmbedder):
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
        """The space of its vectors: that of the weights, and of eight bits one of its own."""
        space = self._info.space
        return space.model_copy(update={"rounded": "int8"}) if self.precision == "int8" else space

    @cached_property
    def embeds_into(self) -> tuple[EmbedsInto, ...]:
        """Spaces that its vectors may be compared with: what the bundle and its export measured."""
        rounding = rounding_of(bundle_folder(self._name), self._info, self._engine)
        return self._info.embeds_into if rounding is None else (rounding, *self._info.embeds_into)

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
    def _texts(self) -> TextEncoder | ExportedTextEncoder | None:
        if self._golden is None or self._info.text is None:
            return None
        bundle = Bundle(self._info, self._golden, {}, bundle_folder(self._name))
        if self._device in ("auto", "cpu") and not _has_gpu(self._device):
            exported = open_exported_text(bundle)
            if exported is not None:
                return exported
        if not (is_installed("torch") and is_installed("open_clip")):
            raise ExtraMissingError(
                f"the text encoder of {bundle.folder} was not exported, and torch and open_clip "
                "are not installed",
                fix=f"shopsight export {bundle.folder}   (where they are)\n"
                'pip install "shopsight[clip]"',
            )
        from shopsight.backbones.text_tower import bundled_tower
        from shopsight.devices import pick_device
        from shopsight.inference.text_encoder import TextEncoder

        tower = bundled_tower(bundle)
        return None if tower is None else TextEncoder(tower, pick_device(self._device))

    def class_directions(self) -> ClassDirections | None:
        """The rows of a linear head; None of any other head and of an ensemble."""
        info = self._info
        if info.head.kind != "linear" or info.members > 1:
            return None
        rows = read_tensors(bundle_folder(self._name))["head.classifier.weight"]
        return ClassDirections(info.labels, rows.astype(np.float32), f"{len(info.labels)} labels")


def _has_gpu(device: str) -> bool:
    """Whether torch would compute on one."""
    if not is_installed("torch"):
        return False
    from shopsight.devices import pick_device

    return pick_device(device).type != "cpu"
