"""Golden outputs: the check that a model still computes what it computed when it was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.bundle.format import Golden
from shopsight.images.model_input import preprocess_image
from shopsight.inference.agreement import Agreement, Readout, agreement
from shopsight.inference.batches import run_batches
from shopsight.inference.engine import Engine, EnginePrecision
from shopsight.preprocess import Preprocess

# Largest distance from the fp32 outputs, as a fraction of how far the golden images' outputs lie
# from each other. In fp32 another machine's order of summation or another decoder's rounding stays
# far below; a wrong preprocessing, weight or label order is far above.
# `bench/bench_inference.py` measures both sides. Engines that round are judged by their answers,
# see `shopsight.inference.agreement`; this bounds how far their embeddings may move.
TOLERANCE: dict[EnginePrecision, float] = {
    "32": 0.01,
    "tf32": 0.05,
    "16": 0.05,
    "bf16": 0.35,
    "int8": 0.5,
}

# Of the images in one batch together: 64 images of 256 px.
_PIXELS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Verification:
    """How near an engine comes to the golden outputs.

    Attributes:
        ok: Both errors are within the tolerance; of an engine that rounds, the embeddings' error
            is, and its answers are the golden ones.
        engine: The engine's name.
        precision: The engine's precision.
        num_images: Number of golden images.
        embedding_error: Largest distance of an image's embedding from the golden one, as a
            fraction of the golden embeddings' spread (their root-mean-square distance from their
            mean).
        logit_error: The same of logits.
        tolerance: For the engine's precision.
        agreement: Whether the answers are the golden ones.
    """

    ok: bool
    engine: str
    precision: EnginePrecision
    num_images: int
    embedding_error: float
    logit_error: float
    tolerance: float
    agreement: Agreement

    def line(self) -> str:
        """One line for people."""
        if self.precision != "32":
            return (
                f"{self.engine}: {self.agreement.line()}; embeddings within "
                f"{self.embedding_error:.2g} (tolerance {self.tolerance:g})"
            )
        return (
            f"{self.engine}: logits within {self.logit_error:.2g}, embeddings within "
            f"{self.embedding_error:.2g} of the golden outputs on {self.num_images} images "
            f"(tolerance {self.tolerance:g})"
        )


def make_golden(engine: Engine, images: Sequence[bytes], preprocess: Preprocess) -> Golden:
    """Compute the golden outputs of some image files.

    Args:
        engine: Computes in fp32 on a CPU, see `shopsight.inference.torch_engine.reference_engine`.
        images: Bytes of each file.
        preprocess: How an image becomes the network's input.

    Raises:
        ImageError: A file cannot be decoded.
    """
    assert engine.precision == "32"
    embeddings, logits = _outputs(engine, images, preprocess)
    return Golden(tuple(images), logits, embeddings)


def verify_golden(
    engine: Engine, golden: Golden, preprocess: Preprocess, readout: Readout | None = None
) -> Verification:
    """Decode the golden files anew, run them, and compare with the stored outputs.

    Args:
        engine: What is checked.
        golden: The files and their outputs.
        preprocess: How an image becomes the network's input.
        readout: How logits become answers, for engines that round; None: at temperature 1.
    """
    embeddings, logits = _outputs(engine, golden.images, preprocess)
    tolerance = TOLERANCE[engine.precision]
    embedding_error = relative_error(embeddings, golden.embeddings)
    logit_error = relative_error(logits, golden.logits)
    answers = agreement(logits, golden.logits, readout or Readout())
    if engine.precision == "32":
        ok = max(embedding_error, logit_error) <= tolerance
    else:
        ok = embedding_error <= tolerance and answers.ok
    return Verification(
        ok=ok,
        engine=engine.name,
        precision=engine.precision,
        num_images=len(golden.images),
        embedding_error=embedding_error,
        logit_error=logit_error,
        tolerance=tolerance,
        agreement=answers,
    )


def _outputs(
    engine: Engine, images: Sequence[bytes], preprocess: Preprocess
) -> tuple[Float32[np.ndarray, "n w"], Float32[np.ndarray, "n c"]]:
    """Embeddings and logits of image files, of as many at once as are no larger than usual."""
    together = max(1, _PIXELS_AT_ONCE // preprocess.size_px**2)
    batches = (
        _preprocessed(images[first : first + together], preprocess, first)
        for first in range(0, len(images), together)
    )
    embeddings, logits = zip(*run_batches(engine, batches), strict=True)
    return np.concatenate(embeddings), np.concatenate(logits)


def _preprocessed(
    images: Sequence[bytes], preprocess: Preprocess, first: int
) -> UInt8[np.ndarray, "n s s 3"]:
    names = (f"golden {number}" for number in range(first, first + len(images)))
    # Files alone are kept, without boxes: what is compared is what computes.
    whole = preprocess.of_whole_images
    return np.stack(
        [
            preprocess_image(data, whole, where=name)
            for data, name in zip(images, names, strict=True)
        ]
    )


def relative_error(found: Float32[np.ndarray, "n d"], golden: Float32[np.ndarray, "n d"]) -> float:
    """Largest row of |found - golden|, relative to the spread of the golden rows.

    Rows g_i have the spread s = sqrt(mean_i |g_i - mean(g)|^2), so an error of 1 means that an
    output moved as far as two images differ, whatever the scale of the outputs. The length of
    the rows would not do as a scale: embeddings often have a large common offset, beside which
    every error looks small.
    """
    if found.shape != golden.shape or not np.isfinite(found).all():
        return float("inf")
    expected = golden.astype(np.float64)
    size = np.sqrt(np.square(expected).sum(1).mean())
    spread = np.sqrt(np.square(expected - expected.mean(0)).sum(1).mean())
    # One image has no spread, and a network that gives the same output for all hardly any.
    scale = max(spread, 1e-3 * size, 1e-12) if len(expected) > 1 else max(size, 1e-12)
    return float(np.sqrt(np.square(found - expected).sum(1)).max() / scale)
