"""What runs a bundle: one interface for torch and, later, for exported networks."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

Precision = Literal["32", "tf32", "bf16", "16", "int8"]


@runtime_checkable
class Engine(Protocol):
    """Pixels in, embeddings and logits out.

    Normalization and the average over the mirror image are the engine's part; temperature,
    softmax and labels are not.

    Attributes:
        name: for messages and reports, e.g. "torch on cpu".
        precision: what it computes in; decides how near to the golden outputs it must come.
    """

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> Precision: ...

    def run(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]: ...
