"""A trained model as a folder that needs nothing else: no pickle, no network, no training code.

    model.safetensors   weights, names starting with "backbone." and "head."
    model.json          `BundleInfo`: everything needed to rebuild and to read the outputs
    golden.npz          a few files' bytes with the outputs that they must give
    metrics.json        how good it was, on what
    README.md           the model card

The folder is written beside its place and renamed, and checked when it is read.
"""

from __future__ import annotations

import io
import platform
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.weights import load_state_dict_strict, read_weights
from shopsight.bundle.files import (
    CARD_FILE,
    GOLDEN_FILE,
    INFO_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
)
from shopsight.errors import BundleError, WeightsError
from shopsight.files import atomic_folder, read_json, sha256_file, write_json, write_text
from shopsight.head_settings import HeadSettings
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess

FORMAT_VERSION = 1


def library_versions() -> dict[str, str]:
    """Versions of what computes the outputs."""
    names = ("shopsight", "torch", "timm", "simplejpeg", "pillow", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


class BundleInfo(BaseModel):
    """Everything about a model that is not its weights.

    Attributes:
        backbone: the name that rebuilds it, see `shopsight.backbones.create`.
        weights: what the backbone started from.
        labels: in the order of the logits.
        multilabel: an image may have several labels: sigmoid instead of softmax.
        temperature: logits are divided by it before probabilities are made.
        thresholds: per label, the probability from which it is assigned (several labels only);
            labels without one have 0.5.
        members: networks that answer as one; their embeddings lie side by side.
        tta_hflip: outputs are of the mean embedding of the image and its mirror image.
        catalog_fingerprint, catalog, drawn: what it was trained on, and whether that was drawn.
        weights_sha256: of model.safetensors; filled in when the bundle is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    backbone: str
    weights: str
    head: HeadSettings = HeadSettings()
    labels: tuple[str, ...] = Field(min_length=1)
    multilabel: bool = False
    preprocess: Preprocess
    embedding_dim: int = Field(ge=1)
    members: int = Field(default=1, ge=1)
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    thresholds: dict[str, float] = {}
    tta_hflip: bool = False
    recipe: str = ""
    catalog: str = ""
    catalog_fingerprint: str = ""
    synthetic: bool = False
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    versions: dict[str, str] = Field(default_factory=library_versions)
    weights_sha256: str = ""

    @model_validator(mode="after")
    def _check_labels(self) -> BundleInfo:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: a label is there twice")
        unknown = set(self.thresholds) - set(self.labels)
        if unknown:
            raise ValueError(f"thresholds: no such labels: {sorted(unknown)[:5]}")
        if self.embedding_dim % self.members:
            raise ValueError("embedding_dim: not a multiple of the number of members")
        return self


@dataclass(frozen=True, eq=False)
class Golden:
    """A few files, and what the model gave for them in fp32 on a CPU.

    Attributes:
        images: the files' bytes.
    """

    images: tuple[bytes, ...]
    logits: Float32[np.ndarray, "n c"]
    embeddings: Float32[np.ndarray, "n w"]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and is whole."""

    info: BundleInfo
    golden: Golden
    metrics: dict[str, Any]
    folder: Path


def write_bundle(
    folder: Path | str,
    *,
    model: ProductModel,
    info: BundleInfo,
    golden: Golden,
    metrics: Mapping[str, Any],
    card: str,
) -> Bundle:
    """Write a bundle, replacing one that is there; a reader never sees half of it.

    Args:
        card: Markdown for README.md.

    Raises:
        BundleError: labels, width or golden outputs do not fit the model.
    """
    classes = len(info.labels)
    shapes = (golden.logits.shape[1:], golden.embeddings.shape[1:])
    if not golden.images or shapes != ((classes,), (info.embedding_dim,)):
        raise BundleError(
            f"golden outputs of shape {shapes} for {classes} labels and embeddings of "
            f"{info.embedding_dim} numbers",
            where=str(folder),
        )
    with atomic_folder(folder) as part:
        # Each tensor on its own, in plain order: training may have shared or permuted them.
        tensors = {
            name: value.detach().cpu().contiguous().clone()
            for name, value in model.state_dict().items()
        }
        safetensors.torch.save_file(tensors, part / WEIGHTS_FILE, metadata={"format": "pt"})
        info = info.model_copy(update={"weights_sha256": sha256_file(part / WEIGHTS_FILE)})
        write_json(part / INFO_FILE, info.model_dump(mode="json"))
        # safetensors lets only the owner read; a bundle is as public as its other files.
        shutil.copymode(part / INFO_FILE, part / WEIGHTS_FILE)
        (part / GOLDEN_FILE).write_bytes(_golden_bytes(golden))
        write_json(part / METRICS_FILE, dict(metrics))
        write_text(part / CARD_FILE, card)
    return Bundle(info, golden, dict(metrics), Path(folder))


def rewrite_info(folder: Path | str, info: BundleInfo) -> None:
    """Replace model.json alone: a new temperature, thresholds, ...

    Raises:
        BundleError: the weights are not those that `info` describes.
    """
    if info.weights_sha256 != sha256_file(Path(folder) / WEIGHTS_FILE):
        raise BundleError("these are the facts of other weights", where=str(folder))
    write_json(Path(folder) / INFO_FILE, info.model_dump(mode="json"))


def read_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check that it is whole: files, version, hash, labels.

    Raises:
        BundleError: it is incomplete, changed, or of a version that this shopsight cannot read.
    """
    folder = Path(folder)
    missing = [
        name for name in (INFO_FILE, WEIGHTS_FILE, GOLDEN_FILE) if not (folder / name).is_file()
    ]
    if missing:
        raise BundleError(
            f"not a model bundle: no {', '.join(missing)}" if folder.is_dir() else "no such folder",
            where=str(folder),
            fix="name the folder `model` of a run",
        )
    info = _read_info(folder / INFO_FILE)
    found = sha256_file(folder / WEIGHTS_FILE)
    if found != info.weights_sha256:
        raise BundleError(
            f"the weights changed: sha256 {found[:12]}..., {info.weights_sha256[:12]}... written",
            where=str(folder / WEIGHTS_FILE),
            fix="copy the bundle again from where it was made",
        )
    golden = _read_golden(folder / GOLDEN_FILE)
    if golden.logits.shape[1] != len(info.labels):
        raise BundleError(
            f"{len(info.labels)} labels for {golden.logits.shape[1]} logits",
            where=str(folder / INFO_FILE),
        )
    metrics = folder / METRICS_FILE
    return Bundle(info, golden, read_json(metrics) if metrics.is_file() else {}, folder)


def build_model(bundle: Bundle) -> ProductModel:
    """The network with its trained weights, in eval mode, on the CPU. No network is reached.

    Raises:
        BundleError: the weights do not fit the network that model.json names.
    """
    info = bundle.info
    parts = [_empty_parts(info) for _ in range(info.members)]
    backbone, head = parts[0]
    if info.members > 1:
        backbone = EnsembleBackbone([part[0] for part in parts])
        head = EnsembleHead([part[1] for part in parts], multilabel=info.multilabel)
    model = ProductModel(backbone, head, info.preprocess, tta_hflip=info.tta_hflip)
    file = bundle.folder / WEIGHTS_FILE
    try:
        load_state_dict_strict(model, read_weights(file, unwrap=False), where=str(file))
    except WeightsError as error:
        raise BundleError(
            f"the weights do not fit {info.backbone} with {len(info.labels)} labels",
            where=str(file),
            details=error.details,
            fix="the bundle was made with timm "
            f"{info.versions.get('timm', '?')}: install that version, or copy the bundle again",
        ) from error
    return model.eval()


def _empty_parts(info: BundleInfo) -> tuple[nn.Module, nn.Module]:
    """Backbone and head of one member, weights not loaded."""
    backbone = create_backbone(info.backbone, weights="random", size=info.preprocess.size_px)
    head = create_head(
        info.head,
        embedding_dim=info.embedding_dim // info.members,
        classes=len(info.labels),
    )
    return backbone.module, head


def _read_info(path: Path) -> BundleInfo:
    try:
        written = read_json(path)
        format_version = written["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError("not a description of a model", where=str(path)) from error
    if format_version != FORMAT_VERSION:
        raise BundleError(
            f"bundle format {format_version!r}; this shopsight reads {FORMAT_VERSION}",
            where=str(path),
            fix="pip install --upgrade shopsight",
        )
    try:
        return BundleInfo.model_validate(written)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()]
        raise BundleError(
            "not a description of a model", where=str(path), details=problems
        ) from error


def _golden_bytes(golden: Golden) -> bytes:
    arrays: dict[str, Any] = {
        f"image_{number:03d}": np.frombuffer(data, np.uint8)
        for number, data in enumerate(golden.images)
    }
    file = io.BytesIO()
    np.savez(file, logits=golden.logits, embeddings=golden.embeddings, **arrays)
    return file.getvalue()


def _read_golden(path: Path) -> Golden:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = sorted(name for name in arrays.files if name.startswith("image_"))
            return Golden(
                tuple(arrays[name].tobytes() for name in names),
                arrays["logits"].astype(np.float32),
                arrays["embeddings"].astype(np.float32),
            )
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"cannot be read: {error}", where=str(path)) from error
