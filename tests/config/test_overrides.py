"""Single leaves set by `--set`, and the explanation of keys and values that do not fit."""

from __future__ import annotations

import pytest

from shopsight.config.overrides import FORMER_NAMES, leaves, set_leaf
from shopsight.config.recipe import Recipe, load_recipe, parse_recipe
from shopsight.errors import ConfigError


def test_any_leaf_can_be_set_without_tomls_quotes() -> None:
    recipe = load_recipe(
        "balanced",
        [
            "training.epochs=3",
            "model.backbone=timm:resnet18",
            "training.progressive_sizes_px=[96, 128]",
            "data.label_map = None",
        ],
    )
    assert recipe.training.epochs == 3
    assert recipe.model.backbone == "timm:resnet18"
    assert recipe.training.progressive_sizes_px == (96, 128)
    assert recipe.data.label_map is None


@pytest.mark.parametrize(
    ("override", "message"),
    [("training.epochs", "key=value"), ("seed.x=1", "is a value, not a section")],
)
def test_overrides_of_the_wrong_form(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_leaf({"seed": 1}, override)


def test_every_leaf_is_listed_once_with_its_value() -> None:
    names = [name for name, _ in leaves(Recipe())]
    assert len(names) == len(set(names))
    assert {"seed", "training.epochs", "augment.mixup"} <= set(names)
    assert dict(leaves(Recipe(seed=7)))["seed"] == 7


def test_a_former_name_gets_the_name_of_today() -> None:
    known = {name for name, _ in leaves(Recipe())}
    for former, today in FORMER_NAMES.items():
        assert former not in known
        assert today in known
        with pytest.raises(ConfigError) as caught:
            parse_recipe("", overrides=[f"{former}=1"])
        assert f"{former}: no such setting; did you mean {today}?" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.head=mlp",
            "model.head: is a section, not a value (got 'mlp'); did you mean model.head.kind?",
        ),
        ("training=3", "training: is a section, not a value (got 3); did you mean training.mode?"),
        ("model.head.kin=mlp", "model.head.kin: no such setting; did you mean model.head.kind?"),
        ("model.head.dropout=2", "model.head.dropout: Input should be less than 1 (got 2)"),
        ("model.head.hidden_dropout=[0.1, 2]", "model.head.hidden_dropout: Input should be less"),
        ("training.class_weights={shoe = -1}", "training.class_weights: Input should be"),
        ("training.progressive_sizes_px=[64, 'x']", "training.progressive_sizes_px: "),
        ("hardware.devices=[1]", "hardware.devices: "),
    ],
)
def test_a_value_that_does_not_fit_is_shown_with_its_setting(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe("", overrides=[override])
    assert f"\n  {message}" in str(caught.value)
    assert caught.value.where == override


def test_the_error_names_whose_setting_is_wrong() -> None:
    digits = f"seed={10**20}"
    for text, overrides, where in (
        ("", [digits], digits),
        ("", ["seed=10**20"], "seed=10**20"),
        ("", ["seed=x", "training.epochs=8", "training.epochs=0"], "seed=x, training.epochs=0"),
        ("[data]\nroot = 1", ["seed=x"], "my.toml"),
        (f"seed = {10**20}", ["seed=1"], "my.toml"),
        ("seed = 'x'", ["seed=1"], None),
    ):
        if where is None:
            assert parse_recipe(text, where="my.toml", overrides=overrides).seed == 1
            continue
        with pytest.raises(ConfigError) as caught:
            parse_recipe(text, where="my.toml", overrides=overrides)
        assert caught.value.where == where


def test_a_path_of_another_type_and_a_value_with_more_after_it() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recipe("[data]\nroot = [1]", overrides=["training.patience=1\n[x]\nx = 1"])
    message = str(caught.value)
    assert (
        "data.root: Input should be a valid string, or input should be a path (got [1])" in message
    )
    assert "training.patience: Input should be a valid integer" in message
