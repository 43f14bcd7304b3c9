"""A feature extractor, the request for one, and what the libraries' loaders share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import nn

from shopsight.backbones.stages import Stages
from shopsight.backbones.weights import load_state_dict_strict, timm_filter
from shopsight.errors import ConfigError
from shopsight.io.weights import read_weights
from shopsight.neck_settings import NO_NECK, NeckSettings
from shopsight.preprocess import Preprocess

if TYPE_CHECKING:
    from shopsight.backbones.text_tower import TextTower


WithText = bool | Literal["check"]


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        name: Name that rebuilds the architecture; never a path.
        module: The network, from float "b 3 s s" to "b embedding_dim".
        embedding_dim: Numbers in an embedding.
        preprocess: What the weights were trained with.
        stages: Parameter names, each in one stage, from input to output.
        weights: What was loaded, for the record.
        text: The text encoder of the same space, where there is one and it was asked for.
        has_text: Whether the weights were published with a text encoder.
        rebuilds: Whether the name is enough to build the network again, as a bundle must.
        neck: What stands behind the named network, as a part of `module`.
    """

    name: str
    module: nn.Module
    embedding_dim: int
    preprocess: Preprocess
    stages: Stages
    weights: str
    text: TextTower | None = None
    has_text: bool = False
    rebuilds: bool = True
    neck: NeckSettings = NO_NECK


@dataclass(frozen=True)
class Request:
    """The arguments of `create_backbone`, with the name split at its library.

    Attributes:
        library: For example "timm".
        name: Within the library, for example "resnet18.tv_in1k".
        weights: "pretrained", "random", or the path of a weight file.
        drop_path: Probability of stochastic depth.
        conv_dropout: Dropout after convolutions; None is the network's own.
        size_px: Side of the input; None is the network's own.
        with_text: The text encoder too, where there is one; "check" opens its tokenizer alone.
        neck: What a network of a bundle gets behind it; `create_backbone` adds those of others.
    """

    library: str
    name: str
    weights: str
    drop_path: float
    conv_dropout: float | None
    size_px: int | None
    with_text: WithText = False
    neck: NeckSettings = NO_NECK

    @property
    def full_name(self) -> str:
        """The name with its library, as `create_backbone` takes it."""
        return f"{self.library}:{self.name}"

    @property
    def file(self) -> str | None:
        """The weight file asked for, if any."""
        return None if self.weights in ("pretrained", "random") else self.weights


def check_known(name: str, known: Iterable[str], request: Request) -> None:
    """Refuse a name that the library does not have.

    Raises:
        ConfigError: It is not among `known`; similar names are listed.
    """
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise ConfigError(
            f"{request.library} has no {name!r}",
            where="model.backbone",
            details=[f"did you mean {request.library}:{other}?" for other in near],
        )


def check_rebuilds(backbone: Backbone, name: str) -> None:
    """Refuse a backbone that a bundle could not build again from its name.

    Args:
        backbone: as it was built.
        name: what the user called it.

    Raises:
        ConfigError: its name is not enough.
    """
    if not backbone.rebuilds:
        raise ConfigError(
            f"{name} cannot be trained or bundled: no image encoder of open_clip's list has its "
            "configuration, and a bundle is built again from a name of that list",
            where="model.backbone",
            fix="--backbone open_clip:ViT-B-16-SigLIP/webli   (or another one of that list)\n"
            f"shopsight index build {name} DATA   (searching needs no bundle)",
        )


def no_drop_path(request: Request) -> ConfigError:
    """The error for stochastic depth in a network without it."""
    return ConfigError(
        f"{request.full_name} has no stochastic depth (requested: {request.drop_path})",
        where="model.drop_path",
        fix="--set model.drop_path=0",
    )


def load_weight_file(
    module: nn.Module, request: Request, *, classifier: tuple[str, ...] = (), prefix: str = ""
) -> str:
    """Load the weight file that the request names, if it names one.

    Args:
        module: The network; changed in place.
        request: Names the file, or none.
        classifier: Names of the classifier's tensors, which the backbone does not have.
        prefix: Start of this network's names in a file that holds more than this network.

    Returns:
        What was loaded, for `Backbone.weights`.

    Raises:
        WeightsError: The file cannot be read or does not fit.
    """
    if request.file is None:
        return "random"
    state = read_weights(request.file)
    if prefix and any(key.startswith(prefix) for key in state):
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    rename = timm_filter(module)
    if rename is not None and not set(module.state_dict()) <= set(state):
        state = rename(state, module)
    load_state_dict_strict(module, state, where=request.file, exclude=classifier)
    return f"file: {Path(request.file).name}"
