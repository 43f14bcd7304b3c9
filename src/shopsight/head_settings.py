"""The classification head as one value, shared by the recipe and the bundle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

HeadKind = Literal["linear", "mlp", "cosine", "direction"]
HiddenDropout = Annotated[float, Field(ge=0.0, le=1.0)]


class HeadSettings(BaseModel):
    """What builds a head: `[model.head]` of a recipe and `head` of a bundle's model.json.

    `shopsight.models.heads.create_head` turns it into a network.

    Attributes:
        kind: "linear" is one layer, "mlp" two hidden layers before it, "cosine" compares the
            embedding's direction with one learned direction per class, "direction" is one layer
            after the embedding is made a unit vector, as zero-shot classes need it.
        dropout: Probability on the embedding, before any head but "mlp".
        hidden_dim: Width of the two hidden layers of an "mlp" head.
        hidden_dropout: Probability after each of these two layers.
        scale: Logits of a "cosine" head are cosines times this.
        learned_scale: Whether training changes the scale.
        subcenters: Directions of each class in a "cosine" head, the nearest of which counts: for
            classes of several looks, or with wrong labels among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    kind: HeadKind = "linear"
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    hidden_dim: int = Field(default=512, ge=1, le=65_536)
    hidden_dropout: tuple[HiddenDropout, HiddenDropout] = (0.4, 0.5)
    scale: float = Field(default=16.0, gt=0.0, le=10_000.0, allow_inf_nan=False)
    learned_scale: bool = True
    subcenters: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _has_subcenters(self) -> HeadSettings:
        if self.subcenters > 1 and self.kind != "cosine":
            raise ValueError(f"subcenters: a head of kind {self.kind!r} has none")
        return self
