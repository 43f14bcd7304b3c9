"""A trained model at work: images in, labels with probabilities or embeddings out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.special import expit, softmax

from shopsight.bundle.bundle import BundleInfo, Golden
from shopsight.errors import BundleError, ImageError
from shopsight.inference.engine import Engine
from shopsight.inference.golden import Verification, verify
from shopsight.inference.inputs import ImageInputs, Prepared, prepare_inputs
from shopsight.preprocess import Preprocess
from shopsight.runtime import retain_freed_memory

OnError = Literal["report", "raise"]
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

    Attributes:
        source: its path, or "image 3" for the third of images without a name.
        labels: the most probable ones, best first; empty when it failed.
        probabilities: theirs, calibrated by the bundle's temperature.
        assigned: the labels it gets: the best one, or with several labels per image all that
            reach their threshold.
        error: why it could not be read, else None.
        reason: the error in a word: "missing", "truncated", ...
    """

    source: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    predicted_labels: tuple[str, ...] = ()
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Embedding:
    """One image's embedding, or why there is none."""

    source: str
    vector: Float32[np.ndarray, "w"] | None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class _Outcome:
    source: str
    error: ImageError | None
    embedding: Float32[np.ndarray, "w"]
    logits: Float32[np.ndarray, "c"]


class Predictor:
    """A bundle, run by an engine. See `shopsight.load`.

    Attributes:
        engine: what computes.
        info: everything else that the bundle says.
    """

    def __init__(self, engine: Engine, info: BundleInfo, *, golden: Golden | None = None) -> None:
        self.engine = engine
        self.info = info
        self._golden = golden

    @property
    def labels(self) -> tuple[str, ...]:
        return self.info.labels

    @property
    def preprocess(self) -> Preprocess:
        return self.info.preprocess

    @property
    def temperature(self) -> float:
        return self.info.temperature

    def predict_batch(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]:
        """Embeddings and logits of prepared images."""
        return self.engine.run(images)

    def probabilities(self, logits: Float32[np.ndarray, "b c"]) -> Float64[np.ndarray, "b c"]:
        """Calibrated probabilities: softmax, or sigmoid with several labels per image."""
        calibrated = np.asarray(logits, np.float64) / self.info.temperature
        # From scipy and not by shopsight.metrics, which brings scikit-learn: a second to import.
        probabilities: Float64[np.ndarray, "b c"] = (
            expit(calibrated) if self.info.multilabel else softmax(calibrated, axis=1)
        )
        return probabilities

    def predict(
        self,
        images: ImageInputs,
        *,
        top: int = 5,
        batch_size: int = 32,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Label images: paths, URLs, bytes, PIL images, uint8 arrays, folders, or any mix.

        Gives one `Prediction` per image, in their order, while they stream: memory does not
        grow with their number.

        Args:
            top: how many labels are named.
            on_error: "report" gives a Prediction with its `error`; "raise" stops.
            threads: that decode; None is one per core, at most eight.

        Raises:
            ImageError: an image cannot be read and `on_error` is "raise".
            CatalogError: a folder cannot be read.
        """
        for outcome in self._outcomes(images, batch_size, on_error, threads):
            if outcome.error is not None:
                yield Prediction(
                    outcome.source, error=str(outcome.error), reason=outcome.error.reason
                )
            else:
                yield self._prediction(outcome.source, outcome.logits, top)

    def embed(
        self,
        images: ImageInputs,
        *,
        batch_size: int = 32,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Embeddings of images; takes and gives what `predict` does.

        Raises:
            ImageError: an image cannot be read and `on_error` is "raise".
            CatalogError: a folder cannot be read.
        """
        for outcome in self._outcomes(images, batch_size, on_error, threads):
            if outcome.error is not None:
                yield Embedding(outcome.source, None, error=str(outcome.error))
            else:
                yield Embedding(outcome.source, outcome.embedding)

    def verify(self) -> Verification:
        """Run the bundle's golden files and compare with the outputs stored beside them.

        Raises:
            BundleError: this predictor was made without a bundle.
        """
        if self._golden is None:
            raise BundleError("no golden outputs: this model was not loaded from a bundle")
        return verify(self.engine, self._golden, self.preprocess)

    def _outcomes(
        self, images: ImageInputs, batch_size: int, on_error: OnError, threads: int | None
    ) -> Iterator[_Outcome]:
        # While one batch computes, the next one decodes.
        prepared = prepare_inputs(images, self.preprocess, window=2 * batch_size, threads=threads)
        checked = _checked(prepared, on_error)
        batches = iter(lambda: tuple(islice(checked, batch_size)), ())
        first = next(batches, ())
        # Not for an image or two: returning the memory would take longer than it saves.
        with retain_freed_memory() if len(first) == batch_size else nullcontext():
            for batch in chain([first], batches):
                yield from self._run(batch)

    def _run(self, batch: tuple[Prepared, ...]) -> Iterator[_Outcome]:
        pixels = [one.pixels for one in batch if one.pixels is not None]
        nothing = np.empty(0, np.float32)
        outputs = self.engine.run(np.stack(pixels)) if pixels else (nothing, nothing)
        rows = zip(*outputs, strict=True)
        for one in batch:
            embedding, logits = next(rows) if one.error is None else (nothing, nothing)
            yield _Outcome(one.source, one.error, embedding, logits)

    def _prediction(self, ref: str, logits: Float32[np.ndarray, "c"], top: int) -> Prediction:
        probabilities = self.probabilities(logits[None])[0]
        best = np.argsort(-probabilities, kind="stable")
        if self.info.multilabel:
            thresholds = self.info.thresholds
            predicted_labels = tuple(
                self.labels[place]
                for place in best
                if probabilities[place] >= thresholds.get(self.labels[place], DEFAULT_THRESHOLD)
            )
        else:
            predicted_labels = (self.labels[best[0]],)
        named = best[:top]
        return Prediction(
            ref,
            tuple(self.labels[place] for place in named),
            tuple(float(probabilities[place]) for place in named),
            predicted_labels,
        )


def _checked(prepared: Iterator[Prepared], on_error: OnError) -> Iterator[Prepared]:
    for one in prepared:
        if one.error is not None and on_error == "raise":
            raise one.error
        yield one
