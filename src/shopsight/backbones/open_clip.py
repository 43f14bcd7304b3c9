"""`open_clip:ARCHITECTURE[/TAG]`: the visual tower."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from shopsight.backbones.preprocess_configs import clip_preprocess
from shopsight.backbones.spec import Backbone, Request, check_known, load_file, no_drop_path
from shopsight.backbones.stages import stages_of
from shopsight.backbones.weights import hub_cache, offline_error, unreachable
from shopsight.errors import ConfigError
from shopsight.extras import require
from shopsight.runtime import fail_fast_offline, without_root_log_of


def open_clip_backbone(request: Request) -> Backbone:
    open_clip = require("open_clip")
    architecture, _, tag = request.rest.partition("/")
    check_known(architecture, open_clip.list_models(), request)
    if request.drop_path:
        raise no_drop_path(request)
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
            without_root_log_of(Path(open_clip.__file__ or "").parent),
            fail_fast_offline() if pretrained else nullcontext(),
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


def _load_visual(visual: nn.Module, request: Request) -> str:
    # A weight file may hold the whole of CLIP: its visual tower is what is wanted.
    return load_file(visual, request, within="visual.")
