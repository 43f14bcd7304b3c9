"""Sections of a recipe that do more than hold values."""

from __future__ import annotations

from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.recipe import parse_recipe
from shopsight.preprocess import Preprocess


def test_preprocess_settings_change_only_what_they_name() -> None:
    base = Preprocess(size_px=240, resize="crop", mean=(0.1, 0.2, 0.3))
    recipe = parse_recipe("[preprocess]\nresize = 'pad'\npad_color = 'edge'\n")
    changed = recipe.preprocess.applied_to(base)
    assert changed == base.model_copy(update={"resize": "pad", "pad_color": "edge"})


def test_no_augmentation_has_every_probability_at_zero_or_nothing_to_mix() -> None:
    settings = AugmentSettings.none()
    on = {name for name, value in settings if name.endswith("_prob") and value > 0}
    assert on == {"mix_prob"}
    assert settings.mixup == settings.cutmix == 0
