"""Feature extractors by name, each with the preprocessing that its weights expect.

A name belongs to its library: "timm:resnet18", "open_clip:ViT-B-32/laion2b_s34b_b79k",
"fastervit:faster_vit_2_224", "embedded:tf_efficientnet_lite0", "shopsight:fashion_cnn",
"local:RUN_OR_BUNDLE", "local:timm:resnet18@weights.safetensors".
"""

from __future__ import annotations

import difflib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
from torch import nn

from shopsight.errors import ConfigError, WeightsError
from shopsight.extras import require
from shopsight.files import read_json
from shopsight.hub import hub_cache, without_vain_retries
from shopsight.models.fashion_cnn import FashionCnn
from shopsight.models.fashion_net import FashionNet
from shopsight.models.lite import LITE, load_lite
from shopsight.models.published import clip_preprocess, timm_preprocess
from shopsight.models.stages import Stages, stages_of
from shopsight.models.weights import (
    StateDict,
    first_line,
    fit_weights,
    offline_error,
    read_weights,
    timm_filter,
    torch_cache,
    unreachable,
)
from shopsight.preprocess import Preprocess
from shopsight.progress import say


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        name: what rebuilds the architecture (never a path).
        module: float "b 3 s s" -> "b width".
        width: numbers in an embedding.
        preprocess: what the weights were trained with.
        stages: parameter names, each in one stage, from input to output.
        weights: what was loaded, for the record.
    """

    name: str
    module: nn.Module
    width: int
    preprocess: Preprocess
    stages: Stages
    weights: str


@dataclass(frozen=True)
class _Request:
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


def create_backbone(
    name: str,
    *,
    weights: str = "pretrained",
    drop_path: float = 0.0,
    conv_dropout: float | None = None,
    size: int | None = None,
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        weights: "pretrained", "random", or the path of a weight file.
        drop_path: stochastic depth, where the backbone has it.
        conv_dropout: dropout after convolutions, of the `shopsight:` networks; None is their own,
            and 0 is right for every backbone.
        size: side of the input, pixels; None keeps the backbone's own.

    Raises:
        ConfigError: no such library or name, or a setting that this backbone does not have.
        WeightsError: the weights are out of reach, or do not fit.
        ExtraMissingError: the library is not installed.
    """
    library, _, rest = name.partition(":")
    if library not in _LIBRARIES or not rest:
        raise ConfigError(
            f"{name!r} is not of the form library:name",
            where="model.backbone",
            details=[f"{known}:..." for known in _LIBRARIES],
            fix="--backbone embedded:tf_efficientnet_lite0",
        )
    if conv_dropout and library not in ("shopsight", "local"):
        raise ConfigError(
            f"{name} has no dropout after its convolutions (asked for {conv_dropout})",
            where="model.conv_dropout",
            fix="--set model.conv_dropout=0",
        )
    return _LIBRARIES[library](_Request(library, rest, weights, drop_path, conv_dropout, size))


def _timm(request: _Request) -> Backbone:
    name = request.rest
    architecture, _, tag = name.partition(".")
    _check_known(architecture, timm.list_models(), request)
    if tag:
        with_tags = timm.list_models(f"{architecture}.*", include_tags=True)
        if name not in with_tags:
            raise _no_tag(request, with_tags)
    if request.weights == "pretrained":
        try:
            with without_vain_retries():
                module = _timm_module(request, pretrained=True)
        except Exception as error:
            wanted = timm.get_pretrained_cfg(name)
            hub = wanted and wanted.hf_hub_id
            source = wanted and (hub or wanted.url)
            if not source:
                raise WeightsError(
                    f"nobody has published weights for {request.name}",
                    fix="add a tag (timm.list_pretrained() lists them), or set model.weights",
                ) from error
            if unreachable(error):
                folder = hub_cache() if hub else torch_cache()
                raise offline_error(request.name, str(source), folder, error) from error
            raise
        loaded = f"pretrained: {module.pretrained_cfg.get('hf_hub_id') or name}"
    else:
        module = _timm_module(request, pretrained=False)
        loaded = _load_file(module, request, classifier=_classifier_of(module))
    preprocess = timm_preprocess(module.pretrained_cfg, size=request.size)
    width = getattr(module, "head_hidden_size", None) or module.num_features
    return Backbone(request.name, module, width, preprocess, stages_of(module), loaded)


