"""Every setting that could name a file, an address or a place says what it reaches."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from shopsight.config.reach import reach_of, reaching
from shopsight.config.recipe import Recipe, load_recipe
from shopsight.errors import ConfigError, LocationError
from shopsight.head_settings import HeadSettings
from shopsight.read_options import ReadOptions


def _sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for info in section.model_fields.values():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _sections(info.annotation)


def _types(annotation: object) -> Iterator[object]:
    """All types in an annotation; those of a `Literal` are values, not types."""
    yield annotation
    if typing.get_origin(annotation) is not typing.Literal:
        for part in typing.get_args(annotation):
            yield from _types(part)


def test_each_free_text_says_what_it_reaches() -> None:
    options = {option.name for option in fields(ReadOptions)}
    sections = list(_sections(Recipe))
    assert HeadSettings in sections
    assert len(sections) > 14
    unmarked = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, info in section.model_fields.items()
        if name not in options
        and {str, Path} & set(_types(info.annotation))
        and reach_of(section, name) is None
    ]
    assert unmarked == []


def test_each_path_and_each_permission_of_the_data_is_marked() -> None:
    hints = typing.get_type_hints(ReadOptions)
    reaches = {option.name: option.metadata["reaches"] for option in fields(ReadOptions)}
    paths = {name for name, hint in hints.items() if Path in set(_types(hint))}
    assert paths == {"images_root", "root", "label_map"}
    assert {reaches[name] for name in paths} == {"reads"}
    permissions = {name for name in reaches if name.startswith("allow_")}
    assert permissions
    assert {reaches[name] for name in permissions} == {"allows"}


def test_what_a_recipe_reaches() -> None:
    assert {key for key, _, _ in reaching(Recipe())} >= {
        "about.data",
        "data.images_root",
        "data.label_map",
        "data.root",
        "data.allow_private",
        "model.backbone",
        "model.weights",
        "tracking.tracker",
        "tracking.project",
        "tracking.location",
    }


@pytest.mark.parametrize(
    "setting",
    [
        "training.batch_size=1000000000000",
        "training.epochs=1000000000",
        "training.grad_accumulation=1000000000",
        "training.progressive_sizes_px=[1000000]",
        "training.time_limit_s=inf",
        "training.gradient_clip=nan",
        "preprocess.size_px=1000000",
        "preprocess.size_px=0",
        "preprocess.mean=[nan, 0, 0]",
        "model.head.hidden_dim=1000000000",
        "optimizer.lr=inf",
        "augment.scale=[nan, 1.0]",
        "augment.blur_px=100001",
        "evaluation.top_k=1000000000000",
        "evaluation.calibration_bins=1000000000",
        "folds.count=1000",
        "hardware.num_nodes=1000000000",
        "seed=9223372036854775807",
    ],
)
def test_numbers_have_limits(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"settings? cannot be used") as caught:
        load_recipe("fast", [setting])
    assert setting.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 100_000, "[" * 100_000, "a = 1\na = 2", "a." * 20_000 + "a = 1", "a = '\0'"],
)
def test_hostile_toml(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        load_recipe(path)


def test_a_recipe_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("# " + "a" * (5 << 20), encoding="utf-8")
    with pytest.raises(LocationError, match="more than"):
        load_recipe(path)
