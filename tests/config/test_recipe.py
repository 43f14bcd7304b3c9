"""Recipes: round trips, overrides, and the errors about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight import api
from shopsight.config.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from shopsight.errors import ConfigError
from shopsight.head_settings import HeadSettings


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_written_is_read_back(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe.to_toml()) == recipe


def test_everywhere_the_default_is_the_same() -> None:
    assert api.DEFAULT_RECIPE in recipe_names()
    assert load_recipe() == load_recipe(api.DEFAULT_RECIPE)


def test_all_mistakes_are_reported_at_once_with_what_was_meant() -> None:
    text = "[trainin]\nepochs = 1\n[training]\nepoch = 3\nbatch_size = 0\n[data]\nmixup = 0.1\n"
    with pytest.raises(ConfigError) as caught:
        parse_recipe(text, where="mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: 4 settings cannot be used")
    assert "trainin: no such setting; did you mean training?" in message
    assert "training.epoch: no such setting; did you mean training.epochs?" in message
    assert "data.mixup: no such setting; did you mean augment.mixup?" in message
    wanted = "Input should be greater than or equal to 1, or input should be 'auto' (got 0)"
    assert f"training.batch_size: {wanted}" in message


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
    ("text", "message"),
    [
        ("[data]\nval = 0.6\ntest = 0.4\n", "leave nothing to train on"),
        ("[folds]\ncount = 1\n", "at least 2"),
        ("[model.head]\nkind = 'mlp'\n", r"needs model\.head\.kind = 'linear'"),
        ("[training]\nsampling = 'pxk'\nbatch_size = 30\n", "no multiple of training.images_per"),
        ("[training]\nsampling = 'pxk'\nbatch_size = 4\n", "with at least two classes"),
        ("[training]\nloss = 'bce'\nsampling = 'pxk'\n", "one label per image"),
        ("[training]\nloss = 'bce'\n[augment]\ncutmix = 1.0\n", "does not go with augment.mixup"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text)


def test_not_toml_and_not_a_recipe() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_recipe("[training\n")
    with pytest.raises(ConfigError, match="did you mean 'balanced'"):
        load_recipe("balancd")


def test_replace_keeps_the_rest_and_checks() -> None:
    weighted = Recipe().replace(training={"class_weights": {"shoe": 2.0}})
    recipe = weighted.replace(training={"epochs": 2}, seed=5)
    assert (recipe.training.epochs, recipe.seed) == (2, 5)
    assert recipe.training.class_weights == {"shoe": 2.0}
    assert recipe.training.batch_size == Recipe().training.batch_size
    # A table of weights is one value: it is replaced, not merged with the former one.
    other = recipe.replace(training={"class_weights": {"hat": 3.0}})
    assert other.training.class_weights == {"hat": 3.0}
    with pytest.raises(ValueError, match="epochs"):
        Recipe().replace(training={"epochs": 0})


def test_recipes_are_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 7\n")
    assert load_recipe(file).seed == 7
    file.write_bytes("seed = 7\n".encode("utf-16"))
    with pytest.raises(ConfigError, match="not UTF-8: byte 0 is 0xff"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"seed = {'9' * 5000}", "not valid TOML"),
        (f"seed = 0x{'f' * 5000}", "more than 64 bits"),
        (f"a{'.a' * 5000} = 1", "nested too deeply"),
        (f"['#'{'.a' * 3000}]", "nested too deeply"),
        (f"x = {{{chr(34)}a,b{chr(34)}{'.a' * 3000} = 1}}", "nested too deeply"),
        (f"x = {'[' * 10_000}", "nested too deeply"),
    ],
)
def test_what_would_take_a_parser_long(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_recipe(text)


def test_points_in_strings_and_numbers_part_no_key() -> None:
    texts = "# a.b.c" + ".d" * 200 + "\n[about]\ntitle = 'x" + ".x" * 200 + "'\n"
    weights = ", ".join(f"k{number} = {number}.5" for number in range(1, 200))
    recipe = parse_recipe(f"{texts}[training]\nclass_weights = {{ {weights} }}\n")
    assert recipe.about.title.count(".") == 200


def test_of_thousands_of_problems_some_are_explained() -> None:
    with pytest.raises(ConfigError, match="more than 100 settings cannot be used") as caught:
        parse_recipe("\n".join(f"k{number} = 1" for number in range(20_000)))
    assert len(caught.value.details) == 100
    with pytest.raises(ConfigError) as caught:
        parse_recipe(f"[about]\ntitle = '{'x' * 100_000}'")
    assert len(str(caught.value)) < 1000


def test_an_override_of_thousands_of_digits_is_text() -> None:
    with pytest.raises(ConfigError, match=r"training\.epochs"):
        parse_recipe("", overrides=[f"training.epochs={'9' * 5000}"])


def test_recipes_of_older_runs_that_name_resamples_are_read(tmp_path: Path) -> None:
    old = tmp_path / "recipe.toml"
    old.write_text("[evaluation]\nbootstrap_resamples = 2000\ntop_k = 3\n", encoding="utf-8")
    found = load_recipe(str(old))
    assert found.evaluation.top_k == 3
    assert "bootstrap_resamples" not in found.evaluation.model_dump()
