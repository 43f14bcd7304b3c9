from __future__ import annotations

from dataclasses import fields

import pytest

from shopsight.config.sections import DataSettings
from shopsight.errors import ConfigError
from shopsight.read_options import ReadOptions, flag_of


def test_what_is_given() -> None:
    assert ReadOptions().given() == ()
    # An empty separator says that cells hold one label; no labels to drop say nothing.
    assert ReadOptions(label_separator="", drop=()).given() == ("label_separator",)


def test_the_later_options_go_before_and_labels_to_drop_add_up() -> None:
    recipe = DataSettings(text="title", group="sku", drop=("Skip", "Other"), val=0.2)
    merged = recipe.merged(ReadOptions(group="none", drop=("hat", "Skip")))
    assert merged == ReadOptions(text="title", group="none", drop=("Skip", "Other", "hat"))
    assert recipe.merged(None) == ReadOptions(text="title", group="sku", drop=("Skip", "Other"))


def test_every_field_is_a_key_of_the_recipe_and_says_what_it_does() -> None:
    for option in fields(ReadOptions):
        assert option.name in DataSettings.model_fields
        assert option.metadata["help"].endswith(".")
        assert option.metadata["metavar"].isupper()
    assert flag_of("images_root") == "--images-root"


def test_one_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(ConfigError, match="is one text, not several labels"):
        ReadOptions(drop="hat")  # type: ignore[arg-type]
