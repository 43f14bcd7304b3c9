"""How libraries describe the preprocessing of their weights, as our `Preprocess`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopsight.preprocess import Interpolation, Preprocess, Resize

_TIMM_RESIZE: dict[str, Resize] = {"center": "crop", "squash": "squash", "border": "pad"}
_CLIP_RESIZE: dict[str, Resize] = {"shortest": "crop", "longest": "pad", "squash": "squash"}


def timm_preprocess(config: Mapping[str, Any], *, size_px: int | None) -> Preprocess:
    """Translate a timm `pretrained_cfg`; `size_px` replaces its own size."""
    return Preprocess(
        size_px=size_px or config["input_size"][-1],
        resize=_TIMM_RESIZE.get(config.get("crop_mode") or "center", "crop"),
        crop_fraction=config.get("crop_pct") or 0.875,
        interpolation=_interpolation(config),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def clip_preprocess(config: Mapping[str, Any], *, size_px: int | tuple[int, int]) -> Preprocess:
    """Translate an open_clip preprocessing config; of a pair, `size_px` is the height."""
    fill = int(config.get("fill_color") or 0)
    return Preprocess(
        size_px=size_px if isinstance(size_px, int) else size_px[0],
        resize=_CLIP_RESIZE[config.get("resize_mode") or "shortest"],
        crop_fraction=1.0,
        pad_color=(fill, fill, fill),
        interpolation=_interpolation(config),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _interpolation(config: Mapping[str, Any]) -> Interpolation:
    # timm's "random" and everything unknown is bicubic, the most common one.
    return "bilinear" if config.get("interpolation") == "bilinear" else "bicubic"
