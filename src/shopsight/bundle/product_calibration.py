"""How the answers for several photos of one product become its probabilities, in model.json."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MAIN_WEIGHT = 1.25
"""How much the main photo of a product counts, where each other photo counts 1.

Measured, see docs/log.md: equal weights are best where photos are alike, 1.5 where the others are
details; what this one loses to either is less than choosing by validation products does.
"""


class ProductCalibration(BaseModel):
    """What was fitted on validation products of several photos.

    Attributes:
        temperature: The weighted mean of a product's logits is divided by it. That of a product
            with one photo is divided by the temperature of photos.
        main_weight: How much the main photo counts; each other one counts 1.
        products: How many products of several photos it was fitted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0.0, le=1e6, allow_inf_nan=False)
    main_weight: float = Field(default=MAIN_WEIGHT, gt=0.0, le=1e3, allow_inf_nan=False)
    products: int = Field(ge=0)
