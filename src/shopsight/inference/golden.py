"""Golden outputs: the proof that a model still computes what it computed when it was made."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.bundle.bundle import Golden
from shopsight.images.model_input import preprocess_image
from shopsight.inference.engine import Engine, Precision
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess

# Largest distance from the fp32 outputs, as a share of how far the golden images' outputs lie
# from each other. Another machine's order of summation or another decoder's rounding stays far
# below; a wrong preprocessing, weight or label order is far above. `bench/bench_inference.py`
# measures both sides.
TOLERANCE: dict[Precision, float] = {
    "32": 0.01,
    "tf32": 0.05,
    "16": 0.05,
    "bf16": 0.25,
    "int8": 0.5,
}


@dataclass(frozen=True)
class Verification:
    """How near an engine comes to the golden outputs.

    Attributes:
        ok: both errors are within the tolerance.
        embedding_error, logit_error: largest distance of an image's output from the golden one,
            as a share of the golden outputs' spread (their root-mean-square distance from their
            mean).
        tolerance: for the engine's precision.
        images: number of golden images.
    """

    ok: bool
    engine: str
    precision: Precision
    images: int
    embedding_error: float
    logit_error: float
    tolerance: float

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.engine}: logits within {self.logit_error:.2g}, embeddings within "
            f"{self.embedding_error:.2g} of the golden outputs on {self.images} images "
            f"(tolerance {self.tolerance:g})"
        )


def make_golden(model: ProductModel, images: Sequence[bytes]) -> Golden:
    """Run files through a copy of the network, in fp32 on the CPU.

    Raises:
        ImageError: a file cannot be decoded.
    """
    engine = TorchEngine(copy.deepcopy(model).float(), device="cpu", precision="32")
    embeddings, logits = engine.run(_preprocessed(images, model.preprocess))
    return Golden(tuple(images), logits, embeddings)


def verify(engine: Engine, golden: Golden, preprocess: Preprocess) -> Verification:
    """Decode the golden files anew, run them, and compare."""
    embeddings, logits = engine.run(_preprocessed(golden.images, preprocess))
    tolerance = TOLERANCE[engine.precision]
    embedding_error = _error(embeddings, golden.embeddings)
    logit_error = _error(logits, golden.logits)
    return Verification(
        ok=max(embedding_error, logit_error) <= tolerance,
        engine=engine.name,
        precision=engine.precision,
        images=len(golden.images),
        embedding_error=embedding_error,
        logit_error=logit_error,
        tolerance=tolerance,
    )


def _preprocessed(images: Sequence[bytes], preprocess: Preprocess) -> UInt8[np.ndarray, "n s s 3"]:
    return np.stack(
        [preprocess_image(data, preprocess, where=f"golden {n}") for n, data in enumerate(images)]
    )


def _error(found: Float32[np.ndarray, "n d"], golden: Float32[np.ndarray, "n d"]) -> float:
    if found.shape != golden.shape or not np.isfinite(found).all():
        return float("inf")
    expected = golden.astype(np.float64)
    size = np.sqrt(np.square(expected).sum(1).mean())
    spread = np.sqrt(np.square(expected - expected.mean(0)).sum(1).mean())
    # One image has no spread, and a network that says the same to all hardly any.
    scale = max(spread, 1e-3 * size, 1e-12) if len(expected) > 1 else max(size, 1e-12)
    return float(np.sqrt(np.square(found - expected).sum(1)).max() / scale)
