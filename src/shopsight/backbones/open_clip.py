"""CLIP models of open_clip: the image encoder, and the text encoder where it is asked for.

`open_clip:ARCHITECTURE[/TAG]`, `open_clip:hf-hub:ORG/NAME`, `open_clip:local-dir:PATH`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from shopsight.backbones.clip_sources import IN_A_FOLDER, ClipSource, clip_source
from shopsight.backbones.downloads import hub_cache, is_network_error, offline_error
from shopsight.backbones.preprocess_configs import clip_preprocess
from shopsight.backbones.spec import (
    Backbone,
    Request,
    load_weight_file,
    no_drop_path,
)
from shopsight.backbones.stages import stages_of
from shopsight.backbones.text_tower import TextTower, open_tokenizer, text_tower
from shopsight.errors import ConfigError, ShopsightError, WeightsError, first_line
from shopsight.extras import require
from shopsight.preprocess import Preprocess
from shopsight.runtime import fail_fast_offline, trusted_certificates, without_root_log_of


def open_clip_backbone(request: Request) -> Backbone:
    """Build the image encoder of an open_clip model; see `shopsight.backbones.create`."""
    open_clip = require("open_clip")
    pretrained = request.weights == "pretrained"
    with without_root_log_of(Path(open_clip.__file__ or "").parent):
        source = clip_source(open_clip, request, pretrained=pretrained)
        if request.drop_path:
            raise no_drop_path(request)
        text: TextTower | None = None
        if pretrained:
            clip = _pretrained_clip(open_clip, source, request)
            visual: Any = clip.visual
            expected = visual.preprocess_cfg
            loaded = f"pretrained: {source.origin if source.is_folder else request.name}"
            if request.with_text:
                tokenizer = _tokenizer(open_clip, source, request)
                if request.with_text != "check":
                    text = text_tower(open_clip, clip, tokenizer, source)
        else:
            visual = _new_tower(open_clip, source, size_px=request.size_px)
            expected = asdict(open_clip.transform.PreprocessCfg())
            # A weight file may hold the whole of CLIP; its image encoder is what is wanted.
            loaded = load_weight_file(visual, request, prefix="visual.")
    # CoCa's tower gives the tokens beside the embedding, for its text decoder.
    visual.output_tokens = False
    return Backbone(
        source.name,
        visual,
        source.config["embed_dim"],
        _preprocess(expected, source, visual.image_size),
        stages_of(visual),
        loaded,
        text=text,
        has_text=pretrained,
        rebuilds=source.rebuilds,
    )


def _preprocess(
    expected: dict[str, Any], source: ClipSource, size_px: int | tuple[int, int]
) -> Preprocess:
    try:
        return clip_preprocess(expected | dict(source.published), size_px=size_px)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            "its preprocess_cfg cannot be used",
            where=source.origin,
            details=[f"{type(error).__name__}: {first_line(error)}"],
        ) from error


def _new_tower(open_clip: ModuleType, source: ClipSource, *, size_px: int | None) -> nn.Module:
    """The image encoder with random weights.

    Without the text encoder, which may be larger, and which some configurations take from the
    Hugging Face Hub: a bundle must open without a network.
    """
    config = source.config
    vision = config["vision_cfg"] | {"timm_model_pretrained": False}
    if size_px is not None:
        vision["image_size"] = size_px
    tower: nn.Module = open_clip.model._build_vision_tower(
        config["embed_dim"], vision, source.quick_gelu
    )
    return tower


def _pretrained_clip(open_clip: ModuleType, source: ClipSource, request: Request) -> Any:
    """A published CLIP model, both encoders.

    Raises:
        WeightsError: Its weights cannot be downloaded, or are not of this model.
    """
    try:
        with fail_fast_offline(may_ask=not source.is_folder), trusted_certificates():
            return open_clip.create_model(
                source.model,
                pretrained=source.tag or None,
                force_quick_gelu=bool(source.published.get("quick_gelu")),
                force_image_size=request.size_px,
                pretrained_text=False,
                require_pretrained=True,
            )
    except Exception as error:
        if source.is_folder:
            raise _does_not_load("model", source, error) from error
        if is_network_error(error):
            folder = hub_cache() if source.in_hub else Path("~/.cache/clip").expanduser()
            where = (request.full_name, source.origin, folder, error)
            # Whoever trains has a setting for a file; whoever searches has not.
            if request.with_text:
                raise offline_error(*where, instead=IN_A_FOLDER) from error
            raise offline_error(*where) from error
        raise


def _tokenizer(open_clip: ModuleType, source: ClipSource, request: Request) -> Any:
    """The tokenizer of its text encoder.

    Raises:
        ExtraMissingError: It is one of `transformers`, which is not installed.
        WeightsError: It cannot be downloaded, or its folder has another one's files.
    """
    try:
        with fail_fast_offline(may_ask=not source.is_folder), trusted_certificates():
            return open_tokenizer(open_clip, source)
    except ShopsightError:
        raise
    except Exception as error:
        if source.is_folder:
            raise _does_not_load("tokenizer", source, error) from error
        if is_network_error(error):
            tokenizer_name = str(source.config["text_cfg"].get("hf_tokenizer_name"))
            raise offline_error(
                request.full_name,
                tokenizer_name,
                hub_cache(),
                error,
                tokenizer=True,
                instead=IN_A_FOLDER,
            ) from error
        raise


def _does_not_load(what: str, source: ClipSource, error: Exception) -> WeightsError:
    return WeightsError(
        f"open_clip cannot load the {what} in it",
        where=source.origin,
        details=[f"{type(error).__name__}: {first_line(error)}"],
        fix="its configuration, weights and tokenizer must be those of one model",
    )
