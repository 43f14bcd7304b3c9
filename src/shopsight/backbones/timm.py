"""`timm:NAME[.TAG]`: over a thousand networks, whose weights carry their preprocessing."""

from __future__ import annotations

import difflib
from typing import Any

import timm

from shopsight.backbones.preprocess_configs import timm_preprocess
from shopsight.backbones.spec import Backbone, Request, check_known, load_file, no_drop_path
from shopsight.backbones.stages import stages_of
from shopsight.backbones.weights import (
    first_line,
    hub_cache,
    offline_error,
    torch_cache,
    unreachable,
)
from shopsight.errors import ConfigError, WeightsError
from shopsight.runtime import fail_fast_offline


def timm_backbone(request: Request) -> Backbone:
    name = request.rest
    architecture, _, tag = name.partition(".")
    check_known(architecture, timm.list_models(), request)
    if tag:
        with_tags = timm.list_models(f"{architecture}.*", include_tags=True)
        if name not in with_tags:
            raise _no_tag(request, with_tags)
    if request.weights == "pretrained":
        try:
            with fail_fast_offline():
                module = _timm_module(request, pretrained=True)
        except Exception as error:
            wanted = timm.get_pretrained_cfg(name)
            hub = wanted and wanted.hf_hub_id
            source = wanted and (hub or wanted.url)
            if not source:
                raise WeightsError(
                    f"timm has no pretrained weights for {request.rest}",
                    fix="add a tag (timm.list_pretrained() lists them), or set model.weights",
                ) from error
            if unreachable(error):
                folder = hub_cache() if hub else torch_cache()
                raise offline_error(request.name, str(source), folder, error) from error
            raise
        loaded = f"pretrained: {module.pretrained_cfg.get('hf_hub_id') or name}"
    else:
        module = _timm_module(request, pretrained=False)
        loaded = load_file(module, request, classifier=_classifier_of(module))
    preprocess = timm_preprocess(module.pretrained_cfg, size=request.size)
    width = getattr(module, "head_hidden_size", None) or module.num_features
    return Backbone(request.name, module, width, preprocess, stages_of(module), loaded)


def _no_tag(request: Request, known: list[str]) -> ConfigError:
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


def _timm_module(request: Request, *, pretrained: bool) -> Any:
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
                raise no_drop_path(request) from error
            raise
        except AssertionError as error:
            if request.size is None:
                raise
            raise ConfigError(
                f"{request.name} does not take images of {request.size} px",
                where="preprocess.size_px",
                details=[first_line(error)],
                fix="--set preprocess.size_px=auto",
            ) from error


def _classifier_of(module: Any) -> tuple[str, ...]:
    names = module.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
