"""Backbones: the presets, and what is none."""

from __future__ import annotations

from shopsight.backbones.presets import LEFT_OUT, PRESETS, LeftOut, Preset


def presets() -> list[Preset]:
    """List the networks that have a short name, the one that needs no network first."""
    return list(PRESETS.values())


def left_out() -> list[LeftOut]:
    """List known networks that are no presets, each with the reason."""
    return list(LEFT_OUT)
