"""Data: the data sets that are known by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shopsight.config.recipe import load_recipe, recipe_names
from shopsight.datasets.registry import DATASETS, Dataset, dataset


@dataclass(frozen=True)
class DataSet:
    """What is known of a named data set.

    Attributes:
        num_classes: as published.
        num_images: as published.
        source: where it is looked for, in that order.
        recipes: the shipped recipes made for it.
    """

    name: str
    title: str
    license: str
    num_classes: int
    num_images: int
    source: str
    recipes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The data set as plain values."""
        return asdict(self)


def data_sets() -> list[DataSet]:
    """List the data sets that are known by name."""
    recipes = _recipes_by_data()
    return [_described(one, recipes) for one in DATASETS.values()]


def data_set(name: str) -> DataSet:
    """Describe the data set of this name.

    Raises:
        SourceError: there is none.
    """
    return _described(dataset(name), _recipes_by_data())


def _recipes_by_data() -> dict[str, list[str]]:
    """The shipped recipes of each data set."""
    found: dict[str, list[str]] = {}
    for name in recipe_names():
        found.setdefault(load_recipe(name).about.data, []).append(name)
    return found


def _described(one: Dataset, recipes: dict[str, list[str]]) -> DataSet:
    return DataSet(
        name=one.name,
        title=one.title,
        license=one.license,
        num_classes=one.num_classes,
        num_images=one.num_images,
        source=one.source,
        recipes=tuple(recipes.get(one.name, ())),
    )
