"""A text encoder that begins with random weights, as one value of the recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NewTextSettings(BaseModel):
    """What builds a new text encoder: `[model.new_text]` of a recipe.

    `shopsight.backbones.new_text_tower` turns it into a network.

    Attributes:
        tokens: "clip" cuts texts as CLIP does; "words" as the table of the extra `words`, whose
            vectors then are the first ones of its tokens, `width` numbers each.
        width: Numbers of a token.
        layers: Of attention.
        heads: Of each attention.
        context_length: Tokens of a text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    tokens: Literal["clip", "words"] = "words"
    width: int = Field(default=256, ge=8, le=8192)
    layers: int = Field(default=2, ge=1, le=100)
    heads: int = Field(default=4, ge=1, le=128)
    context_length: int = Field(default=32, ge=3, le=1024)

    @model_validator(mode="after")
    def _fits(self) -> NewTextSettings:
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} is not a multiple of heads = {self.heads}")
        if self.tokens == "words" and self.width != TABLE_WIDTH:
            raise ValueError(f"tokens = 'words' have width = {TABLE_WIDTH}")
        return self


TABLE_WIDTH = 256
"""Numbers in a vector of the table of words."""
