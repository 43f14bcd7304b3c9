"""What runs a bundle: one interface for torch and, later, for exported networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

EnginePrecision = Literal["32", "tf32", "bf16", "16", "int8"]
"""Number format that an engine computes in. "tf32" is fp32 with inputs rounded to ten bits."""

PrecisionChoice = Literal["auto", "32", "tf32", "bf16", "16", "int8"]
"""What a caller asks for. "auto" is the fastest that stays near the golden outputs, else 32; "16"
(fp16) and "int8" are of exported files alone."""

Images = UInt8[np.ndarray, "b s s 3"]
Outputs = tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]
"""Embeddings and logits of a batch."""


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

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        ...


@runtime_checkable
class AsyncEngine(Engine, Protocol):
    """An engine whose device may compute while the host prepares what comes next.

    Attributes:
        batch_size: Images that fill the device, for callers that name no number; None where a few
            do.
        most_begun: Batches to begin before the result of the first one is waited for: 1 where the
            device is the host itself.
        reads_pinned: Images in page-locked memory are copied faster.
    """

    @property
    def batch_size(self) -> int | None:
        """Images that fill the device, if it takes many."""
        ...

    @property
    def most_begun(self) -> int:
        """Batches to begin before the result of the first one is waited for."""
        ...

    @property
    def reads_pinned(self) -> bool:
        """Whether images in page-locked memory are copied faster."""
        ...

    def begin(self, images: Images) -> Callable[[], Outputs]:
        """Begin a batch; the result's call waits for it. Results are asked for in order."""
        ...
