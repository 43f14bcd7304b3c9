"""A trained model as a folder that needs nothing else: no pickle, no network, no training code.

    model.safetensors   weights; names start with "backbone." and "head."
    model.json          `BundleInfo`: everything needed to rebuild the network and read its outputs
    golden.npz          `Golden`: a few image files, as bytes, with the outputs they must give
    metrics.json        how good the model is, and on what
    README.md           the model card
    text.safetensors    where the model has a text encoder: its weights,
    tokenizer.json      and its tokenizer, see `shopsight.bundle.text_info`
    attributes.safetensors   where it predicts attributes, their heads: `bundle.attribute_info`
    unknown.safetensors   where it may answer "unknown": `bundle.unknown_info`

`shopsight.bundle.write` writes the folder, `shopsight.bundle.read` reads and checks it,
`shopsight.models.build` makes a torch network of it. Nothing in this package imports torch, so
that any engine can open a bundle.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shopsight.bundle.attribute_info import AttributePart, AttributesInfo
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.bundle.product_calibration import ProductCalibration
from shopsight.bundle.text_info import TextInfo
from shopsight.bundle.unknown_info import UnknownInfo, UnknownPart
from shopsight.extras import installed_version
from shopsight.head_settings import HeadSettings
from shopsight.neck_settings import NeckSettings
from shopsight.preprocess import Preprocess

BUNDLE_FOLDER = "model"
"""The folder of a bundle in its run."""
INFO_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
GOLDEN_FILE = "golden.npz"
METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"

FORMAT_VERSION = 3
"""Raised whenever an older shopsight could not read the folder, or this one an older folder."""
OLDEST_VERSION = 2
"""The oldest format that is read: 2 has no text encoder and declares no other space."""

MOST_MEMBERS = 50
"""Networks in an ensemble: as many as there may be folds."""
MOST_LABELS = 1_000_000
LONGEST_LABEL = 4096
"""Characters."""
MOST_GOLDEN_IMAGES = 64
MOST_SPACES = 20
"""Other spaces that a model may embed into."""

Line = Annotated[str, Field(max_length=1000)]
"""A name, a title, a version."""
Label = Annotated[str, Field(max_length=LONGEST_LABEL)]
Chance = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
# A library and a name that it knows. Names that lead to a folder, to a file or to a hub have a
# colon of their own (`timm:hf-hub:...`), or are those of `local:`.
_BACKBONE = re.compile(r"(?!local:)[a-z][a-z0-9_]*:[\w.+-]+(/[\w.+-]+)?", re.ASCII)

# What computes the outputs, or decodes the images that they are computed from.
_LIBRARIES = ("shopsight", "torch", "timm", "simplejpeg", "cykooz-resizer", "pillow", "numpy")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the installed libraries that the outputs depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        if (version := installed_version(name)) is not None:
            found[name] = version
    return found


class BundleInfo(BaseModel):
    """Everything about a model that is not its weights; the content of model.json.

    Others may have written it: every value has its limits, and names nothing outside the folder.

    Attributes:
        format_version: Version of the folder's format, see `FORMAT_VERSION`.
        backbone: Name that rebuilds the architecture, see `shopsight.backbones.create`.
        weights: What the backbone's training started from.
        head: Kind and sizes of the head.
        neck: What stands behind the backbone; its output is the embedding.
        labels: Class names in the order of the logits, each once.
        multilabel: An image may have several labels: sigmoid instead of softmax.
        preprocess: How an image becomes the network's input.
        embedding_dim: Numbers in an embedding, of all members together.
        members: Networks that answer as one; their embeddings are concatenated.
        temperature: Logits are divided by it before they become probabilities.
        doubt: Probability that is taken from the network's answer and given to all labels alike,
            see `shopsight.metrics.temperature.doubt_after`; 0 where nothing was fitted.
        thresholds: Per label, the probability from which it is assigned (multilabel only);
            0.5 for labels that are not listed.
        by_product: How answers for several photos of one product are read; None where nothing was
            fitted on products.
        tta_hflip: The embedding is the mean over the image and its mirror image.
        recipe: Title of the recipe.
        catalog: Name of the catalog that the model was trained on.
        catalog_fingerprint: Hash of that catalog's rows.
        synthetic: The images of the catalog were rendered by a program, not photographed.
        created: Time of writing, UTC, ISO 8601.
        versions: Versions of the libraries, see `library_versions`.
        weights_sha256: Hash of the file model.safetensors. Filled in by `write_bundle`.
        backbone_sha256: Hash of the backbone's tensors alone, see
            `shopsight.bundle.fingerprint.tensors_sha256`. Filled in by `write_bundle`.
        text: The text encoder whose vectors lie among the images'; None where there is none.
        embeds_into: Other spaces that the embeddings may be compared with.
        attributes: Columns that are predicted beside the label; None where there are none.
        unknown: When it answers "unknown"; None where it always gives a label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    backbone: Line
    weights: Label
    head: HeadSettings = HeadSettings()
    neck: NeckSettings = NeckSettings()
    labels: tuple[Label, ...] = Field(min_length=1, max_length=MOST_LABELS)
    multilabel: bool = False
    preprocess: Preprocess
    embedding_dim: int = Field(ge=1, le=10_000_000)
    members: int = Field(default=1, ge=1, le=MOST_MEMBERS)
    temperature: float = Field(default=1.0, gt=0.0, le=1e6, allow_inf_nan=False)
    doubt: float = Field(default=0.0, ge=0.0, lt=1.0, allow_inf_nan=False)
    thresholds: dict[Label, Chance] = Field(default={}, max_length=MOST_LABELS)
    by_product: ProductCalibration | None = None
    tta_hflip: bool = False
    recipe: Label = ""
    catalog: Label = ""
    catalog_fingerprint: Line = ""
    synthetic: bool = False
    created: Line = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[Line, Line] = Field(default_factory=library_versions, max_length=100)
    weights_sha256: Line = ""
    backbone_sha256: Line = ""
    text: TextInfo | None = None
    embeds_into: tuple[EmbedsInto, ...] = Field(default=(), max_length=MOST_SPACES)
    attributes: AttributesInfo | None = None
    unknown: UnknownInfo | None = None

    @property
    def space(self) -> EmbeddingSpace:
        """The space of its embeddings, once it is written."""
        return EmbeddingSpace(
            backbone=self.backbone,
            backbone_sha256=self.backbone_sha256,
            text_encoder=self.text.name if self.text else "",
            text_sha256=self.text.text_sha256 if self.text else "",
            preprocess=self.preprocess,
            embedding_dim=self.embedding_dim,
            members=self.members,
            tta_hflip=self.tta_hflip,
        )

    @field_validator("backbone")
    @classmethod
    def _names_an_architecture(cls, backbone: str) -> str:
        if not _BACKBONE.fullmatch(backbone):
            raise ValueError("is not of the form library:name, of a library's own networks")
        return backbone

    @model_validator(mode="after")
    def _check_labels(self) -> BundleInfo:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: a label occurs twice")
        unknown = set(self.thresholds) - set(self.labels)
        if unknown:
            raise ValueError(f"thresholds: no such labels: {sorted(unknown)[:5]}")
        if self.embedding_dim % self.members:
            raise ValueError("embedding_dim: not a multiple of the number of members")
        for head in self.attributes.heads if self.attributes is not None else ():
            if unknown := set(head.labels or ()) - set(self.labels):
                raise ValueError(f"attributes: {head.name}: no such labels: {sorted(unknown)[:5]}")
        if self.unknown is not None and self.multilabel:
            raise ValueError("unknown: its images may have several labels")
        if self.text is not None and self.text.network.embed_dim != self.embedding_dim:
            raise ValueError("text: its embeddings have another width than those of images")
        return self


@dataclass(frozen=True, eq=False)
class Golden:
    """A few image files and the outputs that the model gave for them, in fp32 on a CPU.

    Attributes:
        images: Bytes of each file.
        logits: One row per file.
        embeddings: One row per file.
        texts: Embeddings of `shopsight.bundle.tokenizer.SAMPLE_TEXTS`, a row each; None without a
            text encoder.
        attributes: Logits of all attributes side by side, one row per file; None without any.
    """

    images: tuple[bytes, ...]
    logits: Float32[np.ndarray, "n c"]
    embeddings: Float32[np.ndarray, "n w"]
    texts: Float32[np.ndarray, "k w"] | None = None
    attributes: Float32[np.ndarray, "n a"] | None = None


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose files were read and checked; the weights stay in their file.

    Attributes:
        info: Content of model.json.
        golden: Content of golden.npz.
        metrics: Content of metrics.json; empty when there is no such file.
        folder: Where the files are.
        attributes: The heads of its attributes; None where it has none.
        unknown: What says when it answers "unknown"; None where it always gives a label.
    """

    info: BundleInfo
    golden: Golden
    metrics: dict[str, Any]
    folder: Path
    attributes: AttributePart | None = None
    unknown: UnknownPart | None = None
