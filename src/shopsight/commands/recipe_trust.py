"""A recipe from somebody else: what it reaches is shown and asked about before it is used.

Shipped recipes are trusted, and so are those of the user's own runs, and what is set on the command
line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from shopsight.catalog.seal import is_sealed_recipe
from shopsight.config.reach import Reach, reaching
from shopsight.config.recipe import Recipe, is_shipped, load_recipe, recipe_path
from shopsight.datasets.registry import DATASETS
from shopsight.errors import UntrustedRecipeError
from shopsight.folders.label_patterns import may_be_slow
from shopsight.paths import full, is_url
from shopsight.read_options import ReadOptions

_LIBRARY_WEIGHTS = ("pretrained", "random")
# Weights of a place that the recipe names, not those that a library lists.
_NAMED_BACKBONES = ("local:", "open_clip:local-dir:", "open_clip:hf-hub:")
_WHY = {
    "reads": "is read",
    "allows": "allows more to be read than usual",
    "sends": "says where results are sent",
    "searches": "is searched for in names; on some it may take for ever",
}


def check_recipe(
    recipe: str | Path | Recipe,
    settings: Sequence[str] = (),
    *,
    read: ReadOptions | None = None,
    needs_data: bool = False,
) -> None:
    """Refuse a recipe file that reaches what its user did not name.

    Args:
        recipe: the name of a shipped recipe, a file, or a `Recipe`, which the caller made.
        settings: leaves that the user sets: "section.key=value" each.
        read: how DATA is read by the user's own word.
        needs_data: there is no DATA: the data set that the recipe names is read.

    Raises:
        UntrustedRecipeError: it names files, folders, addresses or a tracker.
        ConfigError: no such recipe, or it cannot be used.
    """
    if isinstance(recipe, Recipe) or is_shipped(recipe):
        return
    path, loaded = recipe_path(recipe), load_recipe(recipe)
    if is_sealed_recipe(loaded, path.read_text(encoding="utf-8-sig")):
        return
    own = {setting.partition("=")[0].strip() for setting in settings}
    own |= {f"data.{name}" for name in (read or ReadOptions()).given()}
    refuse_reaching(
        loaded,
        path,
        own=own if needs_data else {*own, "about.data"},
        fix="read these lines; if they are as you want them, the same command with --trust-recipe",
    )


def refuse_reaching(recipe: Recipe, path: Path, *, own: Collection[str], fix: str) -> None:
    """Refuse what a recipe reaches outside of its own folder.

    Args:
        recipe: as it is in the file, without what the user set.
        path: of the file.
        own: keys, or sections, that the user set.
        fix: how it is used all the same.

    Raises:
        UntrustedRecipeError: it reaches something.
    """
    found = [
        f"{key} = {value if isinstance(value, bool) else str(value)!r}   ({_WHY[mark.what]})"
        for key, value, mark in _asked_about(recipe, path.parent)
        if not any(key == name or key.startswith(f"{name}.") for name in own)
    ]
    if found:
        raise UntrustedRecipeError(
            "this recipe is a file, and reaches what you did not name",
            where=str(path),
            details=found,
            fix=fix,
        )


def _asked_about(recipe: Recipe, folder: Path) -> Iterator[tuple[str, Any, Reach]]:
    """The settings with their values that reach something outside of the recipe's folder."""
    sends = recipe.tracking.tracker != "none"
    for key, value, mark in reaching(recipe):
        if mark.what == "sends":
            asked = sends and value is not None
        elif mark.what == "allows":
            asked = bool(value)
        elif key == "data.label_pattern":
            asked = value is not None and may_be_slow(value)
        elif key == "model.backbone":
            asked = value.startswith(_NAMED_BACKBONES)
        elif key == "model.weights":
            asked = value not in _LIBRARY_WEIGHTS and not _is_within(value, folder)
        elif key == "distill.teacher":
            asked = _is_elsewhere(value, folder)
        elif key == "about.data":
            asked = value not in {"", "any", *DATASETS}
        else:
            asked = value is not None and not _is_within(str(value), folder)
        if asked:
            yield key, value, mark


def _is_elsewhere(model: str, folder: Path) -> bool:
    """Whether a model is of a place that the recipe names, not of a library and not beside it."""
    library, _, name = model.partition(":")
    if name and len(library) > 1:
        # One letter is a drive of Windows.
        return model.startswith(_NAMED_BACKBONES)
    return bool(model) and not _is_within(model, folder)


def _is_within(location: str, folder: Path) -> bool:
    """Whether a path leads into the recipe's folder, links followed."""
    return not is_url(location) and Path(full(location)).resolve().is_relative_to(folder.resolve())
