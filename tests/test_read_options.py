from __future__ import annotations

from dataclasses import fields

import pytest

from shopsight.config.data_settings import DataSettings
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
        metavar = option.metadata["metavar"]
        assert metavar.isupper() or metavar == "|".join(option.metadata.get("choices", ()))
    assert flag_of("images_root") == "--images-root"


def test_one_text_is_not_a_list_of_labels() -> None:
    with pytest.raises(ConfigError, match="is one text, not several"):
        ReadOptions(drop="hat")  # type: ignore[arg-type]


def test_a_column_may_be_one_or_several() -> None:
    assert ReadOptions(label="kind").label_columns == ("kind",)
    assert ReadOptions(label=("disc", "box")).label_columns == ("disc", "box")
    assert ReadOptions().image_columns == ()
    assert DataSettings(image=("front", "back")).image_columns == ("front", "back")


def test_a_choice_is_one_of_its_values() -> None:
    assert ReadOptions().choice("on_bad_row") == "error"
    assert ReadOptions(on_bad_row="skip").choice("on_bad_row") == "skip"
    with pytest.raises(ConfigError, match="--on-bad-row: 'ignore' is not a choice"):
        ReadOptions(on_bad_row="ignore")  # type: ignore[arg-type]


def test_options_say_which_kind_of_data_they_are_about() -> None:
    options = ReadOptions(root="copy", images_root="photos", group="sku", encoding="cp1252")
    assert options.unused("folder") == ("images_root", "root", "encoding")
    assert options.unused("table") == ("root",)
    assert options.unused("opened") == ("images_root", "root", "encoding")
