from __future__ import annotations

import tomllib

from shopsight.backbones.presets import PRESETS
from shopsight.config.recipe import load_recipe, recipe_names
from shopsight.datasets.registry import DATASETS
from tests.helpers import Shopsight


def test_recipes_lists_all(shopsight: Shopsight) -> None:
    shown = shopsight("recipes")
    assert shown.code == 0
    for name in recipe_names():
        assert name in shown.out
    assert [row["name"] for row in shopsight("recipes", "--json").json] == recipe_names()


def test_recipe_is_printed_as_it_is(shopsight: Shopsight) -> None:
    shown = shopsight("recipes", "clothing-resnet18")
    assert tomllib.loads(shown.out)["about"]["data"] == "clothing"
    resolved = shopsight("recipes", "clothing-resnet18", "--json").json
    assert resolved == load_recipe("clothing-resnet18").model_dump(mode="json")


def test_data_sets(shopsight: Shopsight) -> None:
    assert [row["name"] for row in shopsight("data", "--json").json] == list(DATASETS)
    one = shopsight("data", "fashion-mnist")
    assert "70000" in one.out
    assert "shopsight audit fashion-mnist" in one.out
    assert "fashion-mnist-cnn" in one.out
    assert shopsight("data", "fashion-minst").code == 2


def test_backbones_lists_the_presets(shopsight: Shopsight) -> None:
    shown = shopsight("backbones")
    assert "general-base: open_clip:PE-Core-B-16/meta" in shown.out
    assert "MobileCLIP 2: its license is for research only" in shown.out
    listed = shopsight("backbones", "--json").json
    assert [preset["name"] for preset in listed["presets"]] == list(PRESETS)
    assert listed["presets"][0]["run_by_us"] is True
    assert all(network["why"] for network in listed["left_out"])


def test_doctor(shopsight: Shopsight) -> None:
    facts = shopsight("doctor", "--json").json
    by_name = {fact["name"]: fact for fact in facts}
    assert by_name["torch"]["value"]
    assert "in training" in by_name["cpu precision"]["value"]
    assert "free" in by_name["cache"]["value"]
    for fact in facts:
        name = fact["name"]
        if fact["subject"] == "extras" and fact["value"].startswith("lacks"):
            assert fact["advice"] == f'pip install "shopsight[{name}]"'
    assert "torch threads" in shopsight("doctor").out
