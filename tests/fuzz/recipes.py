"""Recipes as people edit them: a value of another type, a key that is not known, broken files."""

from __future__ import annotations

import math
from typing import Any

import tomli_w
from hypothesis import strategies as st

from shopsight.config.recipe import Recipe

QUICK: dict[str, Any] = {
    "model": {"backbone": "shopsight:fashion_cnn"},
    "preprocess": {"size_px": 28},
    "training": {"mode": "scratch", "epochs": 1, "batch_size": 16, "precision": "32"},
    "data": {"val": 0.2, "test": 0.2},
}
"""A small net from scratch for one epoch."""
ODD_VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, -1, 0.5, -0.1, 1e308, math.inf, -math.inf, math.nan, 2**62, True, False),
    *(
        "",
        "auto",
        "none",
        "x",
        "cpu",
        "32",
        "\0",
        "\u00e9",
        "../..",
        "a" * 3000,
        "timm:no_such_net",
    ),
    *([], [1], [0.5, 0.1], [1, 2, 3], ["x"], [[]], {}, {"x": 1}, {"shoe": 2.0}, {"shoe": -1.0}),
    *(
        "shopsight:no_such",
        "embedded:",
        ":",
        "nowhere.safetensors",
        "probe",
        "frozen",
        "raw",
        "jpeg",
    ),
)


def leaves(settings: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of the values of a nested table."""
    found = []
    for key, value in settings.items():
        found += (
            leaves(value, (*path, key)) if isinstance(value, dict) and value else [(*path, key)]
        )
    return found


LEAVES = leaves(Recipe().model_dump(mode="json"))
# Nobody waits for a test of a million epochs, and 10,000 px of side take all memory.
LARGE = {
    "epochs",
    "size_px",
    "progressive_sizes_px",
    "count",
    "width_factor",
}


def with_value(settings: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The settings with one more value."""
    first, *others = path
    below = settings.get(first)
    if not others:
        return settings | {first: value}
    inner = with_value(below if isinstance(below, dict) else {}, tuple(others), value)
    return settings | {first: inner}


def is_large(value: Any) -> bool:
    """Whether it would take hours."""
    numbers = value if isinstance(value, list) else [value]
    return any(isinstance(one, int | float) and not abs(one) <= 64 for one in numbers)


@st.composite
def settings(draw: st.DrawFn) -> tuple[tuple[str, ...], Any]:
    """A key, mostly one that exists, and a value."""
    path = draw(st.sampled_from(LEAVES))
    value = draw(st.sampled_from(ODD_VALUES))
    if path[-1] in LARGE and is_large(value):
        value = -1
    if draw(st.integers(0, 9)) == 0:
        path = (*path, "more") if draw(st.booleans()) else (path[0], "no_such_key")
    return path, value


@st.composite
def recipes(draw: st.DrawFn) -> bytes:
    """The bytes of a recipe's file."""
    tree = QUICK
    for _ in range(draw(st.integers(1, 2))):
        path, value = draw(settings())
        tree = with_value(tree, path, value)
    text = tomli_w.dumps(tree)
    accident = draw(st.integers(0, 15))
    if accident == 0:
        return draw(st.binary(max_size=40))
    if accident == 1:
        return text.encode("utf-16")
    if accident == 2:
        return b"\xef\xbb\xbf" + text.encode("utf-8")
    if accident == 3:
        return text[: draw(st.integers(0, len(text)))].encode("utf-8")
    if accident == 4:
        return text.replace("\n", "\r").encode("utf-8")
    if accident == 5:
        return (text + text).encode("utf-8")
    return text.encode("utf-8")


@st.composite
def set_flags(draw: st.DrawFn) -> list[str]:
    """`--set` with a value as it is typed."""
    words = []
    for _ in range(draw(st.integers(0, 2))):
        path, value = draw(settings())
        text = (
            str(value) if draw(st.booleans()) else tomli_w.dumps({"x": value}).removeprefix("x = ")
        )
        form = draw(st.sampled_from(["{}={}", "{}={}", "{}={}", "{}", "={1}", "{} = {}", "{}=={}"]))
        words += ["--set", form.format(".".join(path), text.strip().replace("\0", ""))]
    return words
