"""`open_clip:ARCHITECTURE[/TAG]`: the image encoder of a CLIP model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from shopsight.backbones.downloads import hub_cache, is_network_error, offline_error
from shopsight.backbones.preprocess_configs import clip_preprocess
from shopsight.backbones.spec import (
    Backbone,
    Request,
    check_known,
    load_weight_file,
    no_drop_path,
)
from shopsight.backbones.stages import stages_of
from shopsight.errors import ConfigError
from shopsight.extras import require
from shopsight.runtime import fail_fast_offline, trusted_certificates, without_root_log_of


def open_clip_backbone(request: Request) -> Backbone:
    """Build the image encoder of an open_clip model; see `shopsight.backbones.create`."""
    open_clip = require("open_clip")
    architecture, _, tag = request.name.partition("/")
    check_known(architecture, open_clip.list_models(), request)
    if request.drop_path:
        raise no_drop_path(request)
    pretrained = request.weights == "pretrained"
    published = _published_config(open_clip, architecture, tag, pretrained=pretrained)
    config = open_clip.get_model_config(architecture)
    if pretrained:
        visual = _pretrained_tower(open_clip, architecture, tag, request, published)
        expected = visual.preprocess_cfg
        loaded = f"pretrained: {request.name}"
    else:
        visual = _new_tower(open_clip, config, published, size_px=request.size_px)
        expected = asdict(open_clip.transform.PreprocessCfg())
        # A weight file may hold the whole of CLIP; its image encoder is what is wanted.
        loaded = load_weight_file(visual, request, prefix="visual.")
    # CoCa's tower gives the tokens beside the embedding, for its text decoder.
    visual.output_tokens = False
    preprocess = clip_preprocess(expected | published, size_px=visual.image_size)
    embedding_dim: int = config["embed_dim"]
    return Backbone(request.full_name, visual, embedding_dim, preprocess, stages_of(visual), loaded)


def _new_tower(
    open_clip: ModuleType,
    config: Mapping[str, Any],
    published: Mapping[str, Any],
    *,
    size_px: int | None,
) -> nn.Module:
    """The image encoder with random weights.

    Without the text encoder, which may be larger, and which some configurations take from the
    Hugging Face Hub: a bundle must open without a network.
    """
    vision = config["vision_cfg"] | {"timm_model_pretrained": False}
    if size_px is not None:
        vision["image_size"] = size_px
    quick_gelu = bool(config.get("quick_gelu") or published.get("quick_gelu"))
    tower: nn.Module = open_clip.model._build_vision_tower(config["embed_dim"], vision, quick_gelu)
    return tower


def _pretrained_tower(
    open_clip: ModuleType,
    architecture: str,
    tag: str,
    request: Request,
    published: Mapping[str, Any],
) -> Any:
    """The image encoder of a published CLIP model.

    Raises:
        WeightsError: Its weights cannot be downloaded.
    """
    try:
        with (
            # It logs each step with the root logger.
            without_root_log_of(Path(open_clip.__file__ or "").parent),
            fail_fast_offline(),
            trusted_certificates(),
        ):
            clip = open_clip.create_model(
                architecture,
                pretrained=tag,
                force_quick_gelu=bool(published.get("quick_gelu")),
                force_image_size=request.size_px,
                pretrained_text=False,
            )
    except Exception as error:
        if is_network_error(error):
            hub = published.get("hf_hub")
            folder = hub_cache() if hub else Path("~/.cache/clip").expanduser()
            source = hub or str(published.get("url"))
            raise offline_error(request.full_name, source, folder, error) from error
        raise
    return clip.visual


def _published_config(
    open_clip: ModuleType, architecture: str, tag: str, *, pretrained: bool
) -> dict[str, Any]:
    """What open_clip knows of the tag's weights; empty without a tag.

    Raises:
        ConfigError: There is no such tag, or none although pretrained weights are wanted.
    """
    published: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    if (pretrained or tag) and not published:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise ConfigError(
            f"{architecture} has no weights {tag!r}"
            if tag
            else f"{architecture} needs the name of its weights",
            where="model.backbone",
            details=[f"open_clip:{architecture}/{known}" for known in tags],
            fix=f"--backbone open_clip:{architecture}/{tags[0] if tags else 'TAG'}",
        )
    return published
