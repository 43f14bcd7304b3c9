"""Command lines of the verbs that take names instead of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import inputs
from tests.fuzz.cells import ODD_IMAGES
from tests.fuzz.folders import ODD_NAMES, Tree, make, trainable
from tests.fuzz.harness import Fuzz
from tests.fuzz.options import PLACES as PATHS

pytestmark = pytest.mark.slow

WORDS = (
    *("shopsight:fashion_cnn", "timm:resnet10t", "timm:no_such_net", "timm:", ":", "", " ", "x"),
    *("fashion-mnist", "fashion_mnist", "synthetic", "photos", "nowhere", "nowhere/at/all", "fast"),
    *("embedded:no_such", "no_library:x", "shopsight:fashion_cnn,timm:no_such_net", ",", "../x"),
    *("--json", "--out", "--help", "-h", "--no-such-flag", "-1", "0", "1e9", "nan", "x" * 3000),
    *("C:\\x", "\u00e9"),
)
VERBS = (
    *("data", "recipes", "profile", "recommend", "compare", "doctor", "audit", "split", "wizardry"),
)
PLACES = tuple(
    name for name in (*ODD_IMAGES, *ODD_NAMES, *PATHS) if isinstance(name, str) and "\0" not in name
)
"""What may be typed as DATA."""


@given(
    data=st.lists(st.sampled_from(PLACES), min_size=1, max_size=3),
    verb=st.sampled_from(["audit", "split", "train", "evaluate", "predict", "predict", "profile"]),
)
@inputs("places")
def test_places(fuzz: Fuzz, tiny_run: Path, data: list[str], verb: str) -> None:
    """What is typed as DATA names nothing, or something that cannot be read."""
    with fuzz.input() as case:
        ends = {
            "split": ["--out", case.outputs / "split.csv"],
            "train": ["--out", case.outputs / "r"],
        }
        model = [tiny_run] if verb in {"evaluate", "predict"} else []
        several = data if verb == "predict" else data[:1]
        case.run(verb, *model, *ends.get(verb, []), "--", *several)


@given(
    tree=trainable(),
    verb=st.sampled_from(VERBS),
    words=st.lists(st.sampled_from(WORDS), max_size=4),
    more=st.sampled_from(
        [
            [],
            ["--latency-ms", "1000", "--backbones", "shopsight:fashion_cnn"],
            ["--latency-ms", "nan"],
            ["--backbones", "shopsight:fashion_cnn"],
            ["--size", "0"],
            ["--size", "28", "--classes", "3"],
            ["--split", "nothing"],
        ]
    ),
)
@inputs("words")
def test_words(fuzz: Fuzz, tree: Tree, verb: str, words: list[str], more: list[str]) -> None:
    with fuzz.input() as case:
        make(tree, case.inputs)
        places = ["--out", str(case.outputs / "found")] if verb in {"recommend", "compare"} else []
        case.run(verb, *words, *more, *places)