def _no_tag(request: _Request, known: list[str]) -> ConfigError:
    """Weights that nobody published by this name; `known` are the names of those that are."""
    architecture, _, tag = request.rest.partition(".")
    near = difflib.get_close_matches(
        tag, [name.partition(".")[2] for name in known], n=1, cutoff=0.4
    )
    meant = f"{architecture}.{near[0]}" if near else (known or [architecture])[0]
    return ConfigError(
        f"timm has no {request.rest!r}" + (f"; did you mean timm:{meant}?" if near else ""),
        where="model.backbone",
        details=[f"timm:{name}" for name in known],
        fix=f"--backbone timm:{meant}",
    )


def _timm_module(request: _Request, *, pretrained: bool) -> Any:
    options: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(request.rest.partition(".")[0])
    if request.drop_path:
        options["drop_path_rate"] = request.drop_path
    if config and config.fixed_input_size:
        # Position embeddings that stretch with the input let training change the size on its way.
        options["dynamic_img_size"] = True
        if request.size is not None:
            options["img_size"] = request.size
    while True:
        try:
            return timm.create_model(request.rest, pretrained=pretrained, num_classes=0, **options)
        except TypeError as error:
            if "dynamic_img_size" in str(error) and options.pop("dynamic_img_size", False):
                continue
            if "drop_path_rate" in str(error):
                raise _no_drop_path(request) from error
            raise
        except AssertionError as error:
            if request.size is None:
                raise
            raise ConfigError(
                f"{request.name} does not take pictures of {request.size} px",
                where="preprocess.size",
                details=[first_line(error)],
                fix="--set preprocess.size=auto",
            ) from error


def _no_drop_path(request: _Request) -> ConfigError:
    return ConfigError(
        f"{request.name} has no stochastic depth (asked for {request.drop_path})",
        where="model.drop_path",
        fix="--set model.drop_path=0",
    )


def _classifier_of(module: Any) -> tuple[str, ...]:
    names = module.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _embedded(request: _Request) -> Backbone:
    _check_known(request.rest, LITE, request)
    size, crop_fraction = LITE[request.rest]
    # timm's `efficientnet_lite*` accept these weights too and compute something else (other
    # padding and BatchNorm epsilon): only the `tf_` ones are the published network.
    module: Any = timm.create_model(
        request.rest, pretrained=False, num_classes=0, drop_path_rate=request.drop_path
    )
    if request.weights == "pretrained":
        loaded = f"pretrained: {load_lite(module, request.rest)} (ImageNet-1k)"
    else:
        loaded = _load_file(module, request, classifier=("classifier",))
    preprocess = Preprocess(
        size=request.size or size,
        crop_fraction=crop_fraction,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    return Backbone(
        request.name, module, module.num_features, preprocess, stages_of(module), loaded
    )


def _open_clip(request: _Request) -> Backbone:
    open_clip = require("open_clip")
    architecture, _, tag = request.rest.partition("/")
    _check_known(architecture, open_clip.list_models(), request)
    if request.drop_path:
        raise _no_drop_path(request)
    published: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    pretrained = request.weights == "pretrained"
    if (pretrained or tag) and not published:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise ConfigError(
            f"no weights {tag!r} of {architecture}" if tag else f"which weights of {architecture}?",
            where="model.backbone",
            details=[f"open_clip:{architecture}/{known}" for known in tags],
        )
    try:
        with (
            _without_log_of(open_clip),
            without_vain_retries() if pretrained else nullcontext(),
        ):
            clip = open_clip.create_model(
                architecture,
                pretrained=tag if pretrained else None,
                force_quick_gelu=bool(published.get("quick_gelu")),
                force_image_size=request.size,
                pretrained_text=False,
            )
    except Exception as error:
        if pretrained and unreachable(error):
            hub = published.get("hf_hub")
            folder = hub_cache() if hub else Path("~/.cache/clip").expanduser()
            source = hub or str(published.get("url"))
            raise offline_error(request.name, source, folder, error) from error
        raise
    visual = clip.visual
    loaded = f"pretrained: {request.rest}" if pretrained else _load_visual(visual, request)
    width = getattr(visual, "output_dim", None) or visual.head.proj.out_features
    preprocess = clip_preprocess(visual.preprocess_cfg | published, size=visual.image_size)
    return Backbone(request.name, visual, width, preprocess, stages_of(visual), loaded)


@contextmanager
def _without_log_of(package: ModuleType) -> Iterator[None]:
    """Inside the block, what the package writes with the root logger is dropped.

    It tells every step so. The first such message also gives the root logger a handler.
    """
    folder = str(Path(package.__file__ or "").parent)
    root = logging.getLogger()
    handlers = list(root.handlers)

    def of_others(record: logging.LogRecord) -> bool:
        return not record.pathname.startswith(folder)

    root.addFilter(of_others)
    try:
        yield
    finally:
        root.removeFilter(of_others)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)


