"""What stands between the backbone and its embedding, as one value of the recipe and the bundle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NeckKind = Literal[
    "none", "linear", "bnneck", "linear-bn-prelu", "dropout-linear", "bn-dropout-linear-linear"
]


class NeckSettings(BaseModel):
    """What builds a neck: `[model.neck]` of a recipe and `neck` of a bundle's model.json.

    The embedding is what the neck gives. `shopsight.backbones.necks` turns it into layers.

    Attributes:
        kind: "none"; "linear", one layer; "bnneck", a normalization over the batch without a shift
            (Luo et al. 2019); the others are the layers of their names, in that order.
        embedding_dim: Numbers in the embedding; unset: as many as the backbone gives.
        dropout: Probability, in the kinds with a dropout.
        pool: "own" is the backbone's pooling; "gem" the generalized mean with a learned exponent
            (Radenovic et al. 2019), for networks that pool over positions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    kind: NeckKind = "none"
    embedding_dim: Annotated[int, Field(ge=2, le=65_536)] | None = None
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    pool: Literal["own", "gem"] = "own"

    @model_validator(mode="after")
    def _has_a_layer_for_its_settings(self) -> NeckSettings:
        if self.embedding_dim is not None and self.kind in ("none", "bnneck"):
            raise ValueError(f"embedding_dim: kind {self.kind!r} has no layer that changes it")
        if self.dropout and "dropout" not in self.kind:
            raise ValueError(f"dropout: kind {self.kind!r} has none")
        return self

    @property
    def is_none(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.kind == "none" and self.pool == "own"


NO_NECK = NeckSettings()
"""The backbone's output is the embedding."""
