"""What runs a bundle: one interface for torch and, later, for exported networks."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

EnginePrecision = Literal["32", "tf32", "bf16", "16", "int8"]
"""Number format that an engine computes in. "tf32" is fp32 with inputs rounded to ten bits."""

PrecisionChoice = Literal["auto", "32", "bf16"]
"""What a caller asks for. "auto" is bf16 where the machine multiplies in it, else 32."""


@runtime_checkable
class Engine(Protocol):
    """Pixels in, embeddings and logits out.

    An engine normalizes the pixels and averages over the mirror image where the bundle says so.
    Temperature, softmax and labels are the predictor's work.

    Attributes:
        name: For messages and reports, e.g. "torch on cpu, 32".
        precision: Decides how near to the golden outputs it must come.
    """

    @property
    def name(self) -> str:
        """For example "torch on cpu, 32"."""
        ...

    @property
    def precision(self) -> EnginePrecision:
        """Number format of the multiplications."""
        ...

    def run(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]:
        """Compute embeddings and logits of a batch of prepared images."""
        ...
