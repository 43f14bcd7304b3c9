"""Leaves set from outside as `section.key=value`, and what is wrong with a tree of settings."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from shopsight.address_secrets import masked
from shopsight.errors import ConfigError

MOST_PROBLEMS = 100
"""Of a recipe, that are explained."""
_LONGEST_SHOWN = 200

# What settings were once called, for the suggestion only: a recipe with one of them is refused.
FORMER_NAMES = {
    "data.offline_share": "data.offline_fraction",
    "preprocess.size": "preprocess.size_px",
    "model.dropout": "model.head.dropout",
    "model.head_dropout": "model.head.hidden_dropout",
    "model.head_width": "model.head.hidden_dim",
    "training.start": "training.mode",
    "training.keep": "training.checkpoint",
    "training.sizes": "training.progressive_sizes_px",
    "training.accumulate": "training.grad_accumulation",
    "augment.hflip": "augment.hflip_prob",
    "augment.vflip": "augment.vflip_prob",
    "augment.warp": "augment.affine_prob",
    "augment.warp_kinds": "augment.affine_kinds",
    "augment.shift": "augment.translate",
    "augment.stretch": "augment.aspect_jitter",
    "augment.color": "augment.color_jitter_prob",
    "augment.colour": "augment.color_jitter_prob",
    "augment.colour_kinds": "augment.color_kinds",
    "augment.noise": "augment.noise_prob",
    "augment.blur": "augment.blur_prob",
    "augment.erase": "augment.random_erasing_prob",
    "augment.erase_area": "augment.random_erasing_area",
    "augment.mix": "augment.mix_prob",
    "evaluation.flip": "evaluation.tta_hflip",
}


def set_leaf(tree: dict[str, Any], override: str) -> None:
    """Set one leaf of a tree of tables from `section.key=value`.

    Args:
        tree: Changed in place; missing sections are added. Keys are not checked here.
        override: The value is TOML; what is not valid TOML is text, and `none` is unset.

    Raises:
        ConfigError: There is no "=", or a value stands where a section is needed.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(
            f"{override!r} is not of the form key=value",
            where="--set",
            fix="--set training.epochs=8",
        )
    *parents, leaf = key.strip().split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{parent!r} in {key!r} is a value, not a section", where="--set")
    node[leaf] = _toml_value(text.strip())


def shown_override(override: str) -> str:
    """A `key=value` from outside as errors name it."""
    shown = masked(override)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def leaves(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a tree of settings as (dotted name, value), in the order of the tree."""
    for name in type(value).model_fields:
        item = getattr(value, name)
        if isinstance(item, BaseModel):
            yield from leaves(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def explain(error: ValidationError, defaults: BaseModel) -> list[str]:
    """Return one line per problem: the key, what is wrong, the value or what was meant.

    Of thousands, the first `MOST_PROBLEMS` are explained.

    Args:
        error: What validation said about a tree.
        defaults: A valid tree, which knows the names of all settings.
    """
    names = [name for name, _ in leaves(defaults)]
    problems: dict[tuple[str, str], Any] = {}
    for problem in error.errors()[:MOST_PROBLEMS]:
        if problem["type"] == "path_type":
            # Pydantic names Python's class.
            problem["msg"] = "Input should be a path"
        # A value for which there are several types has a problem with each: one line says all.
        path = [str(part) for part in problem["loc"]]
        setting = _setting(path, names)
        key = (setting if setting in names else ".".join(path), repr(problem.get("input")))
        if key in problems:
            problems[key]["msg"] += f", or {problem['msg'][0].lower()}{problem['msg'][1:]}"
        else:
            problems[key] = dict(problem)
    return [_explain(problem, names) for problem in problems.values()]


def _toml_value(text: str) -> Any:
    # `--set model.backbone=timm:resnet18` must work without TOML's quotes.
    try:
        found = tomllib.loads(f"value = {text}")
    # Python's own error is raised for an integer of thousands of digits.
    except (ValueError, RecursionError):
        return None if text.lower() == "none" else text
    # After a line end there may be more than a value.
    return found["value"] if len(found) == 1 else text


def _explain(problem: Any, names: Sequence[str]) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _explain_unknown(path, names)
    key = _setting(path, names)
    value = problem.get("input")
    shown = "" if isinstance(value, dict) else f" (got {_shown(value)})"
    if problem["type"] == "model_type":
        first = next(name for name in names if name.startswith(f"{key}."))
        return f"{key}: is a section, not a value{shown}; did you mean {first}?"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _setting(path: Sequence[str], names: Sequence[str]) -> str:
    """Return the setting that a problem is about.

    After a setting's own name pydantic's path names the branch of a union, or the index of an
    item: the longest beginning that is a setting is the name to show.
    """
    beginnings = [".".join(path[:length]) for length in range(len(path), 0, -1)]
    return next((name for name in beginnings if name in names), ".".join(path) or "recipe")


def _explain_unknown(path: Sequence[str], names: Sequence[str]) -> str:
    key = ".".join(path)
    # The right key in the wrong section is the commonest slip.
    near = [name for name in names if name.rpartition(".")[2] == path[-1]]
    if key in FORMER_NAMES:
        near = [FORMER_NAMES[key]]
    elif not near:
        sections = dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name)
        near = difflib.get_close_matches(key, [*sections, *names], n=1, cutoff=0.6)
    return f"{key}: no such setting" + (f"; did you mean {near[0]}?" if near else "")
