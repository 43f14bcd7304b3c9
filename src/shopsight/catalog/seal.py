"""A mark on the tables and recipes that this user's shopsight wrote.

By it they differ from a stranger's. A table says in which folder its images lie, and a run's recipe
where data was read and results were sent, wherever that is; one's own are believed without a
question. What somebody else made could say so too, and name any folder of this machine. The mark is
a keyed hash of what is believed; the key is this user's alone (`shopsight.user_key`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import polars as pl

from shopsight.catalog.column_hash import hash_column
from shopsight.config.reach import reaching
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.user_key import is_marked, mark_of

SEAL_KEY = "seal"
_IMAGES_KEY = "images_sha256"
_SEALED_KEYS = ("root", "root_from_here", "access", _IMAGES_KEY)
_RECIPE_LINE = "# sealed: "


def sealed(about: Mapping[str, Any], images: pl.Series | None) -> dict[str, Any]:
    """The record of a table with this user's mark; without one where no key can be kept.

    Args:
        about: what is said of the table.
        images: names of the images, in the order of the rows; None of a text table, whose rows
            its user may edit.
    """
    marked = {**about} if images is None else {**about, _IMAGES_KEY: _hash(images)}
    mark = mark_of(_believed(marked))
    return marked if mark is None else {**marked, SEAL_KEY: mark}


def is_sealed(about: Mapping[str, Any], images: pl.Series | None) -> bool:
    """Whether the record has this user's mark, and all is as it was when that was made.

    Args:
        about: what is said of the table.
        images: as of `sealed`.
    """
    if not is_marked(_believed(about), about.get(SEAL_KEY)):
        return False
    return about.get(_IMAGES_KEY) == (None if images is None else _hash(images))


def sealed_recipe(recipe: Recipe) -> str:
    """A recipe as TOML that ends with this user's mark on what it reaches."""
    mark = mark_of(_reached(recipe))
    return recipe.to_toml() + ("" if mark is None else f"\n{_RECIPE_LINE}{mark}\n")


def is_sealed_recipe(recipe: Recipe, text: str) -> bool:
    """Whether this user's shopsight wrote what a recipe reaches; other settings may be edited.

    Args:
        recipe: what the text says, and no more.
        text: of the file.
    """
    marks = [line for line in text.splitlines() if line.startswith(_RECIPE_LINE)]
    return any(is_marked(_reached(recipe), line.removeprefix(_RECIPE_LINE)) for line in marks[-1:])


def mark_of_cache(folder: str) -> str | None:
    """This user's mark on the cache folder that a run names; None where no key can be kept."""
    return mark_of(["cache", folder])


def is_marked_cache(folder: str, mark: Any) -> bool:
    """Whether this user's shopsight wrote that a run uses this cache folder."""
    return is_marked(["cache", folder], mark)


def _believed(about: Mapping[str, Any]) -> list[Any]:
    return ["table", {name: about.get(name) for name in _SEALED_KEYS}]


def _reached(recipe: Recipe) -> list[Any]:
    # As it is written: names and passwords in addresses are not.
    kept = parse_recipe(recipe.to_toml())
    return ["recipe", [[key, str(value)] for key, value, _mark in reaching(kept)]]


def _hash(images: pl.Series) -> str:
    digest = hashlib.sha256()
    hash_column(digest, images)
    return digest.hexdigest()
