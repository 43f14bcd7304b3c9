"""What the sections of a recipe have in common: a frozen value, and the ranges of numbers.

Each section is a class, whose docstring says what its keys mean, in their units.
`shopsight.config.recipe.Recipe` puts the sections together and checks what they say about each
other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shopsight.config.reach import NOTHING

Auto = Literal["auto"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Bound = Annotated[float, Field(ge=0.0, le=1000.0)]
Span = tuple[Bound, Bound]
SizePx = Annotated[int, Field(ge=8, le=4096)]
Text = Annotated[str, Field(max_length=10_000), NOTHING]
"""Shown, and no more."""


class Section(BaseModel):
    """A frozen value that refuses unknown keys, and checks its own defaults too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
