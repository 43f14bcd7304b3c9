from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from pydantic import ValidationError

from shopsight.bundle.format import BundleInfo, library_versions
from shopsight.preprocess import Preprocess


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ()}, "at least 1 item"),
        ({"labels": ("a", "a")}, "a label occurs twice"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"temperature": float("nan")}, "finite number"),
        ({"thresholds": {"b": 0.5}}, r"no such labels: \['b'\]"),
        ({"members": 3}, "not a multiple of the number of members"),
        ({"width": 4}, "Extra inputs are not permitted"),
    ],
)
def test_info_refuses_what_makes_no_sense(changes: dict[str, Any], said: str) -> None:
    good = {
        "backbone": "x",
        "weights": "",
        "labels": ("a",),
        "preprocess": Preprocess(),
        "embedding_dim": 4,
    }
    BundleInfo.model_validate(good)
    with pytest.raises(ValidationError, match=said):
        BundleInfo.model_validate(good | changes)


def test_versions_of_the_libraries_that_are_installed() -> None:
    found = library_versions()
    assert found["numpy"] == version("numpy")
    assert {"python", "shopsight", "torch", "timm", "pillow"} <= found.keys()
