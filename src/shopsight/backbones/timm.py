"""`timm:NAME[.TAG]`: over a thousand networks, whose weights carry their preprocessing."""

from __future__ import annotations

import difflib
from typing import Any

import timm

from shopsight.backbones.downloads import hub_cache, is_network_error, offline_error, torch_cache
from shopsight.backbones.preprocess_configs import timm_preprocess
from shopsight.backbones.spec import (
    Backbone,
    Request,
    check_known,
    load_weight_file,
    no_drop_path,
)
from shopsight.backbones.stages import stages_of
from shopsight.errors import ConfigError, WeightsError, first_line
from shopsight.runtime import fail_fast_offline, trusted_certificates


def timm_backbone(request: Request) -> Backbone:
    """Build one of timm's networks; see `shopsight.backbones.create`."""
    architecture, _, tag = request.name.partition(".")
    check_known(architecture, timm.list_models(), request)
    if tag:
        with_tags = timm.list_models(f"{architecture}.*", include_tags=True)
        if request.name not in with_tags:
            raise _unknown_tag(request, with_tags)
    if request.weights == "pretrained":
        module = _pretrained(request)
        loaded = f"pretrained: {module.pretrained_cfg.get('hf_hub_id') or request.name}"
    else:
        module = _build(request, pretrained=False)
        loaded = load_weight_file(module, request, classifier=_classifier_of(module))
    preprocess = timm_preprocess(module.pretrained_cfg, size_px=request.size_px)
    embedding_dim = getattr(module, "head_hidden_size", None) or module.num_features
    return Backbone(request.full_name, module, embedding_dim, preprocess, stages_of(module), loaded)


def _pretrained(request: Request) -> Any:
    try:
        with fail_fast_offline(), trusted_certificates():
            return _build(request, pretrained=True)
    except Exception as error:
        config = timm.get_pretrained_cfg(request.name)
        hub = config and config.hf_hub_id
        source = config and (hub or config.url)
        if not source:
            raise WeightsError(
                f"timm has no pretrained weights for {request.name}",
                fix="add a tag (timm.list_pretrained() lists them), or set model.weights",
            ) from error
        if is_network_error(error):
            folder = hub_cache() if hub else torch_cache()
            raise offline_error(request.full_name, str(source), folder, error) from error
        raise


def _unknown_tag(request: Request, known: list[str]) -> ConfigError:
    """The error for a tag without weights; `known` are the names that have some."""
    architecture, _, tag = request.name.partition(".")
    near = difflib.get_close_matches(
        tag, [name.partition(".")[2] for name in known], n=1, cutoff=0.4
    )
    meant = f"{architecture}.{near[0]}" if near else (known or [architecture])[0]
    return ConfigError(
        f"timm has no {request.name!r}" + (f"; did you mean timm:{meant}?" if near else ""),
        where="model.backbone",
        details=[f"timm:{name}" for name in known],
        fix=f"--backbone timm:{meant}",
    )


def _build(request: Request, *, pretrained: bool) -> Any:
    """Create the network without a classifier, with those options that it takes."""
    options: dict[str, Any] = {}
    config = timm.get_pretrained_cfg(request.name.partition(".")[0])
    if request.drop_path:
        options["drop_path_rate"] = request.drop_path
    if config and config.fixed_input_size:
        # Interpolated position embeddings let progressive training change the input's size.
        options["dynamic_img_size"] = True
        if request.size_px is not None:
            options["img_size"] = request.size_px
    while True:
        try:
            return timm.create_model(request.name, pretrained=pretrained, num_classes=0, **options)
        except TypeError as error:
            # Which options a network takes is seen only when it refuses one.
            if "dynamic_img_size" in str(error) and options.pop("dynamic_img_size", False):
                continue
            if "drop_path_rate" in str(error):
                raise no_drop_path(request) from error
            raise
        except AssertionError as error:
            if request.size_px is None:
                raise
            raise ConfigError(
                f"{request.full_name} does not take images of {request.size_px} px",
                where="preprocess.size_px",
                details=[first_line(error)],
                fix="--set preprocess.size_px=auto",
            ) from error


def _classifier_of(module: Any) -> tuple[str, ...]:
    names = module.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
