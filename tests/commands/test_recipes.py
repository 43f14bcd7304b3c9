from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from shopsight import api
from shopsight.config.recipe import load_recipe, recipe_names
from shopsight.errors import ConfigError, SourceError


def test_every_shipped_recipe_is_listed_and_is_read_by_its_name() -> None:
    assert list(api.recipes()) == recipe_names()
    for name in recipe_names():
        assert api.recipe(name).about == api.recipes()[name]
        assert tomllib.loads(api.recipe_text(name))["about"]["title"]
    with pytest.raises(ConfigError, match="did you mean 'fast'"):
        api.recipe("fats")


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nepochs = 3\n", encoding="utf-8")
    assert api.recipe(file) == load_recipe(file)
    assert api.recipe_text(file) == "[training]\nepochs = 3\n"


def test_data_sets_with_their_recipes() -> None:
    known = {one.name: one for one in api.data_sets()}
    assert known["fashion-mnist"].num_images == 70_000
    assert "fashion-mnist-cnn" in known["fashion-mnist"].recipes
    assert api.data_set("clothing").to_json()["num_classes"] == 20
    with pytest.raises(SourceError, match="did you mean 'clothing'"):
        api.data_set("clohting")
