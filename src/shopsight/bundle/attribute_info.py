"""What a bundle says of its attributes; part of model.json.

    attributes.safetensors   a linear head for each attribute: 0.weight, 0.bias, 1.weight, ...

Each head reads the embedding of an image. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shopsight.bundle.embedding_space import Digest
from shopsight.bundle.product_calibration import ProductCalibration

ATTRIBUTES_FILE = "attributes.safetensors"
MOST_HEADS = 200
MOST_VALUES = 100_000
"""Of one attribute."""

_Name = Annotated[str, Field(min_length=1, max_length=1000)]
_Value = Annotated[str, Field(min_length=1, max_length=4096)]
_Chance = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class AttributeHead(BaseModel):
    """One attribute.

    Attributes:
        name: of its column.
        values: what it can be, in the order of the logits.
        several: an image may have several values: sigmoid instead of softmax.
        temperature: logits are divided by it before they become probabilities.
        doubt: see `shopsight.bundle.format.BundleInfo`.
        thresholds: with several values, the probability from which each is given, where it is not
            one half.
        least_confidence: with one value, the confidence from which it is given; None gives none.
        labels: where it applies; None: to every label.
        by_product: how several photos of one product are read.
        num_train: training images that have a value.
        num_val: validation images that have one; without any, nothing was calibrated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name
    values: tuple[_Value, ...] = Field(min_length=2, max_length=MOST_VALUES)
    several: bool = False
    temperature: float = Field(default=1.0, gt=0.0, le=1e6, allow_inf_nan=False)
    doubt: float = Field(default=0.0, ge=0.0, lt=1.0, allow_inf_nan=False)
    thresholds: dict[_Value, _Chance] = Field(default={}, max_length=MOST_VALUES)
    least_confidence: _Chance | None = 0.0
    labels: tuple[_Value, ...] | None = Field(default=None, max_length=1_000_000)
    by_product: ProductCalibration | None = None
    num_train: int = Field(default=0, ge=0)
    num_val: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _values_differ(self) -> AttributeHead:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"{self.name}: a value occurs twice")
        if unknown := set(self.thresholds) - set(self.values):
            raise ValueError(f"{self.name}: thresholds of no value: {sorted(unknown)[:5]}")
        return self


class AttributesInfo(BaseModel):
    """All attributes of a bundle.

    Attributes:
        heads: in the order of their tensors.
        sha256: of attributes.safetensors. Filled in by `write_bundle`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: tuple[AttributeHead, ...] = Field(min_length=1, max_length=MOST_HEADS)
    sha256: Digest = "0" * 64

    @model_validator(mode="after")
    def _names_differ(self) -> AttributesInfo:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names):
            raise ValueError("an attribute occurs twice")
        return self

    @property
    def num_logits(self) -> int:
        """Of all heads."""
        return sum(len(head.values) for head in self.heads)


@dataclass(frozen=True, eq=False)
class AttributePart:
    """The heads with their weights.

    Attributes:
        info: their description.
        tensors: "0.weight" (values, width) and "0.bias" of the first head, and so on; fp32.
    """

    info: AttributesInfo
    tensors: Mapping[str, np.ndarray]

    def logits(self, embeddings: Float32[np.ndarray, "n w"]) -> list[Float32[np.ndarray, "n _"]]:
        """What each head says of these embeddings."""
        return [
            embeddings @ self.tensors[f"{number}.weight"].T + self.tensors[f"{number}.bias"]
            for number in range(len(self.info.heads))
        ]

    def misfits(self, embedding_dim: int) -> list[str]:
        """What is wrong with the tensors, for embeddings of so many numbers."""
        wanted: dict[str, tuple[int, ...]] = {}
        for number, head in enumerate(self.info.heads):
            count = len(head.values)
            wanted |= {f"{number}.weight": (count, embedding_dim), f"{number}.bias": (count,)}
        wrong = [f"no tensor {name}" for name in wanted.keys() - self.tensors.keys()]
        wrong += [f"a tensor {name} of no attribute" for name in self.tensors.keys() - wanted]
        for name in sorted(wanted.keys() & self.tensors.keys()):
            one = self.tensors[name]
            if one.shape != wanted[name] or one.dtype != np.float32 or not np.isfinite(one).all():
                wrong.append(
                    f"{name} of shape {one.shape} and type {one.dtype}, not {wanted[name]} finite "
                    "numbers of float32"
                )
        return sorted(wrong)