def _load_visual(visual: nn.Module, request: _Request) -> str:
    # A weight file may hold the whole of CLIP: its visual tower is what is wanted.
    return _load_file(visual, request, within="visual.")


def _fastervit(request: _Request) -> Backbone:
    with warnings.catch_warnings():
        # It imports timm by paths that timm has since renamed, and registers its names again.
        warnings.simplefilter("ignore")
        require("fastervit")
        models = importlib.import_module("fastervit.models.faster_vit")
        registry = importlib.import_module("fastervit.models.registry")
    known = [name for name in registry.list_models() if "any_res" not in name]
    _check_known(request.rest, known, request)
    say(f"{request.name}: NVIDIA Source Code License-NC, for non-commercial use only")
    config = models.default_cfgs[request.rest]
    own_size = config["input_size"][-1]
    if request.size not in (None, own_size):
        raise ConfigError(
            f"{request.name} takes pictures of {own_size} px only (asked for {request.size})",
            where="preprocess.size",
            fix=f"--set preprocess.size={own_size}",
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        module = registry.model_entrypoint(request.rest)(
            pretrained=False, num_classes=0, drop_path_rate=request.drop_path
        )
    if request.weights == "pretrained":
        state = _download(request, config["url"])
        fit_weights(module, state, where=config["url"], leave_out=("head",))
        loaded = f"pretrained: {config['url']}"
    else:
        loaded = _load_file(module, request, classifier=("head",))
    preprocess = timm_preprocess(config, size=request.size)
    width = module.norm.weight.numel()
    return Backbone(request.name, module, width, preprocess, stages_of(module), loaded)


def _download(request: _Request, url: str) -> StateDict:
    path = torch_cache() / url.rpartition("/")[2]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except Exception as error:
            if unreachable(error):
                raise offline_error(request.name, url, path.parent, error) from error
            raise
    return read_weights(path)


# The network and its own dropout after convolutions.
_OURS: dict[str, tuple[type[FashionCnn] | type[FashionNet], float]] = {
    "fashion_cnn": (FashionCnn, 0.2),
    "fashion_net": (FashionNet, 0.0),
}


def _shopsight(request: _Request) -> Backbone:
    _check_known(request.rest, _OURS, request)
    if request.weights == "pretrained":
        raise WeightsError(
            f"{request.name} has no pretrained weights: it is trained from scratch",
            fix="--set model.weights=random --set training.start=scratch",
        )
    if request.drop_path:
        raise _no_drop_path(request)
    network, own_dropout = _OURS[request.rest]
    dropout = own_dropout if request.conv_dropout is None else request.conv_dropout
    module = network(conv_dropout=dropout)
    loaded = _load_file(module, request)
    # Mean and deviation of Fashion-MNIST's pixels, whose ground is black.
    preprocess = Preprocess(
        size=request.size or 28,
        pad_color=(0, 0, 0),
        interpolation="bilinear",
        mean=(0.286, 0.286, 0.286),
        std=(0.353, 0.353, 0.353),
    )
    return Backbone(request.name, module, module.width, preprocess, stages_of(module), loaded)


def _local(request: _Request) -> Backbone:
    """`local:FOLDER` (a run or a bundle), `local:LIBRARY:NAME@FILE` (weights for that network)."""
    folder = Path(request.rest)
    if folder.is_dir():
        within = folder / "model"
        is_run = within.is_dir() and not (folder / "model.json").exists()
        return _from_bundle(within if is_run else folder, request)
    name, at, file = request.rest.partition("@")
    if at and name.partition(":")[0] in _LIBRARIES:
        return create_backbone(
            name,
            weights=file if request.weights == "pretrained" else request.weights,
            drop_path=request.drop_path,
            conv_dropout=request.conv_dropout,
            size=request.size,
        )
    if folder.is_file():
        raise ConfigError(
            f"{request.rest!r} is a weight file, which does not name its network",
            where="model.backbone",
            fix=f"local:timm:resnet18@{request.rest}   (with the name of that network)",
        )
    raise ConfigError(
        f"{request.rest!r} is neither a run nor a bundle nor of the form library:name@file",
        where="model.backbone",
        fix="local:runs/first\nlocal:timm:resnet18@weights.safetensors",
    )


def _from_bundle(folder: Path, request: _Request) -> Backbone:
    info, file = folder / "model.json", folder / "model.safetensors"
    if not (info.is_file() and file.is_file()):
        raise WeightsError(
            "no model.json and model.safetensors in it",
            where=str(folder),
            fix="local:runs/first",
        )
    written = read_json(info)
    if written.get("members", 1) > 1:
        raise WeightsError(
            f"an ensemble of {written['members']} networks is no backbone",
            where=str(folder),
            fix="name the bundle of one fold",
        )
    preprocess = Preprocess.model_validate(written["preprocess"])
    size = request.size or preprocess.size
    backbone = create_backbone(
        written["backbone"],
        weights="random",
        drop_path=request.drop_path,
        conv_dropout=request.conv_dropout,
        size=size,
    )
    if request.weights == "random":
        return backbone
    state = {
        key.removeprefix("backbone."): value
        for key, value in read_weights(file, unwrap=False).items()
        if key.startswith("backbone.")
    }
    fit_weights(backbone.module, state, where=str(file))
    preprocess = preprocess.model_copy(update={"size": size})
    return replace(backbone, preprocess=preprocess, weights=f"bundle: {folder.name}")


def _load_file(
    module: nn.Module, request: _Request, *, classifier: tuple[str, ...] = (), within: str = ""
) -> str:
    """Load the weight file asked for, if one is; say what was loaded."""
    if request.file is None:
        return "random"
    state = read_weights(request.file)
    if within and any(key.startswith(within) for key in state):
        state = {k.removeprefix(within): v for k, v in state.items() if k.startswith(within)}
    rename = timm_filter(module)
    if rename is not None and not set(module.state_dict()) <= set(state):
        state = rename(state, module)
    fit_weights(module, state, where=request.file, leave_out=classifier)
    return f"file: {Path(request.file).name}"


def _check_known(name: str, known: Iterable[str], request: _Request) -> None:
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise ConfigError(
            f"{request.library} has no {name!r}",
            where="model.backbone",
            details=[f"did you mean {request.library}:{other}?" for other in near],
        )


_LIBRARIES: dict[str, Callable[[_Request], Backbone]] = {
    "embedded": _embedded,
    "timm": _timm,
    "open_clip": _open_clip,
    "fastervit": _fastervit,
    "shopsight": _shopsight,
    "local": _local,
}
