"""A feature extractor, what is asked of it, and what the libraries' loaders share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from shopsight.backbones.stages import Stages
from shopsight.backbones.weights import load_state_dict_strict, read_weights, timm_filter
from shopsight.errors import ConfigError
from shopsight.preprocess import Preprocess


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        name: what rebuilds the architecture (never a path).
        module: float "b 3 s s" -> "b width".
        embedding_dim: numbers in an embedding.
        preprocess: what the weights were trained with.
        stages: parameter names, each in one stage, from input to output.
        weights: what was loaded, for the record.
    """

    name: str
    module: nn.Module
    embedding_dim: int
    preprocess: Preprocess
    stages: Stages
    weights: str


@dataclass(frozen=True)
class Request:
    """A name cut at its library, and the arguments of `create_backbone`."""

    library: str
    rest: str
    weights: str
    drop_path: float
    conv_dropout: float | None
    size: int | None

    @property
    def name(self) -> str:
        return f"{self.library}:{self.rest}"

    @property
    def file(self) -> str | None:
        """The weight file asked for, if any."""
        return None if self.weights in ("pretrained", "random") else self.weights


def check_known(name: str, known: Iterable[str], request: Request) -> None:
    """Raises:
    ConfigError: the library has no such name; with those that are like it.
    """
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise ConfigError(
            f"{request.library} has no {name!r}",
            where="model.backbone",
            details=[f"did you mean {request.library}:{other}?" for other in near],
        )


def no_drop_path(request: Request) -> ConfigError:
    return ConfigError(
        f"{request.name} has no stochastic depth (asked for {request.drop_path})",
        where="model.drop_path",
        fix="--set model.drop_path=0",
    )


def load_file(
    module: nn.Module, request: Request, *, classifier: tuple[str, ...] = (), within: str = ""
) -> str:
    """Load the weight file asked for, if one is; say what was loaded.

    Args:
        classifier: names of tensors in the file that the backbone does without.
        within: where the file holds more than this network, what its names start with.
    """
    if request.file is None:
        return "random"
    state = read_weights(request.file)
    if within and any(key.startswith(within) for key in state):
        state = {k.removeprefix(within): v for k, v in state.items() if k.startswith(within)}
    rename = timm_filter(module)
    if rename is not None and not set(module.state_dict()) <= set(state):
        state = rename(state, module)
    load_state_dict_strict(module, state, where=request.file, exclude=classifier)
    return f"file: {Path(request.file).name}"
