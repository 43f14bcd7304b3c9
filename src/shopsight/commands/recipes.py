"""Recipes: the shipped ones, the text of one, and a recipe with some leaves changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shopsight.config.about_settings import About
from shopsight.config.recipe import (
    Recipe,
    load_recipe,
    parse_recipe,
    recipe_names,
    recipe_path,
)


def recipes() -> dict[str, About]:
    """Name each shipped recipe with where it comes from and what it scored."""
    return {name: load_recipe(name).about for name in recipe_names()}


def recipe(name: str | Path) -> Recipe:
    """Read a shipped recipe by its name, or a file.

    Raises:
        ConfigError: no such recipe, or it has unknown keys or unusable values.
    """
    return load_recipe(name)


def recipe_text(name: str | Path) -> str:
    """Read the TOML text of a shipped recipe, or of a file, as it is written.

    Raises:
        ConfigError: no such recipe.
    """
    return recipe_path(name).read_text(encoding="utf-8")


def recipe_with(recipe: str | Path | Recipe, settings: Sequence[str] = ()) -> Recipe:
    """The recipe with some leaves changed.

    Args:
        recipe: the name of a shipped recipe, a file, or a `Recipe`.
        settings: "section.key=value" each.

    Raises:
        ConfigError: no such recipe, or keys and values that do not fit.
    """
    if isinstance(recipe, Recipe):
        return parse_recipe(recipe.to_toml(), overrides=settings)
    return load_recipe(recipe, settings)
