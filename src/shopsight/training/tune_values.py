"""The values of settings that race, around those of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopsight.backbones.stages import Stages
from shopsight.config.recipe import Recipe
from shopsight.config.tune_settings import TuneKey

RATES = (1 / 3, 3.0)
SCALES = (0.35, 0.8)
SAME_SCALE = 0.05
"""Windows that differ by less are not worth a contestant."""
STAGES = 2
"""By how many stages fewer or more stand still."""


def other_values(recipe: Recipe, key: TuneKey, stages: Stages) -> list[Any]:
    """Values of a setting that race with the recipe's own.

    Args:
        recipe: resolved.
        key: the setting.
        stages: of the backbone.
    """
    if key == "optimizer.lr":
        return [float(f"{recipe.optimizer.lr * factor:.3g}") for factor in RATES]
    if key == "augment.scale":
        augment = recipe.augment
        if augment.affine_prob == 0.0 or not {"all", "scale"} & set(augment.affine_kinds):
            return []
        low, high = augment.scale
        return [(one, high) for one in SCALES if one <= high and abs(one - low) > SAME_SCALE]
    frozen = recipe.training.frozen_stages
    if recipe.training.mode == "frozen":
        return []
    # One that moves is left: else nothing but the head would be trained.
    around = {max(0, frozen - STAGES), min(len(stages) - 1, frozen + STAGES)}
    return sorted(around - {frozen})


def value_of(recipe: Recipe, key: TuneKey) -> Any:
    """What a recipe says of a setting."""
    section, leaf = key.split(".")
    return getattr(getattr(recipe, section), leaf)


def with_values(recipe: Recipe, values: Mapping[TuneKey, Any]) -> Recipe:
    """The recipe with other values of some settings."""
    for key, value in values.items():
        section, leaf = key.split(".")
        recipe = recipe.replace(**{section: {leaf: value}})
    return recipe


def value_text(value: Any) -> str:
    """A value as a recipe writes it, of numbers three digits."""
    if isinstance(value, tuple):
        return f"[{', '.join(value_text(one) for one in value)}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
