from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shopsight.bundle.format import BundleInfo
from shopsight.config.recipe import Recipe
from shopsight.head_settings import HeadSettings


def test_recipe_and_bundle_hold_the_same_value() -> None:
    assert type(Recipe().model.head) is HeadSettings
    assert BundleInfo.model_fields["head"].annotation is HeadSettings


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "cubic"},
        {"dropout": 1.0},
        {"hidden_dim": 0},
        {"hidden_dropout": (0.1, 1.5)},
        {"hidden_dropout": (0.1,)},
        {"width": 3},
    ],
)
def test_settings_that_no_head_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HeadSettings.model_validate(changes)
