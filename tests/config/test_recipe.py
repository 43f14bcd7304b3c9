"""Recipes: round trips, overrides, and what is said about mistakes."""

import pytest

from shopsight import api
from shopsight.config import recipe as config
from shopsight.config.recipe import (
    Recipe,
    load_recipe,
    parse_recipe,
    recipe_names,
    settings,
)
from shopsight.errors import ConfigError
from shopsight.head_settings import HeadSettings
from shopsight.preprocess import Preprocess


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_written_is_read_back(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe.to_toml()) == recipe


def test_everywhere_the_default_is_the_same() -> None:
    assert api.DEFAULT_RECIPE == config.DEFAULT_RECIPE
    assert load_recipe() == load_recipe(api.DEFAULT_RECIPE)


def test_any_leaf_can_be_set_without_tomls_quotes() -> None:
    recipe = load_recipe(
        "balanced",
        [
            "training.epochs=3",
            "model.backbone=timm:resnet18",
            "training.progressive_sizes_px=[96, 128]",
        ],
    )
    assert recipe.training.epochs == 3
    assert recipe.model.backbone == "timm:resnet18"
    assert recipe.training.progressive_sizes_px == (96, 128)


def test_all_mistakes_are_told_at_once_with_what_was_meant() -> None:
    text = "[trainin]\nepochs = 1\n[training]\nepoch = 3\nbatch_size = 0\n[data]\nmixup = 0.1\n"
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, where="mine.toml")
    said = str(caught.value)
    assert said.startswith("mine.toml: 4 settings cannot be used")
    assert "training.epoch: no such setting; did you mean training.epochs?" in said
    assert "data.mixup: no such setting; did you mean augment.mixup?" in said
    assert "training.batch_size: Input should be greater than or equal to 1 (got 0)" in said


def test_the_head_is_a_section_within_a_section() -> None:
    recipe = load_recipe(
        "balanced", ["training.mode=finetune", "model.head.kind=mlp", "model.head.hidden_dim=64"]
    )
    assert recipe.model.head == HeadSettings(kind="mlp", hidden_dim=64)
    assert parse_recipe(recipe.to_toml()) == recipe
    changed = recipe.replace(model={"head": {"kind": "cosine"}, "drop_path": 0.1})
    assert changed.model.head == HeadSettings(kind="cosine", hidden_dim=64)
    assert changed.model.backbone == recipe.model.backbone


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "model.head=mlp",
            "model.head: is a section, not a value (got 'mlp'); did you mean model.head.kind?",
        ),
        ("model.dropout=0.1", "model.dropout: no such setting; did you mean model.head.dropout?"),
        ("model.head.kin=mlp", "model.head.kin: no such setting; did you mean model.head.kind?"),
        ("model.head.dropout=2", "model.head.dropout: Input should be less than 1 (got 2)"),
        ("model.head.hidden_dropout=[0.1, 2]", "model.head.hidden_dropout: Input should be less"),
        ("training.class_weights={'a' = -1}", "training.class_weights: Input should be"),
    ],
)
def test_mistakes_three_levels_deep(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe("balanced", [override])
    assert said in str(caught.value)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave nothing to train on"):
        parse_recipe("[data]\nval = 0.6\ntest = 0.5\n")
    with pytest.raises(ConfigError, match=r"needs model\.head\.kind = 'linear'"):
        parse_recipe("[model.head]\nkind = 'mlp'\n")


@pytest.mark.parametrize(
    ("override", "said"),
    [("training.epochs", "key=value"), ("seed.x=1", "is a value, not a section")],
)
def test_overrides_of_the_wrong_form(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_recipe("seed = 1\n", overrides=[override])


def test_not_toml_and_not_a_recipe() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_recipe("[training\n")
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        load_recipe("balancd")


def test_preprocess_settings_change_only_what_they_name() -> None:
    base = Preprocess(size_px=240, resize="crop", mean=(0.1, 0.2, 0.3))
    recipe = parse_recipe("[preprocess]\nresize = 'pad'\npad_color = 'edge'\n")
    changed = recipe.preprocess.applied_to(base)
    assert changed == base.model_copy(update={"resize": "pad", "pad_color": "edge"})


def test_replace_keeps_the_rest_and_checks() -> None:
    recipe = Recipe().replace(training={"epochs": 2}, seed=5)
    assert (recipe.training.epochs, recipe.seed) == (2, 5)
    assert recipe.training.batch_size == Recipe().training.batch_size
    with pytest.raises(ValueError, match="epochs"):
        Recipe().replace(training={"epochs": 0})


def test_every_leaf_is_listed_once() -> None:
    names = [name for name, _ in settings()]
    assert len(names) == len(set(names))
    assert {"seed", "training.epochs", "augment.mixup"} <= set(names)
