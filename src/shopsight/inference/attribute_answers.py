"""What a model says of an image's attributes: one value, several, or none where none applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from shopsight.bundle.attribute_info import AttributeHead, AttributePart
from shopsight.catalog.attribute_columns import BETWEEN_VALUES
from shopsight.inference.agreement import Readout


@dataclass(frozen=True)
class AttributeAnswer:
    """One attribute of one image.

    Attributes:
        name: of the attribute.
        values: what it has; empty where it does not apply to the image's label, where the
            confidence does not reach what was promised, or where no value of several is likely.
        confidence: probability of the value, or of the least likely of several; None where the
            attribute does not apply.
    """

    name: str
    values: tuple[str, ...] = ()
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The values as a cell of a table."""
        return BETWEEN_VALUES.join(self.values)


@dataclass(frozen=True, eq=False)
class HeadAnswers:
    """What one head says of a batch, whatever the labels.

    Attributes:
        values: of each image: the likeliest one, or with several those that reach their threshold.
        confidence: of the least likely of these; of the likeliest value where there are none.
        reaches: whether the confidence is enough for the values to be given.
    """

    values: list[tuple[str, ...]]
    confidence: list[float]
    reaches: list[bool]


def attribute_readout(head: AttributeHead) -> Readout:
    """How the logits of a head are read."""
    return Readout.of(
        head.values,
        temperature=head.temperature,
        doubt=head.doubt,
        multilabel=head.several,
        thresholds=head.thresholds,
    )


class AttributeReader:
    """The heads of a bundle, applied to embeddings.

    Args:
        part: the heads.
    """

    def __init__(self, part: AttributePart) -> None:
        self.part = part
        self.heads = part.info.heads
        self._readouts = [attribute_readout(head) for head in self.heads]
        self._labels = [None if one.labels is None else frozenset(one.labels) for one in self.heads]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes, in their order."""
        return tuple(head.name for head in self.heads)

    def applies(self, number: int, labels: Sequence[str]) -> bool:
        """Whether an attribute applies to an image of these labels."""
        wanted = self._labels[number]
        return wanted is None or any(label in wanted for label in labels)

    def answers(
        self, embeddings: Float32[np.ndarray, "b w"], labels: Sequence[Sequence[str]]
    ) -> list[tuple[AttributeAnswer, ...]]:
        """The attributes of each image of a batch.

        Args:
            embeddings: of the images.
            labels: those that each image was given.
        """
        found = self.of_heads(embeddings)
        return [
            tuple(self._answer(number, one, image, own) for number, one in enumerate(found))
            for image, own in enumerate(labels)
        ]

    def of_heads(self, embeddings: Float32[np.ndarray, "b w"]) -> list[HeadAnswers]:
        """What each head says of each image, whether it applies or not."""
        logits = self.part.logits(embeddings)
        return [
            self._head_answers(number, readout.probabilities(some))
            for number, (readout, some) in enumerate(zip(self._readouts, logits, strict=True))
        ]

    def _answer(
        self, number: int, found: HeadAnswers, image: int, labels: Sequence[str]
    ) -> AttributeAnswer:
        name = self.heads[number].name
        if not self.applies(number, labels):
            return AttributeAnswer(name)
        values = found.values[image] if found.reaches[image] else ()
        return AttributeAnswer(name, values, found.confidence[image])

    def _head_answers(self, number: int, chance: Float64[np.ndarray, "b _"]) -> HeadAnswers:
        head = self.heads[number]
        best = chance.max(1) if len(chance) else np.zeros(0)
        if not head.several:
            values: list[tuple[str, ...]] = [
                (head.values[index],) for index in chance.argmax(1).tolist()
            ]
            least = head.least_confidence
            reaches = [least is not None and one >= least for one in best.tolist()]
            return HeadAnswers(values, best.tolist(), reaches)
        given = chance >= np.array(self._readouts[number].thresholds)
        lists = [tuple(np.array(head.values, object)[row].tolist()) for row in given]
        return HeadAnswers(lists, _least_of(chance, given).tolist(), [True] * len(lists))


def _least_of(chance: Float64[np.ndarray, "b v"], given: np.ndarray) -> Float64[np.ndarray, "b"]:
    """The lowest probability among values that are given; the highest of all where none is."""
    least = np.where(given, chance, 2.0).min(1)
    lowest: Float64[np.ndarray, "b"] = np.where(given.any(1), least, chance.max(1))
    return lowest
