"""Feature extractors by name, each with the preprocessing that its weights expect.

A name belongs to its library: "timm:resnet18", "open_clip:ViT-B-32/laion2b_s34b_b79k",
"open_clip:hf-hub:ORG/NAME", "open_clip:local-dir:PATH",
"fastervit:faster_vit_2_224", "embedded:tf_efficientnet_lite0", "shopsight:fashion_cnn",
"local:RUN_OR_BUNDLE", "local:timm:resnet18@weights.safetensors".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from shopsight.backbones.fastervit import fastervit_backbone
from shopsight.backbones.necks import with_neck
from shopsight.backbones.open_clip import open_clip_backbone
from shopsight.backbones.own import embedded_backbone, shopsight_backbone
from shopsight.backbones.presets import PRESETS, backbone_of
from shopsight.backbones.spec import Backbone, Request, WithText
from shopsight.backbones.timm import timm_backbone
from shopsight.backbones.weights import (
    check_shapes,
    load_state_dict_strict,
    only_shapes,
    shapes_of,
)
from shopsight.bundle.format import INFO_FILE, WEIGHTS_FILE
from shopsight.bundle.read import bundle_folder, read_info, stored_tensors
from shopsight.errors import ConfigError, WeightsError
from shopsight.io.weights import read_weights
from shopsight.neck_settings import NO_NECK, NeckSettings
from shopsight.paths import is_file, is_folder
from shopsight.progress import use_listener


def create_backbone(
    name: str,
    *,
    weights: str = "pretrained",
    drop_path: float = 0.0,
    conv_dropout: float | None = None,
    size_px: int | None = None,
    with_text: WithText = False,
    neck: NeckSettings = NO_NECK,
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        name: "library:name", as above.
        weights: "pretrained", "random", or the path of a weight file.
        drop_path: Probability of stochastic depth, where the backbone has it.
        conv_dropout: Dropout after convolutions, of the `shopsight:` networks; None is their own,
            and 0 is right for every backbone.
        size_px: Side of the input; None keeps the backbone's own.
        with_text: The text encoder as well, where the published weights have one. "check" finds
            out whether it could be opened: its tokenizer is read, which may be a download.
        neck: What stands behind the network, with new weights. A run or a bundle brings its own.

    Raises:
        ConfigError: There is no such library or name, or the backbone does not have a setting.
        WeightsError: The weights cannot be downloaded, or do not fit.
        ExtraMissingError: The library is not installed.
    """
    library, _, rest = name.partition(":")
    if library not in LIBRARIES or not rest:
        raise ConfigError(
            f"{name!r} is not of the form library:name",
            where="model.backbone",
            details=[f"{known}:..." for known in LIBRARIES],
            fix=f"--backbone {backbone_of(name if name in PRESETS else 'embedded')}",
        )
    if conv_dropout and library not in ("shopsight", "local"):
        raise ConfigError(
            f"{name} has no dropout after its convolutions (requested: {conv_dropout})",
            where="model.conv_dropout",
            fix="--set model.conv_dropout=0",
        )
    backbone = LIBRARIES[library](
        Request(library, rest, weights, drop_path, conv_dropout, size_px, with_text, neck)
    )
    return with_neck(backbone, neck) if backbone.neck.is_none else backbone


def _local(request: Request) -> Backbone:
    """`local:FOLDER` (a run or a bundle) or `local:LIBRARY:NAME@FILE` (weights of that network)."""
    folder = Path(request.name)
    if is_folder(folder):
        return _from_bundle(bundle_folder(folder), request)
    name, at, file = request.name.partition("@")
    if at and name.partition(":")[0] in LIBRARIES:
        return create_backbone(
            name,
            weights=file if request.weights == "pretrained" else request.weights,
            drop_path=request.drop_path,
            conv_dropout=request.conv_dropout,
            size_px=request.size_px,
        )
    if is_file(folder):
        raise ConfigError(
            f"{request.name!r} is a weight file, which does not name its network",
            where="model.backbone",
            fix=f"local:timm:resnet18@{request.name}   (with the name of that network)",
        )
    raise ConfigError(
        f"{request.name!r} is neither a run nor a bundle nor of the form library:name@file",
        where="model.backbone",
        fix="local:runs/first\nlocal:timm:resnet18@weights.safetensors",
    )


def _from_bundle(folder: Path, request: Request) -> Backbone:
    file = folder / WEIGHTS_FILE
    if not ((folder / INFO_FILE).is_file() and file.is_file()):
        raise WeightsError(
            f"no {INFO_FILE} and {WEIGHTS_FILE} in it",
            where=str(folder),
            fix="local:runs/first",
        )
    info = read_info(folder)
    if info.members > 1:
        raise WeightsError(
            f"an ensemble of {info.members} networks cannot be used as a backbone",
            where=str(folder),
            fix="name the bundle of one fold",
        )
    if not request.neck.is_none and info.neck not in (NO_NECK, request.neck):
        raise ConfigError(
            f"it has a neck of its own, {info.neck.kind}",
            where=str(folder),
            fix="leave out [model.neck]",
        )
    size_px = request.size_px or info.preprocess.size_px
    new = partial(
        create_backbone,
        info.backbone,
        weights="random",
        drop_path=request.drop_path,
        conv_dropout=request.conv_dropout,
        size_px=size_px,
        neck=info.neck,
    )
    if request.weights == "random":
        return new()
    with only_shapes(), use_listener(None):
        wanted = shapes_of(new().module.state_dict())
    stored = stored_tensors(folder)
    found = {
        key.removeprefix("backbone."): tensor.shape
        for key, tensor in stored.items()
        if key.startswith("backbone.")
    }
    check_shapes(found, wanted, where=str(file))
    backbone = new()
    state = {
        key.removeprefix("backbone."): value
        for key, value in read_weights(file, unwrap=False).items()
        if key.startswith("backbone.")
    }
    load_state_dict_strict(backbone.module, state, where=str(file))
    preprocess = info.preprocess.model_copy(update={"size_px": size_px})
    # Most are called "model": the hash says which.
    weights = f"bundle: {folder.name}, sha256 {info.weights_sha256[:12]}"
    return replace(backbone, preprocess=preprocess, weights=weights)


LIBRARIES: dict[str, Callable[[Request], Backbone]] = {
    "embedded": embedded_backbone,
    "timm": timm_backbone,
    "open_clip": open_clip_backbone,
    "fastervit": fastervit_backbone,
    "shopsight": shopsight_backbone,
    "local": _local,
}
