"""A trained model at work: images in, labels with probabilities or embeddings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from shopsight.bundle.attribute_info import AttributePart
from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.unknown_info import UnknownPart
from shopsight.errors import BundleError, ConfigError
from shopsight.inference.agreement import Readout
from shopsight.inference.attribute_answers import AttributeAnswer, AttributeReader
from shopsight.inference.batches import run_batches
from shopsight.inference.best_labels import best_labels
from shopsight.inference.engine import Engine, Images, Outputs
from shopsight.inference.golden import Verification, verify_golden
from shopsight.inference.image_runner import ImageRunner, OnError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.inputs import Prepared
from shopsight.inference.unknown_answers import UnknownAnswer, UnknownReader
from shopsight.io.access import PUBLIC, Access
from shopsight.label_tree import LEAST_CONFIDENCE, LabelTree
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.text import listed


@dataclass(frozen=True)
class Prediction:
    """The model's labels for one image.

    Attributes:
        source: Its path, or "image 3" for the third of images without a name.
        labels: The most probable ones, best first; empty when the image could not be read.
        probabilities: Probabilities of `labels`, calibrated on the validation images; with few of
            them none comes near 1.
        predicted_labels: The labels it gets: the best one, or of a multilabel model all that
            reach their threshold.
        error: Why the image could not be read, else None.
        reason: The error in a word: "missing", "truncated", ...
        damaged: Of an image that was labeled although its file is damaged: what the decoder says;
            None of a file that is whole.
        row: Of a table, its row, counted from 0; else None.
        name: Of a table, the image as the table names it; else None.
        node: Where a confidence was asked for and labels are paths: the deepest path that is as
            probable, "" where not even its first name is; else None.
        node_probability: Of `node`: the sum over the labels at it and below it; 1 of "".
        attributes: Where the model has attributes, each of them in their order.
        unknown: Where the model may answer "unknown": whether it does, its score, and the set of
            labels that holds the right one as often as was asked; else None.
        access: Which hosts in private networks may be asked when the image is read again.
    """

    source: str
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    predicted_labels: tuple[str, ...] = ()
    error: str | None = None
    reason: str | None = None
    damaged: str | None = None
    row: int | None = None
    name: str | None = None
    node: str | None = None
    node_probability: float | None = None
    attributes: tuple[AttributeAnswer, ...] = ()
    unknown: UnknownAnswer | None = None
    access: Access = field(default=PUBLIC, repr=False)


@dataclass(frozen=True, eq=False)
class Embedding:
    """One image's embedding, or why there is none.

    Attributes:
        source: As in `Prediction`.
        vector: None when the image could not be read.
        error: Why the image could not be read, else None.
    """

    source: str
    vector: Float32[np.ndarray, "w"] | None
    error: str | None = None


def readout_of(info: BundleInfo) -> Readout:
    """How the logits of a bundle are read."""
    return Readout.of(
        info.labels,
        temperature=info.temperature,
        doubt=info.doubt,
        multilabel=info.multilabel,
        thresholds=info.thresholds,
    )


class Predictor:
    """A bundle, run by an engine. See `shopsight.load`.

    Args:
        engine: Computes embeddings and logits.
        info: Everything else about the model.
        golden: For `verify`; None when the model is not from a bundle.
        attributes: The heads of its attributes; None where it has none.
        unknown: When it answers "unknown"; None where it always gives a label.

    Attributes:
        readout: How logits become labels with probabilities.
        attributes: What reads attributes from embeddings; None where there are none.
        unknown: What says of which images the answer is "unknown"; None where of none.
    """

    def __init__(
        self,
        engine: Engine,
        info: BundleInfo,
        *,
        golden: Golden | None = None,
        attributes: AttributePart | None = None,
        unknown: UnknownPart | None = None,
    ) -> None:
        self.engine = engine
        self.info = info
        self._runner = ImageRunner(engine, info.preprocess)
        # Once: with thousands of labels it would take as long as an image.
        self.readout = readout_of(info)
        self._thresholds = np.array(self.readout.thresholds)
        self.golden = golden
        self.attributes = None if attributes is None else AttributeReader(attributes)
        self.unknown = None if unknown is None else UnknownReader(unknown, info.labels)

    @cached_property
    def _tree(self) -> LabelTree | None:
        return None if self.info.multilabel else LabelTree.of(self.info.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the logits."""
        return self.info.labels

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self.info.preprocess

    @property
    def temperature(self) -> float:
        """Logits are divided by it before they become probabilities."""
        return self.info.temperature

    def predict_batch(self, images: Images) -> Outputs:
        """Embeddings and logits of prepared images."""
        (outputs,) = self.predict_batches([images])
        return outputs

    def predict_batches(self, batches: Iterable[UInt8[np.ndarray, "_ s s 3"]]) -> Iterator[Outputs]:
        """Embeddings and logits of batches of prepared images, in their order.

        See `shopsight.inference.batches.run_batches`.
        """
        return run_batches(self.engine, batches)

    def probabilities(self, logits: Float32[np.ndarray, "b c"]) -> Float64[np.ndarray, "b c"]:
        """Calibrated probabilities: softmax, or sigmoid of a multilabel model."""
        return self.readout.probabilities(logits)

    def predict(
        self,
        images: ImageInputs,
        *,
        top: int = 5,
        confidence: float | None = None,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Prediction]:
        """Label images: paths, URLs, bytes, PIL images, uint8 arrays, DATA, or any mix.

        Args:
            images: What to label; may be endless. A folder stands for all images in it, a table
                or the name of a data set for its rows.
            top: How many labels each prediction lists.
            confidence: Where labels are paths, give the deepest one that is so probable too, see
                `check_confidence`.
            read: How DATA is read; None guesses everything.
            batch_size: Images that the engine computes at once; None: as many as fill it, 32 on
                a CPU and 256 on CUDA. What does not fit in memory is halved.
            on_error: "report" gives a Prediction with its `error`; "raise" stops.
            threads: Number of decoding threads; None is one per core, at most eight.

        Yields:
            One `Prediction` per image, in order. Memory does not grow with their number.

        Raises:
            ImageError: An image cannot be read and `on_error` is "raise".
            CatalogError: DATA cannot be read, or there is no image at all.
            ConfigError: No labels are paths, or the confidence is out of range.
        """
        self.check_confidence(confidence)
        for batch, outputs in self.image_batches(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        ):
            yield from self.read_outputs(batch, outputs, top=top, confidence=confidence)

    def read_outputs(
        self,
        batch: Sequence[Prepared],
        outputs: Outputs,
        *,
        top: int = 5,
        confidence: float | None = None,
    ) -> Iterator[Prediction]:
        """What the model says of images that an engine has computed.

        Args:
            batch: The images, in their order.
            outputs: Of those of them that could be read.
            top: How many labels each prediction lists.
            confidence: As in `predict`.

        Yields:
            One `Prediction` per image.
        """
        answers = self._answers(outputs, top, confidence)
        for image in batch:
            yield _failed(image) if image.error is not None else next(answers).of(image)

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Compute embeddings of images; the arguments are those of `predict`.

        Yields:
            One `Embedding` per image, in order.

        Raises:
            ImageError: An image cannot be read and `on_error` is "raise".
            CatalogError: DATA cannot be read, or there is no image at all.
        """
        for batch, (vectors, _) in self.image_batches(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        ):
            vector = iter(vectors)
            for image in batch:
                if image.error is not None:
                    yield Embedding(image.source, None, error=str(image.error))
                else:
                    yield Embedding(image.source, next(vector))

    def check_confidence(self, confidence: float | None) -> None:
        """Refuse a confidence that no path can be given for; None asks for none.

        Raises:
            ConfigError: No labels are paths, or it is not between one half and 1.
        """
        if confidence is None:
            return
        if self._tree is None:
            why = "its images can have several labels" if self.info.multilabel else "they are none"
            raise ConfigError(
                f"the deepest path is of a model whose labels are paths such as 'Jewelry > Rings'; "
                f"{why}",
                where="--confidence",
                details=[f"labels: {listed(self.labels)}"],
                fix="leave out --confidence",
            )
        if not LEAST_CONFIDENCE <= confidence <= 1:
            raise ConfigError(
                f"{confidence:g} is not between {LEAST_CONFIDENCE:g} and 1",
                where="--confidence",
                details=["below one half, two paths could be as probable"],
                fix="--confidence 0.9",
            )

    def image_batches(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[tuple[list[Prepared], Outputs]]:
        """Batches of images without their pixels, with the outputs of those that could be read.

        The arguments are those of `predict`.
        """
        return self._runner.batches(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        )

    def verify(self) -> Verification:
        """Run the bundle's golden files and compare with the outputs stored beside them.

        Raises:
            BundleError: This predictor was made without a bundle.
        """
        if self.golden is None:
            raise BundleError("no golden outputs: this model was not loaded from a bundle")
        return verify_golden(self.engine, self.golden, self.preprocess, self.readout)

    def _answers(self, outputs: Outputs, top: int, confidence: float | None) -> Iterator[_Answer]:
        """What the model says of each image of a batch."""
        embeddings, logits = outputs
        if not len(logits):
            return
        probabilities = self.probabilities(logits)
        best = best_labels(probabilities, max(top, 1))
        chosen = np.take_along_axis(probabilities, best, axis=1)[:, :top].tolist()
        if self.info.multilabel:
            given = list(self._reaching_thresholds(probabilities))
        else:
            given = best[:, :1].tolist()
        predicted = [self._named(indices) for indices in given]
        nodes = self.deepest_nodes(probabilities, confidence)
        attributes: list[tuple[AttributeAnswer, ...]] = [()] * len(logits)
        if self.attributes is not None:
            attributes = self.attributes.answers(embeddings, predicted)
        unknown: list[UnknownAnswer | None] = [None] * len(logits)
        if self.unknown is not None:
            unknown = [*self.unknown.answers(embeddings, logits, probabilities)]
        beside = zip(attributes, unknown, strict=True)
        for indices, values, own, node, more in zip(
            best[:, :top].tolist(), chosen, predicted, nodes, beside, strict=True
        ):
            yield _Answer(self._named(indices), tuple(values), own, *node, *more)

    def deepest_nodes(
        self, probabilities: Float64[np.ndarray, "b c"], confidence: float | None
    ) -> list[tuple[str | None, float | None]]:
        """Of each answer the deepest path that is so probable; None where nobody asks."""
        if confidence is None or self._tree is None:
            return [(None, None)] * len(probabilities)
        found, sums = self._tree.deepest(probabilities, confidence)
        names = (*self._tree.nodes, "")
        return [(names[node], value) for node, value in zip(found, sums.tolist(), strict=True)]

    def _reaching_thresholds(
        self, probabilities: Float64[np.ndarray, "b c"]
    ) -> Iterator[list[int]]:
        """Of each image the labels whose probability reaches their threshold, best first."""
        rows, labels = np.nonzero(probabilities >= self._thresholds)
        order = np.lexsort((labels, -probabilities[rows, labels], rows))
        ends = np.cumsum(np.bincount(rows, minlength=len(probabilities)))
        yield from (part.tolist() for part in np.split(labels[order], ends[:-1]))

    def _named(self, indices: list[int]) -> tuple[str, ...]:
        return tuple(self.labels[index] for index in indices)


@dataclass(frozen=True)
class _Answer:
    """Labels and probabilities of an image that could be read, see `Prediction`."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    predicted_labels: tuple[str, ...]
    node: str | None = None
    node_probability: float | None = None
    attributes: tuple[AttributeAnswer, ...] = ()
    unknown: UnknownAnswer | None = None

    def of(self, image: Prepared) -> Prediction:
        return Prediction(
            image.source,
            self.labels,
            self.probabilities,
            self.predicted_labels,
            node=self.node,
            node_probability=self.node_probability,
            attributes=self.attributes,
            unknown=self.unknown,
            damaged=image.damaged,
            row=image.row,
            name=image.name,
            access=image.access,
        )


def _failed(image: Prepared) -> Prediction:
    assert image.error is not None
    return Prediction(
        image.source,
        error=str(image.error),
        reason=image.error.reason,
        row=image.row,
        name=image.name,
    )
